"""What `callgate explain` reads: requests as JSON lines, calls from the log, HAR and flow files."""

from __future__ import annotations

import base64
import binascii
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from callgate import aws
from callgate.call import Call, HttpRequest, Need, Refusal

Item = HttpRequest | Call | Refusal
_URL = re.compile(r"(https?)://([^/?#@\s]+)([/?][^\s]*)?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")
_FLOW = re.compile(rb"\d{1,12}:\d{1,4}:[a-z_]+[;,]")
_METHOD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def items_of(stream: BinaryIO) -> Iterator[Item]:
    """The items of `stream`, in order; a Refusal stands for one that cannot be read."""
    first = stream.readline()
    if _FLOW.match(first):
        return _flows(first + stream.read())
    if re.match(rb"\s*\{\s*(\"log\"\s*:.*)?$", first.rstrip(b"\r\n")) and not first.rstrip().endswith(b"}}"):
        whole = first + stream.read()
        return _har(whole) if _is_har(whole) else _lines(io.BytesIO(whole))
    if _is_har(first):
        return _har(first)
    return _lines(_chain(first, stream))


def _chain(first: bytes, stream: BinaryIO) -> Iterator[bytes]:
    if first:
        yield first
    yield from stream


def _lines(lines: Iterable[bytes]) -> Iterator[Item]:
    for line in lines:
        try:
            value = json.loads(line.decode("utf-8"))
            yield _request(value) if "url" in value else _logged(value)
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
            yield _bad("The line is not a request in JSON.")


def _bad(detail: str) -> Refusal:
    return Refusal("bad-input", detail)


def _request(value: dict[str, Any]) -> Item:
    headers = value.get("headers") or []
    if isinstance(headers, dict):
        headers = list(headers.items())
    pairs = tuple((name, text) for name, text in headers)
    if not all(isinstance(name, str) and isinstance(text, str) for name, text in pairs):
        return _bad("Headers are pairs of texts.")
    try:
        body = base64.b64decode(value.get("body_b64") or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        return _bad("body_b64 is not base64.")
    return make_request(value["method"], value["url"], pairs, body)


def make_request(method: Any, url: Any, headers: tuple[tuple[str, str], ...], body: bytes | None) -> Item:
    """A request to an absolute URL; a Refusal if it is none."""
    found = _URL.fullmatch(url) if isinstance(url, str) else None
    place = _HOST.fullmatch(found[2]) if found else None
    if found is None or place is None or not isinstance(method, str) or not _METHOD.fullmatch(method):
        return _bad("The method or the URL is malformed.")
    scheme = found[1].lower()
    port = int(place[2]) if place[2] else 443 if scheme == "https" else 80
    target = found[3] or "/"
    return HttpRequest(
        method,
        place[1].lower().strip("[]").removesuffix("."),
        target if target.startswith("/") else "/" + target,
        tuple((name, _latin(text)) for name, text in headers),
        body,
        port=port,
        scheme=scheme,
    )


def _latin(text: str) -> str:
    """Header text as it is decoded off the wire: its UTF-8 bytes, each as one character."""
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


def _is_har(data: bytes) -> bool:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    log = value.get("log") if isinstance(value, dict) else None
    return isinstance(log, dict) and isinstance(log.get("entries"), list)


def _har(data: bytes) -> Iterator[Item]:
    """HAR 1.2. A body kept as text is taken as UTF-8; the length header is that of the wire, so it goes."""
    for entry in json.loads(data)["log"]["entries"]:
        try:
            request = entry["request"]
            post = request.get("postData") or {}
            text = post.get("text") or ""
            body = base64.b64decode(text) if post.get("encoding") == "base64" else text.encode("utf-8")
            pairs = tuple(
                (header["name"], header["value"])
                for header in request["headers"]
                if not header["name"].startswith(":") and header["name"].lower() != "content-length"
            )
            yield make_request(request["method"], request["url"], pairs, body)
        except (ValueError, TypeError, AttributeError, LookupError):
            yield _bad("The HAR entry is malformed.")


def _flows(data: bytes) -> Iterator[Item]:
    # mitmproxy is imported only when there is a flow file to read.
    from callgate.serve.flowfile import flow_requests

    return flow_requests(data)


def _logged(entry: dict[str, Any]) -> Item:
    """A call as the ledger has it, with its parameters as they were recorded (secrets are hashes there)."""
    body = entry.get("body", entry)
    service, operation = body["service"], body["eventName"]
    candidates = [tuple(pair.split(":", 1)) for pair in body.get("candidates") or [f"{service}:{operation}"]]
    caller = body.get("userIdentity") or {}
    needs = tuple(
        Need(
            need["action"],
            need["ARN"],
            f"{service}:{operation}",
            need.get("determined", True),
            aws.access_level(need["action"]),
        )
        for need in body.get("resources") or []
    )
    return Call(
        service=service,
        operation=operation,
        candidates=tuple((pair[0], pair[1]) for pair in candidates),
        protocol=body.get("protocol", ""),
        region=body.get("awsRegion"),
        account=caller.get("accountId"),
        access_key_id=caller.get("accessKeyId"),
        auth=body.get("auth", "sigv4"),
        parameters=body.get("requestParameters") or {},
        needs=needs,
    )
