"""Cases beside the rules (`*.cases.toml`): a call and a principal, and the verdict expected."""

from __future__ import annotations

import dataclasses
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, PlainValidator, ValidationError, model_validator

from callgate.call import Call, Need
from callgate.decision import Decision
from callgate.misfit import dotted, explain
from callgate.policy.deciding import decide
from callgate.policy.errors import RuleError, line_of, syntax_error_line
from callgate.policy.facts import Moment, identity_of
from callgate.policy.language import Table
from callgate.policy.ruleset import RuleSet, parse_rules
from callgate.policy.words import Text

NeedsOf = Callable[[Call], tuple[Need, ...]]
"""The needs of a call that a case describes by its operation and parameters."""


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("wants a list of texts")
    return tuple(value)


Texts = Annotated[tuple[str, ...], PlainValidator(_texts)]
Operation = Annotated[str, Field(pattern=r"^[\w-]+:\w+$")]


class CaseTable(Table):
    """One case.

    The call is an `operation` with `parameters`, whose needs are worked out as the gateway does, or an
    `action` on a `resource`. With `determined` false, what is `*` in the resource is not known.
    """

    name: Text
    principal: str | dict[str, Any] = Field(description="names and claims, or the name of a principal")
    operation: Operation | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    action: Operation | None = None
    resource: str = "*"
    determined: bool = True
    access: str | None = None
    region: str = "eu-west-1"
    account: str = "111111111111"
    auth: str = "sigv4"
    source: str | None = None
    now: AwareDatetime | None = None
    mode: Literal["enforce", "observe"] = "enforce"

    expect: Literal["allow", "deny", "hold"]
    rules: Texts | None = Field(None, description="the ids of all rules that match")
    masks: Texts | None = Field(None, description="the ids of all rules that mask")
    would: Literal["allow", "deny", "hold"] | None = Field(None, description="what enforcing would do")

    @model_validator(mode="after")
    def _has_a_call(self) -> CaseTable:
        if not (self.operation or self.action):
            raise ValueError("has no call: add operation and parameters, or action and resource")
        return self

    def call(self, needs_of: NeedsOf) -> Call:
        """The call that this case describes."""
        operation = self.operation or self.action or ""
        service, _, name = operation.partition(":")
        described = Call(
            service=service,
            operation=name,
            candidates=((service, name),),
            protocol="",
            region=self.region,
            account=self.account,
            auth=self.auth,
            parameters=self.parameters,
        )
        if self.action is None:
            needs = needs_of(described)
        else:
            needs = (Need(self.action, self.resource, operation, self.determined, self.access),)
        return dataclasses.replace(described, needs=needs)


class CaseFile(Table):
    """One case file. `principals` are principals by name."""

    files: Texts | None = Field(None, description="rule files to judge by, if not by all that are loaded")
    principals: dict[str, dict[str, Any]] = Field(default_factory=dict)
    case: Annotated[tuple[CaseTable, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a case. `wrong` says what is not as expected; it is empty if all is well."""

    file: str
    line: int | None
    name: str
    decision: Decision
    wrong: tuple[str, ...]


def case_files(path: Path) -> list[Path]:
    """The case files that belong to `path`: those in a folder, or the one beside a rule file."""
    if path.is_dir():
        return sorted(path.glob("*.cases.toml"))
    beside = path.with_suffix(".cases.toml")
    return [beside] if beside.exists() else []


def run_cases(rules: RuleSet, name: str, text: str, needs_of: NeedsOf, moment: Moment) -> list[Outcome]:
    """Judge every case of one case file; `moment` is when, unless a case says so. Raises RuleError."""
    file = _parse(name, text)
    rules = _chosen(rules, file, name, text)
    outcomes = []
    for number, case in enumerate(file.case):
        try:
            principal = case.principal
            if isinstance(principal, str):
                if principal not in file.principals:
                    raise ValueError(f"there is no principal {principal!r}")
                principal = file.principals[principal]
            identity = identity_of(principal)
        except ValueError as error:
            line = line_of(text, ["case", number, "principal"])
            raise RuleError(name, str(error), line=line, key=f"case[{number}].principal")
        when = Moment(case.now or moment.now, case.source, case.mode)
        decision = decide(rules, identity, case.call(needs_of), when)
        line = line_of(text, ["case", number])
        outcomes.append(Outcome(name, line, case.name, decision, tuple(_wrong(case, decision))))
    return outcomes


def _chosen(rules: RuleSet, file: CaseFile, name: str, text: str) -> RuleSet:
    if file.files is None:
        return rules
    texts = {Path(source.name).name: source.text for source in rules.sources}
    if missing := set(file.files) - set(texts):
        raise RuleError(name, f"{min(missing)} is not loaded", line=line_of(text, ["files"]), key="files")
    return parse_rules({file: texts[file] for file in file.files})


def coverage(rules: RuleSet, outcomes: Iterable[Outcome]) -> Mapping[str, int]:
    """How many cases each rule matched in."""
    matched = Counter(rule for outcome in outcomes for rule in outcome.decision.rules)
    return {rule.id: matched[rule.id] for rule in rules.rules}


def _wrong(case: CaseTable, decision: Decision) -> Iterable[str]:
    if decision.effect != case.expect:
        yield f"expected {case.expect}, got {decision.effect}: {decision.reason}"
    if decision.would != case.would:
        yield f"expected would = {case.would}, got {decision.would}"
    if case.rules is not None:
        yield from _differs("rules", case.rules, decision.rules)
    if case.masks is not None:
        yield from _differs("masks", case.masks, [mask.rule for mask in decision.masks + decision.would_mask])


def _differs(what: str, expected: Iterable[str], got: Iterable[str]) -> Iterable[str]:
    if set(expected) != set(got):
        listed = [", ".join(sorted(set(ids))) or "none" for ids in (expected, got)]
        yield f"expected the {what} {listed[0]}, got {listed[1]}"


def _parse(name: str, text: str) -> CaseFile:
    try:
        return CaseFile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise RuleError(name, f"is not TOML: {error}", line=syntax_error_line(error))
    except ValidationError as error:
        problem = error.errors()[0]
        loc = problem["loc"]
        raise RuleError(name, explain(problem, CaseFile), line=line_of(text, loc), key=dotted(loc) or None)
