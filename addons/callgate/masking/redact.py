"""What the ledger, prompts and mitmweb may see of a request's parameters.

In: a call. Out: plain JSON that RFC 8785 can hold. What may not be stored (sensitive members, blobs, data)
becomes `{"$hash", "$length"}` with a keyed hash, so that equal values can be told to be equal and none can be
guessed; so do strings longer than `LONG`, and all that comes once `WHOLE` is full. Patterns of secrets are
masked in every string, and literals in SQL. Numbers that RFC 8785 cannot hold become `{"$number": text}`.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from callgate.aws.models import model_of
from callgate.call import Call, Payload, to_json
from callgate.decision import Mask
from callgate.masking.detect import PATTERNS, mask_text
from callgate.masking.places import Place, Plan
from callgate.masking.sensitive import is_sql, is_unstored, is_unstored_name
from callgate.masking.sql import without_literals
from callgate.masking.ways import keyed_hash

LONG: Final = 256
"""Strings longer than this (characters) are kept as length and keyed hash."""
LONG_SQL: Final = 2048
"""The same for SQL, which people must be able to read."""
WHOLE: Final = 32_768
"""About how many characters the redacted parameters of one call may take."""
EXACT: Final = 2**53
"""Integers from here on are not exact in RFC 8785."""
UNSTORED: Final = Mask("unstored", sensitive=True)
SOUGHT: Final = tuple(name for name in PATTERNS if name != "aws-key")
"""Access key ids are no secrets: the ledger must name them."""
DEPTH: Final = 64

_suspicious = re.compile(
    r"eyJ|-----BEGIN|://[^/\s]*:|[?&;][A-Za-z-]+=|(?i:pass|pwd|secret|token|key|bearer|basic)"
    r"|gh[pousr]_|github_pat|gl[a-z]{2,5}-|xox|[rs]k[_-]|AIza|ya29|npm_|pypi-|[FI][Qw]o[GJ]|[A-Za-z0-9+/\r\n]{24}"
).search
_surrogate = re.compile("[\ud800-\udfff]").search


def redact_parameters(call: Call, *, key: bytes, masks: Sequence[Mask] = ()) -> dict[str, Any]:
    """The parameters of `call` as they may be stored and shown.

    `key` is the deployment's, for the hashes. What `masks` would mask in a response is hashed in the request
    too.
    """
    place = _place(tuple(masks), call.service, call.operation)
    return _Redactor(key, call.service).mapping(place, call.parameters, 0)


def redact_text(text: str) -> str:
    """`text` (a URL, an error message, a header) without what looks like a secret, and at most `LONG_SQL`
    long.
    """
    return mask_text(text, SOUGHT)[:LONG_SQL]


@functools.lru_cache(maxsize=1024)
def _place(masks: tuple[Mask, ...], service: str, operation: str) -> Place:
    """The place of the parameters of an operation; without a shape where no model has it."""
    model = model_of(service, operation)
    wanted = [Mask(mask.rule, mask.paths) for mask in masks]
    plan = Plan([*wanted, UNSTORED], lambda name, _: name, is_unstored(service))
    return plan.root(model.input_shape if model is not None else None)


class _Redactor:
    """Redacts the values of one call; `room` is what is left of the bound."""

    def __init__(self, key: bytes, service: str) -> None:
        self.key = key
        self.service = service
        self.room = WHOLE

    def mapping(self, place: Place, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        """The members of a structure or the entries of a map."""
        redacted: dict[str, Any] = {}
        parent = place.shape.name if place.shape is not None else ""
        for position, (key, each) in enumerate(value.items()):
            if self.room <= 0:
                redacted["$omitted"] = {"count": len(value) - position, **self.hashed(value)}
                break
            name = str(key)
            self.room -= len(name)
            below = place.member(name, partial(_same, each))
            if (
                below.way is None
                and isinstance(each, str)
                and below.kind == "document"
                and is_unstored_name(name)
            ):
                new: Any = self.hashed(each)
            elif below.way is None and isinstance(each, str) and is_sql(self.service, parent, name):
                new = self.sql(each)
            else:
                new = self.value(below, each, depth)
            redacted[name if self.is_short(name, LONG) else self.hash(name)] = new
        return redacted

    def sequence(self, place: Place, value: Sequence[Any], depth: int) -> list[Any]:
        """The items of a list."""
        redacted: list[Any] = []
        parent = place.shape.name if place.shape is not None else ""
        for index, each in enumerate(value):
            if self.room <= 0:
                redacted.append({"$omitted": {"count": len(value) - index, **self.hashed(value)}})
                break
            below = place.item(index, partial(_same, each))
            if below.way is None and isinstance(each, str) and is_sql(self.service, parent, "member"):
                redacted.append(self.sql(each))
            else:
                redacted.append(self.value(below, each, depth))
        return redacted

    def value(self, place: Place, value: Any, depth: int) -> Any:
        """Any value."""
        if isinstance(value, str):
            return self.string(value) if place.way is None else self.hashed(value)
        if value is None or isinstance(value, bool):
            return value if place.way is None or value is None else self.hashed(value)
        if isinstance(value, Payload):
            return {"$payload": {"length": value.length, "sha256": value.sha256}}
        if place.way is not None and not (place.holds and isinstance(value, Mapping | list | tuple)):
            return self.hashed(value)
        self.room -= 8
        match value:
            case int():
                return value if -EXACT < value < EXACT else {"$number": str(value)}
            case float() | decimal.Decimal():
                return _number(value)
            case datetime.datetime():
                return value.isoformat().replace("+00:00", "Z")
            case Mapping() if depth < DEPTH:
                return self.mapping(place, value, depth + 1)
            case list() | tuple() if depth < DEPTH:
                return self.sequence(place, value, depth + 1)
        return self.hashed(value)

    def string(self, value: str, most: int = LONG) -> Any:
        self.room -= len(value)
        if not self.is_short(value, most):
            return self.hashed(value)
        return mask_text(value, SOUGHT) if _suspicious(value) else value

    def sql(self, value: str) -> Any:
        """A statement without its literals."""
        # Behind the Data API may be MySQL.
        plain = without_literals(value, mysql=self.service == "rds-data")
        return self.hashed(value) if plain is None else self.string(plain, LONG_SQL)

    @staticmethod
    def is_short(text: str, most: int) -> bool:
        # RFC 8785 cannot hold lone surrogates.
        return len(text) <= most and (text.isascii() or not _surrogate(text))

    def hash(self, text: str) -> str:
        return keyed_hash(text.encode("utf-8", "surrogatepass"), self.key)

    def hashed(self, value: Any) -> dict[str, Any]:
        """A value as its keyed hash and length: bytes of a string or blob, else those of its JSON."""
        self.room -= 80
        match value:
            case bytes() | bytearray():
                data = bytes(value)
            case str():
                data = value.encode("utf-8", "surrogatepass")
            case _:
                data = json.dumps(to_json(value), sort_keys=True, default=str).encode()
        return {"$hash": keyed_hash(data, self.key), "$length": len(data)}


def _same(value: Any) -> Any:
    return value


def _number(value: float | decimal.Decimal) -> Any:
    """A number that RFC 8785 can hold, or its text."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    exact = math.isfinite(number) and abs(number) < EXACT and number == value
    return number if exact else {"$number": str(value)}
