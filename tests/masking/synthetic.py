"""Responses made from models, in the form of each protocol: botocore writes requests only.

`value_of` makes a modelled value for a shape, `response_of` writes it as a service would, `expected` says
what the value is once its sensitive members are masked.
"""

import base64
import datetime
import json
import struct
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from callgate.call import HttpResponse
from callgate.masking import checksums
from callgate.masking.xml_spans import wire_name as xml_name

WHEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
DEPTH = 5
OF_THE_BODY = checksums.LEFT_OUT | set(checksums.COMPUTED)
"""Headers that say something about the body, and change with it."""
IsHit = Callable[[Shape, str, Shape], bool]


def value_of(shape: Shape, depth: int = 0) -> Any:
    """A value that fills every member, as far as `DEPTH`; None for what lies deeper."""
    if depth > DEPTH or shape.serialization.get("eventstream"):
        return None
    match shape:
        case StructureShape():
            if shape.is_document_type:
                return {"k": "canary"}
            names = list(shape.members)
            if shape.is_tagged_union:
                shallow = [name for name in names if not isinstance(shape.members[name], StructureShape)]
                names = (shallow or names)[:1]
            pairs = ((name, value_of(shape.members[name], depth + 1)) for name in names)
            value = {name: each for name, each in pairs if each is not None}
            # An empty structure is XML's empty string, and an empty union is an error.
            return value or None
        case ListShape():
            item = value_of(shape.member, depth + 1)
            return None if item is None else [item, item]
        case MapShape():
            entry = value_of(shape.value, depth + 1)
            return None if entry is None else {"key": entry}
    match shape.type_name:
        case "boolean":
            return True
        case "integer" | "long":
            return 7
        case "float" | "double":
            return 1.5
        case "timestamp":
            return WHEN
        case "blob":
            return b"canary"
    return "canary"


def expected(shape: Shape, value: Any, is_hit: IsHit, hit: bool = False) -> Any:
    """`value` with the members that `is_hit` tells masked in the way `fixed`."""
    match shape:
        case StructureShape() if not shape.is_document_type:
            return {
                name: expected(
                    shape.members[name], each, is_hit, hit or is_hit(shape, name, shape.members[name])
                )
                for name, each in value.items()
            }
        case ListShape():
            below = hit or is_hit(shape, "member", shape.member)
            items = [expected(shape.member, each, is_hit, below) for each in value]
            return ["***"] if below and shape.serialization.get("location") == "header" else items
        case MapShape():
            if hit:
                return {}
            below = is_hit(shape, "value", shape.value)
            return {key: expected(shape.value, each, is_hit, below) for key, each in value.items()}
    if not hit:
        return value
    match value:
        case bool():
            return False
        case int() | float():
            return 0
        case datetime.datetime():
            return EPOCH
        case bytes():
            return b"***"
        case dict():
            return {}
    return "0" if shape.name == "NumberAttributeValue" else "***"


def response_of(operation: OperationModel, protocol: str, value: dict[str, Any]) -> HttpResponse:
    """The response that carries `value` as the output of `operation`."""
    shape = operation.output_shape
    headers: list[tuple[str, str]] = []
    body = b""
    in_body = dict(value)
    if protocol.startswith("rest"):
        for name, member in shape.members.items():
            location = member.serialization.get("location")
            if location in ("header", "headers", "statusCode"):
                each = in_body.pop(name, None)
                wire = member.serialization.get("name", "" if location == "headers" else name)
                if location == "statusCode" or each is None or wire.lower() in OF_THE_BODY:
                    continue
                if location == "headers":
                    headers += [(wire + key, str(one)) for key, one in each.items()]
                else:
                    headers.append((wire, _header(member, each)))
    payload = shape.serialization.get("payload") if protocol.startswith("rest") else None
    if payload is not None:
        member = shape.members[payload]
        if payload in in_body:
            if member.type_name in ("blob", "string"):
                each = in_body[payload]
                body = each if isinstance(each, bytes) else each.encode()
            else:
                body = _body(protocol, payload, member, in_body[payload])
    else:
        body = _body(protocol, operation.name, shape, in_body)
    return HttpResponse(200, (*headers, ("Content-Length", str(len(body)))), body)


