"""A rule of the language -> a rule that can be matched.

A compiled rule is a list of named tests, each of which says True, False or None (not known). Tests of the
call are asked once a call, tests of a need once for each of its needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from callgate.call import Need
from callgate.decision import HoldTerms, Mask, Mode
from callgate.policy import language
from callgate.policy.calltests import CallTest, call_tests
from callgate.policy.errors import at
from callgate.policy.facts import Facts
from callgate.policy.glob import Glob, is_literal
from callgate.policy.jsonpath import Path
from callgate.policy.logic import Truth
from callgate.policy.needtests import NeedTest, need_tests
from callgate.policy.sets import Sets
from callgate.policy.template import Pattern

OUTSIDE = ("tunnel", "http")
"""Services of calls to hosts that are not AWS: only a name that begins with one of them means such calls."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule that can be matched.

    `names` (globs in lower case, over actions or operations) decide whether a need is the rule's business at
    all, so they are indexed; `names_outside` are those that mean calls to hosts outside AWS. `claims` are the
    claims that its texts name, `resources` its resources if there are any that it asks for. `pin` is a claim
    that must have one of some exact values, if it is there at all.
    """

    id: str
    effect: Literal["allow", "deny", "hold", "mask"]
    reason: str | None
    mode: Mode | None
    by_operation: bool
    names: tuple[Glob, ...]
    names_outside: tuple[Glob, ...]
    call_tests: tuple[tuple[str, CallTest], ...]
    need_tests: tuple[tuple[str, NeedTest], ...]
    claims: frozenset[str]
    resources: tuple[Pattern, ...] | None
    pin: tuple[str, frozenset[str]] | None
    terms: HoldTerms | None
    mask: Mask | None

    def concerns(self, need: Need) -> bool:
        """Do the rule's actions (or operations) name this need's?"""
        name = (need.operation if self.by_operation else need.action).lower()
        globs = self.names_outside if name.partition(":")[0] in OUTSIDE else self.names
        return any(glob.matches(name) for glob in globs)

    def judges_call(self, facts: Facts) -> Truth:
        """Do the conditions on the call as a whole hold?"""
        found: Truth = True
        for _, test in self.call_tests:
            if not (verdict := test(facts)):
                if verdict is False:
                    return False
                found = None
        return found

    def judges_need(self, need: Need, facts: Facts) -> Truth:
        """Do the conditions on one need hold?"""
        found: Truth = True
        for _, test in self.need_tests:
            if not (verdict := test(need, facts)):
                if verdict is False:
                    return False
                found = None
        return found


def compile_rule(rule: language.Rule, sets: Sets) -> Rule:
    """Raises Misuse with the key at fault."""
    names = _names(rule, sets)
    claims: set[str] = set()
    return Rule(
        id=rule.id,
        effect=rule.effect,
        reason=rule.reason,
        mode=rule.mode,
        by_operation=rule.operation is not None,
        names=tuple(Glob(name) for name in names if name.partition(":")[0] not in OUTSIDE),
        names_outside=tuple(Glob(name) for name in names if name.partition(":")[0] in OUTSIDE),
        call_tests=tuple(call_tests(rule, sets, claims)),
        need_tests=tuple(need_tests(rule, sets, claims)),
        claims=frozenset(claims),
        resources=_resources(rule, sets),
        pin=_pin(rule, sets),
        terms=_terms(rule),
        mask=_mask(rule),
    )


def _names(rule: language.Rule, sets: Sets) -> list[str]:
    with at("action" if rule.operation is None else "operation"):
        names = sets.expand(rule.action or rule.operation or ("*",))
        for name in names:
            service, _, rest = name.partition(":")
            if name != "*" and not (service and rest and ":" not in rest):
                raise ValueError(f"{name!r} is not of the form service:Name")
        return [name.lower() for name in names]


def _resources(rule: language.Rule, sets: Sets) -> tuple[Pattern, ...] | None:
    if rule.resource is None or rule.resource.negated:
        return None
    return tuple(Pattern(word) for word in sets.expand(rule.resource.words))


def _pin(rule: language.Rule, sets: Sets) -> tuple[str, frozenset[str]] | None:
    pins = []
    for name, match in (rule.principal or {}).items():
        values = sets.expand(match.words)
        if not match.negated and all(map(is_literal, values)):
            pins.append((name == "issuer", name, frozenset(values)))
    # An issuer is shared by many; any other claim tells callers apart better.
    return min(pins, key=lambda pin: pin[:2])[1:] if pins else None


def _terms(rule: language.Rule) -> HoldTerms | None:
    if rule.hold is None:
        return None
    hold = rule.hold
    return HoldTerms(rule=rule.id, by=hold.by, count=hold.count, within=hold.within, grant=hold.grant)


def _mask(rule: language.Rule) -> Mask | None:
    if rule.effect != "mask":
        return None
    with at("response"):
        for path in rule.response or ():
            Path(path)
    with at("inside"):
        Path(rule.inside or "$")
    return Mask(
        rule=rule.id,
        paths=rule.response or (),
        how=rule.how or "fixed",
        inside=rule.inside,
        sensitive=bool(rule.sensitive),
        detect=rule.detect or (),
    )
