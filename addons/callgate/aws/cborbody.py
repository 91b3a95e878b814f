"""CBOR bodies of Smithy RPC v2, strictly: RFC 8949, no duplicate keys, foreign tags or left-over bytes."""

from __future__ import annotations

import decimal
import math
import struct
from typing import Any

from botocore.model import Shape

from callgate.aws.jsonbody import shown
from callgate.aws.limits import Limits
from callgate.aws.scalars import epoch, integer, twice, unknown, wire_members, wrong
from callgate.call import Refusal


class _Time(tuple[Any]):
    """A value tagged as seconds since the epoch."""


_BREAK = object()


class _Body(bytes):
    """A body that knows its bounds, and counts its items as they are read."""

    limits: Limits
    items: int

    def __new__(cls, body: bytes, limits: Limits) -> _Body:
        self = super().__new__(cls, body)
        self.limits = limits
        # The root, and keys, are no values.
        self.items = -1
        return self


def load_cbor(body: bytes, limits: Limits) -> Any:
    """The one item that `body` holds; floats as exact decimals of their shortest text. Raises Refusal."""
    try:
        value, at = _item(_Body(body, limits), 0, 0)
    except (IndexError, struct.error, UnicodeDecodeError):
        raise _malformed() from None
    if at != len(body) or value is _BREAK:
        raise _malformed()
    return value


def _malformed() -> Refusal:
    return Refusal("malformed-cbor", "The body is not one item of CBOR.")


def _item(data: _Body, at: int, depth: int) -> tuple[Any, int]:
    if depth > data.limits.depth:
        raise data.limits.too_deep()
    data.items += 1
    data.limits.judge_count(data.items)
    head = data[at]
    major, info = head >> 5, head & 31
    at += 1
    if major == 7:
        return _simple(data, at, info)
    if info < 24:
        size: int | None = info
    elif info < 28:
        width = 1 << (info - 24)
        if at + width > len(data):
            raise _malformed()
        size = int.from_bytes(data[at : at + width], "big")
        at += width
    elif info == 31 and major in (2, 3, 4, 5):
        size = None
    else:
        raise _malformed()
    if major == 0:
        return size, at
    if major == 1:
        assert size is not None
        return -1 - size, at
    if major in (2, 3):
        return _string(data, at, size, major)
    if major == 4:
        return _list(data, at, size, depth)
    if major == 5:
        return _map(data, at, size, depth)
    if size != 1:
        raise _malformed()
    inner, at = _item(data, at, depth + 1)
    if isinstance(inner, bool) or not isinstance(inner, int | decimal.Decimal):
        raise _malformed()
    return _Time((inner,)), at


def _string(data: _Body, at: int, size: int | None, major: int) -> tuple[Any, int]:
    if size is None:
        parts = []
        while data[at] != 0xFF:
            if data[at] >> 5 != major or data[at] & 31 == 31:
                raise _malformed()
            part, at = _item(data, at, 0)
            parts.append(part)
        at += 1
        return (b"" if major == 2 else "").join(parts), at
    raw = data[at : at + size]
    if len(raw) != size:
        raise _malformed()
    return (raw if major == 2 else raw.decode("utf-8")), at + size


def _list(data: _Body, at: int, size: int | None, depth: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    while size is None or len(found) < size:
        item, at = _item(data, at, depth + 1)
        if item is _BREAK:
            if size is None:
                return found, at
            raise _malformed()
        found.append(item)
    return found, at


def _map(data: _Body, at: int, size: int | None, depth: int) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    count = 0
    while size is None or count < size:
        key, at = _item(data, at, depth + 1)
        if key is _BREAK and size is None:
            return found, at
        data.items -= 1
        if type(key) is not str:
            raise _malformed()
        if key in found:
            raise Refusal("duplicate-key", "A map in the body has a key twice.")
        found[key], at = _item(data, at, depth + 1)
        if found[key] is _BREAK:
            raise _malformed()
        count += 1
    return found, at


def _simple(data: bytes, at: int, info: int) -> tuple[Any, int]:
    match info:
        case 20 | 21:
            return info == 21, at
        case 22 | 23:
            return None, at
        case 25:
            return _decimal(struct.unpack_from(">e", data, at)[0], ">e"), at + 2
        case 26:
            return _decimal(struct.unpack_from(">f", data, at)[0], ">f"), at + 4
        case 27:
            return _decimal(struct.unpack_from(">d", data, at)[0], ">d"), at + 8
        case 31:
            return _BREAK, at
    raise _malformed()


def _decimal(value: float, form: str) -> decimal.Decimal:
    """The shortest decimal that this width of float reads back as the same number."""
    if form == ">d" or not math.isfinite(value):
        return decimal.Decimal(repr(value)) if math.isfinite(value) else decimal.Decimal(str(value))
    bits = struct.pack(form, value)
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        try:
            if struct.pack(form, float(text)) == bits:
                return decimal.Decimal(text)
        except OverflowError:
            continue
    return decimal.Decimal(repr(value))


def read_cbor(shape: Shape, value: Any, where: str = "") -> Any:
    """`value` (from `load_cbor`) as `shape` has it. Raises Refusal for what the shape does not have."""
    kind = shape.type_name
    if kind == "string":
        if type(value) is not str:
            raise wrong(where, "a string")
        return value
    if kind == "structure":
        if type(value) is not dict:
            raise wrong(where, "a structure")
        members = wire_members(shape)
        found: dict[str, Any] = {}
        for key, item in value.items():
            known = members.get(key)
            if known is None:
                raise unknown(f"{where}.{shown(key)}" if where else shown(key))
            if item is None:
                continue
            if known[0] in found:
                raise twice(known[0])
            found[known[0]] = read_cbor(known[1], item, f"{where}.{known[0]}" if where else known[0])
        if shape.is_tagged_union and len(found) > 1:
            raise wrong(where, "one alternative of its union")
        return found
    if kind == "list":
        if type(value) is not list:
            raise wrong(where, "a list")
        return [None if item is None else read_cbor(shape.member, item, where + "[]") for item in value]
    if kind == "map":
        if type(value) is not dict:
            raise wrong(where, "a map")
        return {
            key: None if item is None else read_cbor(shape.value, item, where + ".*")
            for key, item in value.items()
        }
    return _scalar(kind, value, where)


def _scalar(kind: str, value: Any, where: str) -> Any:
    if kind == "boolean" and type(value) is bool:
        return value
    if kind in ("integer", "long") and type(value) is int:
        return integer(value, where)
    if kind in ("float", "double") and (type(value) is int or isinstance(value, decimal.Decimal)):
        return value
    if kind == "blob" and type(value) is bytes:
        return value
    if kind == "timestamp" and isinstance(value, _Time):
        return epoch(value[0], where)
    raise wrong(where, f"of its type, {kind}")