def _body(protocol: str, name: str, shape: Shape, value: Any) -> bytes:
    if protocol in ("json", "rest-json"):
        return json.dumps(_json(shape, value)).encode()
    if protocol == "smithy-rpc-v2-cbor":
        return _cbor(shape, value)
    inner = _xml_content(shape, value)
    if protocol == "query":
        wrapper = shape.serialization["resultWrapper"]
        inner = f"<{wrapper}>{inner}</{wrapper}>"
    return f'<{name}Response xmlns="https://x.amazonaws.com/doc/">{inner}</{name}Response>'.encode()


def _time(shape: Shape, value: datetime.datetime, default: str) -> Any:
    match shape.serialization.get("timestampFormat", default):
        case "unixTimestamp":
            return int(value.timestamp())
        case "rfc822":
            return value.strftime("%a, %d %b %Y %H:%M:%S GMT")
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _header(shape: Shape, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_header(shape.member, each) for each in value)
    if shape.serialization.get("jsonvalue"):
        return base64.b64encode(json.dumps(value).encode()).decode()
    if isinstance(value, datetime.datetime):
        return str(_time(shape, value, "rfc822"))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(shape: Shape, value: Any) -> Any:
    match shape:
        case StructureShape() if not shape.is_document_type:
            members = shape.members
            return {
                members[name].serialization.get("name", name): _json(members[name], each)
                for name, each in value.items()
            }
        case ListShape():
            return [_json(shape.member, each) for each in value]
        case MapShape():
            return {key: _json(shape.value, each) for key, each in value.items()}
    if isinstance(value, datetime.datetime):
        return _time(shape, value, "unixTimestamp")
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _cbor(shape: Shape | None, value: Any) -> bytes:
    match value:
        case dict():
            members = shape.members if isinstance(shape, StructureShape) else {}
            inner = getattr(shape, "value", None)
            return bytes([0xA0 + len(value)] if len(value) < 24 else [0xB8, len(value)]) + b"".join(
                _cbor(None, name) + _cbor(members.get(name, inner), each) for name, each in value.items()
            )
        case list():
            return bytes([0x80 + len(value)]) + b"".join(_cbor(shape.member, each) for each in value)
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return bytes([value])
        case float():
            return b"\xfb" + struct.pack(">d", value)
        case datetime.datetime():
            return b"\xc1\x1a" + struct.pack(">I", int(value.timestamp()))
        case bytes():
            return bytes([0x58, len(value)]) + value
    return bytes([0x78, len(value)]) + value.encode()


def _xml_content(shape: Shape, value: Any) -> str:
    match shape:
        case StructureShape():
            return "".join(_xml_member(name, shape.members[name], each) for name, each in value.items())
        case ListShape():
            tag = shape.member.serialization.get("name", "member")
            return "".join(f"<{tag}>{_xml_content(shape.member, each)}</{tag}>" for each in value)
        case MapShape():
            return "".join(f"<entry>{_xml_entry(shape, key, each)}</entry>" for key, each in value.items())
    match value:
        case datetime.datetime():
            return str(_time(shape, value, "iso8601"))
        case bytes():
            return base64.b64encode(value).decode()
        case bool():
            return str(value).lower()
    return escape(str(value))


def _xml_entry(shape: MapShape, key: str, value: Any) -> str:
    key_tag = shape.key.serialization.get("name") or "key"
    value_tag = shape.value.serialization.get("name") or "value"
    return f"<{key_tag}>{key}</{key_tag}><{value_tag}>{_xml_content(shape.value, value)}</{value_tag}>"


def _xml_member(name: str, shape: Shape, value: Any) -> str:
    tag = xml_name(name, shape)
    flat = shape.serialization.get("flattened")
    if isinstance(shape, ListShape) and flat:
        return "".join(f"<{tag}>{_xml_content(shape.member, each)}</{tag}>" for each in value)
    if isinstance(shape, MapShape) and flat:
        return "".join(f"<{tag}>{_xml_entry(shape, key, each)}</{tag}>" for key, each in value.items())
    attributes = ""
    if isinstance(shape, StructureShape):
        for inner, member in shape.members.items():
            if member.serialization.get("xmlAttribute") and inner in value:
                value = dict(value)
                said = member.serialization["name"]
                attributes = (
                    f' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" {said}="{value.pop(inner)}"'
                )
    return f"<{tag}{attributes}>{_xml_content(shape, value)}</{tag}>"
