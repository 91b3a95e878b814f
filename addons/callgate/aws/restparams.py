"""Parameters of REST operations: from path, query, headers and body, as the input shape places them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from botocore.model import OperationModel, Shape

from callgate.aws.auth import S3_V2_KEYS, V4_KEYS
from callgate.aws.body import plain_body, streamed_body
from callgate.aws.classify import Match
from callgate.aws.head import Head
from callgate.aws.headers import REPEATABLE, check_charset, media_type
from callgate.aws.jsonbody import load_json, read_json, shown
from callgate.aws.limits import Limits
from callgate.aws.routes import Route
from callgate.aws.scalars import blob, from_text, twice, unknown, wire_members, wrong
from callgate.aws.xmlbody import load_xml, read_xml
from callgate.call import HttpRequest, Payload, Refusal

# A payload up to this many bytes stands among the parameters, a longer one as a reference.
INLINE = 64 * 1024
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[a-z-]+:s3[a-z-]*:[a-z0-9-]*:\d*:[\w/:.-]+", re.A)
# Headers of S3 that mean the same everywhere; one that its operation does not have may make it another.
_S3_COMMON = re.compile(
    r"x-amz-(?:date|content-sha256|security-token|user-agent|decoded-content-length|trailer|region-set"
    r"|s3session-token|sdk-checksum-algorithm|checksum-.*|request-payer|expected-bucket-owner|id-2|te)"
)
# Possessive, so that no header takes more than linear time.
_ITEM = re.compile(r'\s*+(?:"((?:[^"\\]|\\.)*+)"\s*+|([^,"]*+))(?:,|$)')

Found = tuple[dict[str, Any], Payload | None]


def read_rest(match: Match, route: Route, model: OperationModel) -> Found:
    """The parameters, and the payload if the body is data. Raises Refusal."""
    shape = model.input_shape
    found: dict[str, Any] = {}
    members = shape.members if shape is not None else {}
    places = _places(shape) if shape is not None else {}
    _path(found, match.values, match.head, route, members, places)
    _query(found, match.head, route, places, {key for key, _ in route.literals})
    for name, member in members.items():
        location = member.serialization.get("location")
        if location == "header":
            _header(found, name, member, match.head)
        elif location == "headers":
            _header_map(found, name, member, match.head.headers)
    if route.service == "s3":
        _check_s3_headers(match.head.headers, members)
    return found, _body(found, match, shape, model)


def _check_s3_headers(headers: Mapping[str, str], members: Mapping[str, Shape]) -> None:
    known = {member.serialization.get("name", "").lower() for member in members.values()}
    for key in headers:
        if not key.startswith("x-amz-") or key in known or _S3_COMMON.fullmatch(key):
            continue
        if not key.startswith("x-amz-meta-") or "x-amz-meta-" not in known:
            raise unknown(shown(key))


def _places(shape: Shape) -> dict[str, dict[str, tuple[str, Shape]]]:
    """Wire names of members by location. Kept on the shape."""
    places: dict[str, dict[str, tuple[str, Shape]]] | None = shape.__dict__.get("_callgate_places")
    if places is None:
        places = {"uri": {}, "querystring": {}, "map": {}, "any": wire_members(shape)}
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            if location == "querystring" and member.type_name == "map":
                places["map"][name] = (name, member)
            elif location in ("uri", "querystring"):
                places[location][member.serialization.get("name", name)] = (name, member)
        shape.__dict__["_callgate_places"] = places
    return places


def _path(
    found: dict[str, Any],
    texts: tuple[str, ...],
    head: Head,
    route: Route,
    members: Mapping[str, Shape],
    places: dict[str, dict[str, tuple[str, Shape]]],
) -> None:
    for label, text in zip(route.labels, texts, strict=True):
        known = places["uri"].get(label) if places else None
        if known is None:
            # A URI of an older release: what was in the path may stand elsewhere now, or nowhere.
            if not route.older:
                raise unknown(label)
            if label not in members:
                continue
            known = (label, members[label])
        if known[0] == "Bucket" and route.service == "s3" and not _BUCKET.fullmatch(text):
            raise wrong("Bucket", "the name of a bucket or the ARN of an access point")
        _set(found, known[0], from_text(known[1], text, known[0], "iso8601"))
    for label, text in zip(route.prefix_labels, head.host.labels, strict=False):
        if label in members:
            _set(found, label, text)


def _set(found: dict[str, Any], name: str, value: Any) -> None:
    """Two places may name the same member (host label and header); they must agree."""
    if found.setdefault(name, value) != value:
        raise Refusal("ambiguous-parameter", f"The parameter {name} has two values.")


def _query(
    found: dict[str, Any],
    head: Head,
    route: Route,
    places: dict[str, dict[str, tuple[str, Shape]]],
    literals: set[str],
) -> None:
    seen: set[str] = set()
    for key, text in head.target.pairs:
        # In a request of an older release, what is in the query may stand elsewhere now.
        known = places["any" if route.older else "querystring"].get(key) if places else None
        if known is not None:
            name, member = known
            if member.type_name == "list":
                found.setdefault(name, []).append(from_text(member.member, text, name, "iso8601"))
                continue
            if name in found and key in seen:
                raise twice(name)
            seen.add(key)
            _set(found, name, from_text(member, text, name, "iso8601"))
        elif key in literals:
            if key in seen or (key, text) not in route.literals:
                raise Refusal(
                    "ambiguous-operation", f"The query has {shown(key)} in another way than the operation."
                )
            seen.add(key)
        elif key in V4_KEYS or key == "x-id" or (route.service == "s3" and key in S3_V2_KEYS):
            if key in seen:
                raise twice(shown(key))
            seen.add(key)
            if key == "x-id" and text != route.operation:
                raise Refusal("ambiguous-operation", "x-id names another operation than the request is.")
        elif places and places["map"]:
            ((name, member),) = places["map"].values()
            entries = found.setdefault(name, {})
            if member.value.type_name == "list":
                entries.setdefault(key, []).append(text)
            elif key in entries:
                raise twice(shown(key))
            else:
                entries[key] = text
        else:
            raise unknown(shown(key))


def _header(found: dict[str, Any], name: str, member: Shape, head: Head) -> None:
    ways, headers = member.serialization, head.headers
    key = ways.get("name", name).lower()
    text = headers.get(key)
    if text is None:
        return
    if key in REPEATABLE and len(head.request.values(key)) > 1:
        raise Refusal("duplicate-header", f"The header {key} stands more than once.")
    if name == "ContentLength":
        text = headers.get("x-amz-decoded-content-length", text)
    if name == "ContentEncoding" and "aws-chunked" in text:
        text = ",".join(part.strip() for part in text.split(",") if part.strip().lower() != "aws-chunked")
        if not text:
            return
    if member.type_name == "list":
        value: Any = [from_text(member.member, item, name, "rfc822") for item in _items(member, text, name)]
    elif ways.get("jsonvalue"):
        value = load_json(blob(text, name), head.limits, name)
    else:
        value = from_text(member, _utf8(text), name, "rfc822")
    _set(found, name, value)


def _items(member: Shape, text: str, name: str) -> list[str]:
    """A comma-separated list of RFC 9110; times have a comma of their own."""
    if member.member.type_name == "timestamp" and "GMT" in text:
        return [part.strip(", ") + "GMT" for part in text.split("GMT") if part.strip(", ")]
    items, at = [], 0
    while at <= len(text):
        found = _ITEM.match(text, at)
        if found is None:
            raise wrong(name, "a list of values")
        items.append(re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2].strip())
        if found.end() == len(text) and not text.endswith(","):
            break
        at = found.end()
        if at == len(text):
            items.append("")
            break
    return [_utf8(item) for item in items]


def _utf8(text: str) -> str:
    """Header values are decoded as latin-1; what was UTF-8 on the wire is text."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _header_map(found: dict[str, Any], name: str, member: Shape, headers: Mapping[str, str]) -> None:
    prefix = member.serialization.get("name", "").lower()
    entries = {
        key[len(prefix) :]: _utf8(text) for key, text in headers.items() if prefix and key.startswith(prefix)
    }
    if entries:
        found[name] = entries


