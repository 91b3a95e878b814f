"""The rule language: what a rule file may say. Pydantic checks it and makes the JSON Schema for editors.

Nothing here is interpreted yet: globs, sets, paths and variables are compiled by `compiling`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from callgate.duration import Duration

LEVELS = ("list", "read", "write", "tagging", "permissions-management")
"""IAM's access levels."""
SIGNED = ("sigv4", "sigv4a", "sigv2")
AUTHS = ("signed", *SIGNED, "presigned", "bearer", "unsigned", "anonymous")
"""What `auth` may name; `signed` is any signature in the Authorization header."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TEXT = {"type": "string", "minLength": 1}
_WORDS = {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}


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


def _literal(value: object) -> object:
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"wants one text, number or boolean, not {value!r}")


def _literals(value: object) -> tuple[object, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError("wants a list with at least one value")
    return tuple(_literal(item) for item in value)


def _number(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    raise ValueError(f"wants a number, not {value!r}")


def _moment(value: object) -> object:
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError("a time needs its offset, as in 2027-01-31T18:00:00Z")
        return value
    if isinstance(value, dt.date):
        return value
    raise ValueError("wants a date such as 2027-01-31, or a date and time with offset, without quotes")


def _zone(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("wants the name of a time zone, as in Europe/Berlin")
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        raise ValueError(f"there is no time zone {value!r} (names are as in Europe/Berlin)")
    return value


def _days(value: object) -> tuple[int, ...]:
    found: set[int] = set()
    for word in _words(value):
        first, dash, last = word.lower().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{word!r} is no day; days are {', '.join(DAYS)}, or a range such as mon-fri")
        start, end = DAYS.index(first), DAYS.index(last if dash else first)
        found.update((start + n) % 7 for n in range((end - start) % 7 + 1))
    return tuple(sorted(found))


def _hours(value: object) -> tuple[dt.time, dt.time]:
    form = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)", str(value))
    if not form:
        raise ValueError('wants two times of day such as "08:00-18:00"')
    start, end = dt.time(int(form[1]), int(form[2])), dt.time(int(form[3] or 0), int(form[4] or 0))
    if start == end and form[3]:
        raise ValueError("begins and ends at the same time")
    return start, end


Words = Annotated[tuple[str, ...], PlainValidator(_words), WithJsonSchema(_WORDS)]
Matches = Annotated[
    Match,
    PlainValidator(_match),
    WithJsonSchema(
        {
            "anyOf": [
                *_WORDS["anyOf"],
                {
                    "type": "object",
                    "properties": {"not": _WORDS},
                    "required": ["not"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
_SCALAR = {"type": ["string", "number", "boolean"]}
Literal_ = Annotated[Any, PlainValidator(_literal), WithJsonSchema(_SCALAR)]
Literals = Annotated[
    tuple[Any, ...],
    PlainValidator(_literals),
    WithJsonSchema({"type": "array", "items": _SCALAR, "minItems": 1}),
]
Day = Annotated[
    dt.datetime | dt.date, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date"})
]
Number = Annotated[int | float, PlainValidator(_number), WithJsonSchema({"type": "number"})]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,99}$")]
Principal = Annotated[dict[str, Matches], Field(min_length=1)]


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Size(_Table):
    """A length, or bounds on it: characters of a text, bytes of a blob, members of a list or map."""

    equals: Number | None = None
    greater: Number | None = None
    less: Number | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Size:
        if self.equals is None and self.greater is None and self.less is None:
            raise ValueError("names none of equals, greater and less")
        return self


def _size(value: object) -> object:
    return value if isinstance(value, dict) else {"equals": value}


class Tests(_Table):
    """Tests on one value; all that are given must hold."""

    equals: Literal_ | None = None
    like: Words | None = Field(None, description="globs, of which one must match")
    in_: Literals | None = Field(None, alias="in")
    greater: Number | None = None
    less: Number | None = None
    cidr: Words | None = Field(None, description="networks, one of which must contain the address or network")
    size: Annotated[Size, BeforeValidator(_size)] | None = None

    @property
    def given(self) -> list[str]:
        """The names of the tests that are given."""
        return [name for name in Tests.model_fields if getattr(self, name) is not None]


def _not(value: object) -> object:
    return value if isinstance(value, dict) else {"like": value}


class Condition(Tests):
    """A test of the values that a JSONPath finds in the request's parameters."""

    path: str = Field(description="a JSONPath over botocore's names of the parameters")
    inside: str | None = Field(None, description="a JSONPath into JSON that the text at `path` holds")
    not_: Annotated[Tests, BeforeValidator(_not)] | None = Field(
        None, alias="not", description="globs, or a table of tests, of which none may hold"
    )
    exists: Literal[True, False] | None = None
    missing: Literal[True, False] | None = None

    @model_validator(mode="after")
    def _tests_something(self) -> Condition:
        presence = [name for name in ("exists", "missing") if getattr(self, name) is not None]
        if len(presence) == 2:
            raise ValueError("names both exists and missing")
        wants_absence = self.exists is False or self.missing is True
        tests = self.given + (["not"] if self.not_ is not None else [])
        if wants_absence and tests:
            raise ValueError(f"wants the path to be missing and tests its values with {tests[0].rstrip('_')}")
        if not presence and not tests:
            raise ValueError(
                "tests nothing: add equals, like, in, not, exists, missing, greater, less, cidr or size"
            )
        if self.not_ is not None and not self.not_.given:
            raise ValueError("not tests nothing")
        return self


