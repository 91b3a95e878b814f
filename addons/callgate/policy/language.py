"""The rule language: what a rule file may say. Pydantic checks it and makes the JSON Schema for editors.

Nothing here is interpreted yet: sets, globs, paths and variables are compiled by `rule`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from callgate.duration import Duration
from callgate.policy.words import (
    Day,
    Days,
    Hours,
    Identifier,
    Matches,
    Number,
    Principal,
    Scalar,
    Scalars,
    Text,
    Words,
    Zone,
    first_moment,
    last_moment,
    listed,
)


class Table(BaseModel):
    """A TOML table that knows its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Size(Table):
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


class Tests(Table):
    """Tests of one value; all that are given must hold."""

    equals: Scalar | None = None
    like: Words | None = Field(None, description="globs, of which one must match")
    in_: Scalars | None = Field(None, alias="in", description="values, of which one must be equal")
    greater: Number | None = None
    less: Number | None = None
    cidr: Words | None = Field(None, description="networks, of which one must contain the address or network")
    size: Annotated[Size, BeforeValidator(_size, json_schema_input_type=Size | int)] | None = None

    @property
    def given(self) -> list[str]:
        """The names of the tests that are given."""
        return [name.rstrip("_") for name in Tests.model_fields if getattr(self, name) is not None]


def _not(value: object) -> object:
    return value if isinstance(value, dict) else {"like": value}


class Condition(Tests):
    """A test of the values that a JSONPath finds in the request's parameters."""

    path: str = Field(description="a JSONPath over botocore's names of the parameters")
    inside: str | None = Field(None, description="a JSONPath into JSON that the text at `path` holds")
    not_: Annotated[Tests, BeforeValidator(_not, json_schema_input_type=Tests | Words)] | None = Field(
        None, alias="not", description="globs, or a table of tests, of which none may hold"
    )
    exists: bool | None = Field(None, strict=True)
    missing: bool | None = Field(None, strict=True)

    @property
    def wants_absence(self) -> bool:
        """Must the path find nothing?"""
        return self.exists is False or self.missing is True

    @model_validator(mode="after")
    def _tests_something(self) -> Condition:
        if self.exists is not None and self.missing is not None:
            raise ValueError("names both exists and missing")
        tests = self.given + (["not"] if self.not_ is not None else [])
        if self.wants_absence and tests:
            raise ValueError(f"wants the path to be missing, and tests its values with {tests[0]}")
        if not tests and self.exists is None and self.missing is None:
            raise ValueError(
                "tests nothing: add equals, like, in, not, exists, missing, greater, less, cidr or size"
            )
        if self.not_ is not None and not self.not_.given:
            raise ValueError("not is empty")
        return self


class Between(Table):
    """Days and hours in a time zone. Hours that pass midnight belong to the day on which they begin."""

    days: Days | None = None
    hours: Hours | None = None
    zone: Zone

    @model_validator(mode="after")
    def _bounded(self) -> Between:
        if self.days is None and self.hours is None:
            raise ValueError("names neither days nor hours")
        return self


_Time = Annotated[Duration, WithJsonSchema({"type": "string", "examples": ["15m"]})]


class Hold(Table):
    """What a hold rule demands: `count` approvals from people in the groups `by`, within a time."""

    by: Words
    count: int = Field(1, ge=1, le=20, strict=True)
    within: _Time = Field(900.0, gt=0, description='how long the question stands, as in "15m"')
    grant: _Time | None = Field(None, gt=0, description="how long an approval covers further calls")


Level = Literal["list", "read", "write", "tagging", "permissions-management"]
Levels = Annotated[
    tuple[Level, ...],
    BeforeValidator(listed, json_schema_input_type=Level | list[Level]),
    Field(min_length=1),
]
Spans = Annotated[
    tuple[Between, ...],
    BeforeValidator(listed, json_schema_input_type=Between | list[Between]),
    Field(min_length=1),
]
Conditions = Annotated[
    tuple[Condition, ...],
    BeforeValidator(listed, json_schema_input_type=Condition | list[Condition]),
    Field(min_length=1),
]

