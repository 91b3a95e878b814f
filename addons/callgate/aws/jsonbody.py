"""JSON bodies, strictly: RFC 8259, no duplicate keys, lone surrogates or numbers that JSON does not have."""

from __future__ import annotations

import decimal
import json
import re
from typing import Any

from botocore.model import Shape

from callgate.aws.limits import Limits
from callgate.aws.scalars import (
    blob,
    epoch,
    integer,
    number_text,
    timestamp,
    twice,
    unknown,
    wire_members,
    wrong,
)
from callgate.call import Refusal

_SURROGATE = re.compile(rb"\\[uU][dD][89a-fA-F]")


class _Twice(Exception):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _constant(text: str) -> None:
    raise ValueError


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=decimal.Decimal, parse_constant=_constant, strict=True
)


def load_json(body: bytes, limits: Limits, what: str = "body") -> Any:
    """The JSON value that `body` holds, floats as Decimal. Raises Refusal."""
    limits.judge_json(body)
    try:
        text = body.decode("utf-8")
        value = _DECODER.decode(text)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except _Twice:
        raise Refusal("duplicate-key", f"An object in the {what} has a key twice.") from None
    except RecursionError:
        raise limits.too_deep() from None
    except (ValueError, decimal.InvalidOperation):
        raise Refusal("malformed-json", f"The {what} is not JSON in UTF-8.") from None
    if body.count(b"[") + body.count(b"{") > limits.depth:
        limits.judge_depth(value)
    return value


def read_json(shape: Shape, value: Any, where: str = "") -> Any:
    """`value` (from `load_json`) as `shape` has it. Raises Refusal for what the shape does not have."""
    kind = shape.type_name
    if kind == "string":
        if type(value) is not str:
            raise wrong(where, "a string")
        return value
    if kind == "structure":
        return _structure(shape, value, where)
    if kind == "list":
        if type(value) is not list:
            raise wrong(where, "a list")
        member = shape.member
        return [None if item is None else read_json(member, item, where + "[]") for item in value]
    if kind == "map":
        if type(value) is not dict:
            raise wrong(where, "a map")
        member = shape.value
        return {
            key: None if item is None else read_json(member, item, f"{where}.*")
            for key, item in value.items()
        }
    return _scalar(kind, shape, value, where)


def _structure(shape: Shape, value: Any, where: str) -> Any:
    if shape.is_document_type:
        return value
    if type(value) is not dict:
        raise wrong(where, "a structure")
    members = wire_members(shape)
    found: dict[str, Any] = {}
    for key, item in value.items():
        known = members.get(key)
        if known is None:
            if key == "__type":
                continue
            raise unknown(f"{where}.{shown(key)}" if where else shown(key))
        if item is None:
            continue
        name, member = known
        if name in found:
            raise twice(name)
        found[name] = read_json(member, item, f"{where}.{name}" if where else name)
    if shape.is_tagged_union and len(found) > 1:
        raise wrong(where, "one alternative of its union")
    return found


def _scalar(kind: str, shape: Shape, value: Any, where: str) -> Any:
    if kind == "boolean":
        if type(value) is not bool:
            raise wrong(where, "true or false")
        return value
    if kind in ("integer", "long"):
        if type(value) is not int:
            raise wrong(where, "an integer")
        return integer(value, where)
    if kind in ("float", "double"):
        if type(value) is int or isinstance(value, decimal.Decimal):
            return value
        if value in ("NaN", "Infinity", "-Infinity"):
            return number_text(value, where)
        raise wrong(where, "a number")
    if kind == "blob":
        if type(value) is not str:
            raise wrong(where, "base64")
        return blob(value, where)
    if kind == "timestamp":
        form = shape.serialization.get("timestampFormat", "unixtimestamp").lower()
        if form == "unixtimestamp" and (type(value) is int or isinstance(value, decimal.Decimal)):
            return epoch(value, where)
        if type(value) is str and form != "unixtimestamp":
            return timestamp(value, form, where)
        raise wrong(where, "a time in the format that the operation takes")
    raise wrong(where, "of a known type")


def shown(key: str) -> str:
    """A key of the client's as a message may show it."""
    return key if len(key) <= 64 and key.isascii() and key.isprintable() else "of that name"