def _body(found: dict[str, Any], match: Match, shape: Shape | None, model: OperationModel) -> Payload | None:
    request = match.head.request
    payload = shape.serialization.get("payload") if shape is not None else None
    member = shape.members[payload] if shape is not None and payload else None
    if member is not None and (member.type_name == "blob" or member.serialization.get("eventstream")):
        return _data(found, str(payload), member, match, request)
    if request.body == b"":
        return None
    protocol = match.protocol
    compresses = "gzip" in (model.request_compression or {}).get("encodings", ())
    body = plain_body(request, match.head.headers, protocol, match.head.limits, compresses=compresses)
    if member is not None and member.type_name == "string":
        try:
            found[str(payload)] = body.decode("utf-8")
        except UnicodeDecodeError:
            raise wrong(str(payload), "text in UTF-8") from None
        return None
    if shape is None or not any(
        m.serialization.get("name") == "Content-Type" for m in shape.members.values()
    ):
        _check_type(match)
    if protocol == "rest-xml":
        _xml(found, shape, payload, member, body, match.head.limits)
    else:
        _json(found, shape, payload, member, body, match.head.limits)
    return None


def _data(
    found: dict[str, Any], name: str, member: Shape, match: Match, request: HttpRequest
) -> Payload | None:
    streamed = streamed_body(request, match.head.headers)
    reference = Payload(streamed.length, streamed.sha256)
    if streamed.data is None:
        found[name] = reference
        return reference
    if len(streamed.data) <= INLINE or not member.serialization.get("streaming"):
        if streamed.data or (request.method in ("PUT", "POST") and "content-length" in match.head.headers):
            found[name] = streamed.data
        return reference if member.serialization.get("streaming") else None
    found[name] = reference
    return reference