_WHAT = {"action", "operation", "access"}
_SAYING = {"id", "effect", "reason", "mode", "hold"}
_MASKING = ("response", "how", "inside", "sensitive", "detect")


class Rule(Table):
    """One rule. Its keys are ANDed, values in a list ORed."""

    id: Identifier
    effect: Literal["allow", "deny", "hold", "mask"]
    reason: Text | None = None
    mode: Literal["enforce", "observe"] | None = Field(None, description="overrides that of the gateway")

    action: Words | None = Field(None, description="IAM actions, as globs")
    operation: Words | None = Field(None, description="botocore's service:Operation, as globs")
    access: Levels | None = Field(None, description="IAM's access levels")
    resource: Matches | None = Field(None, description="ARNs, as globs")
    resource_account: Matches | None = Field(None, description="the account in the resource's ARN")
    account: Matches | None = Field(None, description="the caller's account")
    region: Matches | None = None
    principal: Principal | None = Field(None, description="claims of the identity, as globs")
    auth: Matches | None = Field(None, description="how the request is authenticated")
    source: Matches | None = Field(None, description="networks (CIDR) that the request came from")
    between: Spans | None = Field(None, description="days and hours")
    from_: Day | None = Field(None, alias="from", description="the first day")
    until: Day | None = Field(None, description="the last day")
    when: Conditions | None = Field(None, description="conditions that must all hold")
    any: Annotated[tuple[Conditions, ...], Field(min_length=1)] | None = Field(
        None, description="groups of conditions, of which one must hold"
    )

    hold: Hold | None = None

    response: Words | None = Field(None, description="JSONPaths over the modelled response")
    how: Literal["fixed", "last4", "first4", "hash", "drop"] | None = None
    inside: str | None = Field(None, description="a JSONPath into JSON that a masked text holds")
    sensitive: Literal[True] | None = None
    detect: Words | None = None

    @model_validator(mode="after")
    def _possible(self) -> Rule:
        given = {name for name in Rule.model_fields if getattr(self, name) is not None}
        everything = 'action = ["*:*"] is every AWS call'
        if {"action", "operation"} <= given:
            raise ValueError("names action and operation; a rule has one or the other")
        if not given - _SAYING - set(_MASKING):
            raise ValueError(f"matches nothing: add action, operation or access ({everything})")
        if self.effect == "allow" and not given & _WHAT:
            raise ValueError(f"an allow names action, operation or access ({everything})")
        if self.effect == "hold" and not self.hold:
            raise ValueError('a hold says who decides: hold = { by = ["group"] }')
        if self.effect != "hold" and self.hold:
            raise ValueError(f"hold belongs to a rule with effect hold, not {self.effect}")
        if self.effect == "mask" and not given & {"response", "sensitive", "detect"}:
            raise ValueError("a mask says what to mask: response, sensitive or detect")
        if self.inside and not self.response:
            raise ValueError("inside goes on from what response finds, and belongs to a mask")
        for name in _MASKING:
            if name in given and self.effect != "mask":
                raise ValueError(f"{name} belongs to a rule with effect mask, not {self.effect}")
        if self.from_ and self.until and first_moment(self.from_) >= last_moment(self.until):
            raise ValueError("from is later than until")
        return self


class Exemption(Table):
    """Lifts deny or hold rules, for somebody, up to and including a day."""

    rule: Words
    principal: Principal
    owner: Text = Field(description="who answers for it")
    until: Day
    reason: Text | None = None


class Observe(Table):
    """Principals whose verdicts are recorded and not applied."""

    principal: Principal
    until: Day | None = None
    reason: Text | None = None


class RuleFile(Table):
    """One rule file."""

    sets: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], Words] = Field(
        default_factory=dict, description='named lists, used as "@name"'
    )
    rule: tuple[Rule, ...] = ()
    exemption: tuple[Exemption, ...] = ()
    observe: tuple[Observe, ...] = ()
