"""Canonical JSON (RFC 8785), and typed strings for the values that it cannot hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson
import rfc8785

from callgate.call import to_json

SAFE = 2**53 - 1
"""The largest integer that every JSON reader takes exactly."""
_encode = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
).encode
_FAST = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER | orjson.OPT_PASSTHROUGH_SUBCLASS
_FAST |= orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
# What orjson may write otherwise than RFC 8785 (fractions, exponents, NaN as null), or what looks like it,
# in a string.
_unsure = re.compile(r"[\[:,](?:-?\d+(?:\.|e[-+]?\d+[,\]}])|null)").search


class _NeedsRules(Exception):
    """A number whose ECMAScript form json does not write."""


def canonical(value: Any) -> str:
    """`value` (plain JSON, or what a call's parameters hold) as RFC 8785 text.

    Integers of 2^53 and above, NaN and infinities become `{"$number": text}`, strings with lone surrogates
    `{"$string": text with \\uXXXX escapes}`; bytes and times are typed as `callgate.call.to_json` types them.
    Raises ValueError where that makes two keys equal, or where the value nests too deep.
    """
    if (fast := _fast(value)) is not None:
        return fast
    # json's C encoder is several times as fast as rfc8785 and writes the same bytes, but for two things:
    # the order of keys beyond ASCII, and exponents.
    try:
        plain = _typed(value, exponents=False)
        text = _encode(plain)
        if text.isascii():
            return text
    except _NeedsRules:
        plain = _typed(value, exponents=True)
    except RecursionError:
        raise ValueError("the value nests too deep to be recorded") from None
    return rfc8785.dumps(plain).decode()


def _fast(value: Any) -> str | None:
    """Most values, as orjson writes them; None where that may not be how RFC 8785 does."""
    try:
        text = orjson.dumps(value, option=_FAST).decode()
    except orjson.JSONEncodeError:
        return None
    return text if text.isascii() and text[0] in '{["' and not _unsure(text) else None


def _typed(value: Any, *, exponents: bool) -> Any:
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _text(value)
    if kind is dict:
        typed = {_key(key): _typed(item, exponents=exponents) for key, item in value.items()}
        if len(typed) != len(value):
            raise ValueError("two keys are the same when they are written as JSON")
        return typed
    if kind is list or kind is tuple:
        return [_typed(item, exponents=exponents) for item in value]
    if value is None or kind is bool:
        return value
    if kind is int:
        return value if -SAFE <= value <= SAFE else {"$number": str(value)}
    if kind is float:
        return _number(value, exponents=exponents)
    if isinstance(value, Mapping):
        return _typed(dict(value), exponents=exponents)
    known = to_json(value)
    if type(known) is kind:
        raise ValueError(f"a {kind.__name__} cannot be recorded")
    return _typed(known, exponents=exponents)


def _number(value: float, *, exponents: bool) -> Any:
    if value != value or value in (float("inf"), float("-inf")):
        return {"$number": str(value)}
    if value.is_integer():
        if abs(value) <= SAFE:
            return int(value)
    elif abs(value) >= 1e-4:
        return value
    if not exponents:
        raise _NeedsRules
    return value


def _text(value: str) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"$string": json.dumps(value)[1:-1]}
    return value


def _key(key: Any) -> str:
    if type(key) is not str:
        return _key(str(key))
    text = _text(key)
    return text if type(text) is str else text["$string"]
