"""The scalar types of the rule language, each with its check and its JSON Schema.

Every check raises ValueError with a text for the person who wrote the rule; TOML's types are never coerced.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, StringConstraints, WithJsonSchema

SIGNED = ("sigv4", "sigv4a", "sigv2")
AUTHS = ("signed", *SIGNED, "presigned", "bearer", "basic", "unsigned", "anonymous")
"""What `auth` may name; `signed` is any signature in the Authorization header."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TEXT = {"type": "string", "minLength": 1}
_WORDS: dict[str, Any] = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
_NOT = {"type": "object", "properties": {"not": _WORDS}, "required": ["not"], "additionalProperties": False}
_SCALAR = {"type": ["string", "number", "boolean"]}
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")


@dataclass(frozen=True, slots=True)
class Match:
    """One of some words, or (`{ not = … }`) none of them."""

    words: tuple[str, ...]
    negated: bool = False


def _words(value: object) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    if not listed:
        raise ValueError("is empty, so it could never match")
    for word in listed:
        if not isinstance(word, str):
            raise ValueError(f"wants text in quotes, or a list of such, not {word!r}")
        if not word:
            raise ValueError("holds an empty text, which could never match")
    return tuple(listed)


def _match(value: object) -> Match:
    if isinstance(value, dict):
        if set(value) != {"not"}:
            raise ValueError('is text, a list of texts, or { not = ["…"] }')
        return Match(_words(value["not"]), negated=True)
    return Match(_words(value))


def _scalar(value: object) -> object:
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"wants one text, number or boolean, not {value!r}")


def _scalars(value: object) -> tuple[object, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("wants a list with at least one value")
    return tuple(_scalar(item) for item in value)


def _number(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError(f"wants a number, not {value!r}")


def _day(value: object) -> dt.date:
    if isinstance(value, dt.datetime) and value.tzinfo is None:
        raise ValueError("a time needs its offset, as in 2027-01-31T18:00:00Z")
    if isinstance(value, dt.date):
        return value
    raise ValueError("wants a date such as 2027-01-31, or a date and time with offset, without quotes")


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(str(value))
    except (ValueError, OSError, LookupError):
        raise ValueError(f"there is no time zone {value!r}; names are as in Europe/Berlin")


def _days(value: object) -> frozenset[int]:
    found: set[int] = set()
    for word in _words(value):
        first, dash, last = word.lower().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{word!r} is no day; days are {', '.join(DAYS)}, or a range such as mon-fri")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        found.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return frozenset(found)


def _hours(value: object) -> tuple[dt.time, dt.time]:
    form = _HOURS.fullmatch(str(value))
    if not form:
        raise ValueError('wants two times of day such as "08:00-18:00"')
    start, end = dt.time(int(form[1]), int(form[2])), dt.time(int(form[3] or 0), int(form[4] or 0))
    if start == end and form[3]:
        raise ValueError("begins and ends at the same time")
    return start, end


def listed(value: object) -> object:
    """One value where a list of them may stand."""
    return value if isinstance(value, list | tuple) else [value]


def first_moment(day: dt.date) -> dt.datetime:
    """When `day` begins (in UTC, unless it has a time and an offset)."""
    return day if isinstance(day, dt.datetime) else dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def last_moment(day: dt.date) -> dt.datetime:
    """When `day` is over (in UTC, unless it has a time and an offset)."""
    return day if isinstance(day, dt.datetime) else first_moment(day) + dt.timedelta(days=1)


Words = Annotated[tuple[str, ...], PlainValidator(_words), WithJsonSchema(_WORDS)]
Matches = Annotated[Match, PlainValidator(_match), WithJsonSchema({"anyOf": [*_WORDS["anyOf"], _NOT]})]
Principal = Annotated[dict[str, Matches], Field(min_length=1)]
Scalar = Annotated[Any, PlainValidator(_scalar), WithJsonSchema(_SCALAR)]
Scalars = Annotated[
    tuple[Any, ...],
    PlainValidator(_scalars),
    WithJsonSchema({"type": "array", "items": _SCALAR, "minItems": 1}),
]
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Day = Annotated[dt.date, PlainValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Days = Annotated[frozenset[int], PlainValidator(_days), WithJsonSchema({**_WORDS, "examples": [["mon-fri"]]})]
Hours = Annotated[
    tuple[dt.time, dt.time],
    PlainValidator(_hours),
    WithJsonSchema({"type": "string", "pattern": _HOURS.pattern, "examples": ["08:00-18:00"]}),
]
Zone = Annotated[
    ZoneInfo, PlainValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})
]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