class Between(_Table):
    """Days and hours in a time zone. Hours that pass midnight belong to the day on which they begin."""

    days: Annotated[
        tuple[int, ...] | None, PlainValidator(_days), WithJsonSchema({**_WORDS, "examples": [["mon-fri"]]})
    ] = None
    hours: Annotated[
        tuple[dt.time, dt.time] | None,
        PlainValidator(_hours),
        WithJsonSchema({"type": "string", "examples": ["08:00-18:00"]}),
    ] = None
    zone: Annotated[
        str, PlainValidator(_zone), WithJsonSchema({"type": "string", "examples": ["Europe/Berlin"]})
    ]

    @model_validator(mode="after")
    def _bounded(self) -> Between:
        if self.days is None and self.hours is None:
            raise ValueError("names neither days nor hours")
        return self


class Hold(_Table):
    """What a hold rule demands: `count` approvals from people in the groups `by`, within a time."""

    by: Words
    count: int = Field(1, ge=1, le=20, strict=True)
    within: Duration = Field(900.0, gt=0, description='how long the question stands, as in "15m"')
    grant: Duration | None = Field(None, gt=0, description="how long an approval covers further calls")


_SAYS = ("action", "operation", "access")
_NARROWS = ("resource", "resource_account", "account", "region", "principal", "auth", "source", "between", "from_",
            "until", "when", "any")  # fmt: skip
_MASKS = ("response", "how", "inside", "sensitive", "detect")


class Rule(_Table):
    """One rule. Its keys are ANDed, values in a list ORed."""

    id: Identifier
    effect: Literal["allow", "deny", "hold", "mask"]
    reason: str | None = Field(None, min_length=1, max_length=500)
    mode: Literal["enforce", "observe"] | None = Field(
        None, description="overrides the mode of gateway and principal"
    )

    action: Words | None = Field(None, description="IAM actions, as globs")
    operation: Words | None = Field(None, description="botocore's service:Operation, as globs")
    access: Annotated[
        tuple[Literal["list", "read", "write", "tagging", "permissions-management"], ...] | None,
        BeforeValidator(_listed),
        Field(min_length=1),
    ] = None
    resource: Matches | None = Field(None, description="ARNs, as globs")
    resource_account: Matches | None = None
    account: Matches | None = Field(None, description="the caller's account")
    region: Matches | None = None
    principal: Principal | None = Field(None, description="claims of the identity, as globs")
    auth: Matches | None = None
    source: Matches | None = Field(None, description="networks (CIDR) that the request came from")
    between: Annotated[tuple[Between, ...] | None, BeforeValidator(_listed), Field(min_length=1)] = None
    from_: Day | None = Field(None, alias="from", description="the first day")
    until: Day | None = Field(None, description="the last day")
    when: Annotated[tuple[Condition, ...] | None, BeforeValidator(_listed), Field(min_length=1)] = None
    any: Annotated[
        tuple[Annotated[tuple[Condition, ...], BeforeValidator(_listed), Field(min_length=1)], ...] | None,
        Field(min_length=1),
    ] = None

    hold: Hold | None = None

    response: Words | None = Field(None, description="JSONPaths over the modelled response")
    how: Literal["fixed", "last4", "first4", "hash", "drop"] | None = None
    inside: str | None = Field(None, description="a JSONPath into JSON that a masked text holds")
    sensitive: Literal[True] | None = None
    detect: Words | None = None

    @model_validator(mode="after")
    def _possible(self) -> Rule:
        given = {name for name in Rule.model_fields if getattr(self, name) is not None}
        if {"action", "operation"} <= given:
            raise ValueError("names action and operation; a rule has one or the other")
        if not given & {*_SAYS, *_NARROWS}:
            raise ValueError(
                'matches nothing: add action, operation or access (action = ["*:*"] is every AWS call)'
            )
        if self.effect == "allow" and not given & set(_SAYS):
            raise ValueError(
                'an allow names action, operation or access (action = ["*:*"] is every AWS call)'
            )
        if self.effect == "hold" and not self.hold:
            raise ValueError('a hold says who decides: hold = { by = ["group"] }')
        if self.effect != "hold" and self.hold:
            raise ValueError(f"hold belongs to a rule with effect hold, not {self.effect}")
        masking = [name for name in _MASKS if name in given]
        if self.effect == "mask":
            if not given & {"response", "sensitive", "detect"}:
                raise ValueError("a mask says what to mask: response, sensitive or detect")
            if self.inside and not self.response:
                raise ValueError("inside needs response: it goes on from what response finds")
        elif masking:
            raise ValueError(f"{masking[0]} belongs to a rule with effect mask, not {self.effect}")
        if self.from_ and self.until and first_moment(self.from_) >= last_moment(self.until):
            raise ValueError("from is later than until")
        return self


class Exemption(_Table):
    """Lifts deny or hold rules, for somebody, up to and including a day."""

    rule: Words
    principal: Principal
    owner: str = Field(min_length=1, description="who answers for it")
    until: Day
    reason: str | None = Field(None, min_length=1, max_length=500)


class Observe(_Table):
    """Principals whose verdicts are recorded and not applied."""

    principal: Principal
    until: Day | None = None
    reason: str | None = Field(None, min_length=1, max_length=500)


class RuleFile(_Table):
    """One rule file."""

    sets: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], Words] = Field(
        default_factory=dict, description='named lists, used as "@name"'
    )
    rule: tuple[Rule, ...] = ()
    exemption: tuple[Exemption, ...] = ()
    observe: tuple[Observe, ...] = ()


def first_moment(day: dt.datetime | dt.date) -> dt.datetime:
    """When `day` begins (in UTC, unless it has a time and an offset)."""
    return day if isinstance(day, dt.datetime) else dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def last_moment(day: dt.datetime | dt.date) -> dt.datetime:
    """When `day` is over (in UTC, unless it has a time and an offset)."""
    return day if isinstance(day, dt.datetime) else first_moment(day) + dt.timedelta(days=1)
