"""The headers of a request as one mapping, if nobody could read them in two ways."""

from __future__ import annotations

import re
from collections.abc import Mapping

from callgate.call import HttpRequest, Refusal

FORM = "application/x-www-form-urlencoded"

# Headers that proxies add or that are lists by their nature; few operations have one as a parameter.
REPEATABLE = frozenset(
    [
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "connection",
        "cookie",
        "forwarded",
        "pragma",
        "te",
        "trailer",
        "via",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-port",
    ]
)
# Headers by which some servers route or read a request otherwise than by its request line.
_OVERRIDES = frozenset(
    [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x-original-uri",
        "x-forwarded-host",
        "x-forwarded-server",
        "x-host",
    ]
)
_NAMES = re.compile(r"[a-z0-9!#$%&'*+\-.^_`|~]*")
FORBIDDEN = re.compile("[\x00-\x08\x0a-\x1f\x7f]")


def read_headers(request: HttpRequest) -> dict[str, str]:
    """Lower-case names to values without outer blanks. Raises Refusal for doubles, overrides and a foreign
    Host.
    """
    names = "".join(request.by_name)
    broken = "" in request.by_name or not _NAMES.fullmatch(names)
    if broken or FORBIDDEN.search("\t".join([value for _, value in request.headers])):
        raise Refusal("malformed-header", "A header holds characters that it must not hold.")
    found: dict[str, str] = {}
    for key, values in request.by_name.items():
        if key in _OVERRIDES:
            raise Refusal("override-header", f"The header {key} could make a server read another request.")
        if len(values) > 1 and key not in REPEATABLE:
            raise Refusal("duplicate-header", f"The header {key} stands more than once.")
        found[key] = ", ".join([value.strip(" \t") for value in values])
    if "_" in names:
        _check_underscores(found)
    if (host := found.get("host")) is not None and not _same_host(host, request):
        raise Refusal("host-mismatch", "The Host header names another host than the connection.")
    length = found.get("content-length")
    if length is not None and request.body is not None and length != str(len(request.body)):
        raise Refusal("bad-length", "Content-Length is not the length of the body.")
    return found


def _check_underscores(found: dict[str, str]) -> None:
    """CGI and WSGI servers read `X_Amz_Target` as X-Amz-Target; only SSO has a header with underscores of its
    own.
    """
    for key in found:
        if "_" in key and key != "x-amz-sso_bearer_token":
            dashed = key.replace("_", "-")
            if (
                dashed in found
                or dashed.startswith(("x-amz", "content-", "smithy-"))
                or dashed in ("host", "authorization")
            ):
                raise Refusal("ambiguous-header", f"The header {key} could be read as {dashed}.")


def _same_host(host: str, request: HttpRequest) -> bool:
    name, _, port = host.partition(":") if not host.startswith("[") else host[1:].partition("]")
    port = port.removeprefix(":")
    if port and port != str(request.port):
        return False
    return name.lower().removesuffix(".") == request.host


def media_type(headers: Mapping[str, str]) -> str | None:
    """The media type of Content-Type in lower case, None if there is none."""
    value = headers.get("content-type")
    return value.partition(";")[0].strip().lower() if value else None


def check_charset(headers: Mapping[str, str]) -> None:
    """Raises Refusal if Content-Type names another charset than UTF-8."""
    _, _, parameters = headers.get("content-type", "").partition(";")
    for parameter in parameters.split(";") if parameters else ():
        name, _, charset = parameter.strip().partition("=")
        if name.lower() == "charset" and charset.strip('"').lower() not in ("utf-8", "utf8", "us-ascii"):
            raise Refusal("unknown-charset", "The body is in another charset than UTF-8.")