def _check_type(match: Match) -> None:
    kind = media_type(match.head.headers)
    check_charset(match.head.headers)
    if kind is None:
        return
    foreign = ("application/x-www-form-urlencoded", "multipart/form-data", "application/cbor")
    if match.protocol == "rest-json":
        if "json" not in kind or kind in foreign:
            raise Refusal(
                "wrong-content-type",
                "The body is JSON by its operation and something else by its Content-Type.",
            )
    elif kind in foreign or "json" in kind:
        raise Refusal(
            "wrong-content-type", "The body is XML by its operation and something else by its Content-Type."
        )


def _xml(
    found: dict[str, Any],
    shape: Shape | None,
    payload: str | None,
    member: Shape | None,
    body: bytes,
    limits: Limits,
) -> None:
    if shape is None:
        raise unknown("in the body")
    root = load_xml(body, limits)
    if member is not None:
        found[str(payload)] = read_xml(member, root)
        return
    for name, value in read_xml(shape, root).items():
        _set(found, name, value)


def _json(
    found: dict[str, Any],
    shape: Shape | None,
    payload: str | None,
    member: Shape | None,
    body: bytes,
    limits: Limits,
) -> None:
    value = load_json(body, limits)
    if member is not None:
        if value is not None:
            found[str(payload)] = read_json(member, value, str(payload))
        return
    if value == {}:
        return
    if shape is None or payload:
        raise unknown("in the body")
    said = read_json(shape, value)
    for name, item in said.items():
        if shape.members[name].serialization.get("location"):
            raise Refusal(
                "ambiguous-parameter", f"The parameter {name} stands in the body, where it has no place."
            )
        _set(found, name, item)
