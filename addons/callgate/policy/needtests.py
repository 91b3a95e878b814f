"""Conditions on one need of a call: access level, resource and the account in its ARN."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from callgate.call import Need
from callgate.policy import language
from callgate.policy.errors import at
from callgate.policy.facts import Facts
from callgate.policy.logic import Truth, negate, one
from callgate.policy.sets import Sets
from callgate.policy.template import Pattern
from callgate.policy.words import Match

NeedTest = Callable[[Need, Facts], Truth]


def need_tests(rule: language.Rule, sets: Sets, claims: set[str]) -> Iterator[tuple[str, NeedTest]]:
    """The tests of `rule`, each with its key; the claims that they name are added. Raises Misuse."""
    if rule.access:
        levels = frozenset(rule.access)
        yield "access", lambda need, facts: None if need.access is None else need.access in levels
    if rule.resource:
        with at("resource"):
            yield "resource", _resource(rule.resource, sets, claims)
    if rule.resource_account:
        with at("resource_account"):
            yield "resource_account", _resource_account(rule.resource_account, sets, claims)


def account_of(resource: str) -> str | None:
    """The account in an ARN; None where it has none that is known (S3's have none)."""
    parts = resource.split(":", 5)
    if len(parts) < 6 or parts[0] != "arn" or not parts[4] or "*" in parts[4]:
        return None
    return parts[4]


def _patterns(match: Match, sets: Sets, claims: set[str]) -> list[Pattern]:
    patterns = [Pattern(word) for word in sets.expand(match.words)]
    claims.update(name for pattern in patterns for name in pattern.claims)
    return patterns


def _resource(match: Match, sets: Sets, claims: set[str]) -> NeedTest:
    patterns, negated = _patterns(match, sets, claims), match.negated

    def test(need: Need, facts: Facts) -> Truth:
        if need.determined:
            verdict = one(pattern.matches(need.resource, facts.identity) for pattern in patterns)
        else:
            verdict = one(pattern.matches_unknown(need.resource, facts.identity) for pattern in patterns)
        return negate(verdict) if negated else verdict

    return test


def _resource_account(match: Match, sets: Sets, claims: set[str]) -> NeedTest:
    patterns, negated = _patterns(match, sets, claims), match.negated

    def test(need: Need, facts: Facts) -> Truth:
        if (account := account_of(need.resource)) is None:
            return None
        verdict = one(pattern.matches(account, facts.identity) for pattern in patterns)
        return negate(verdict) if negated else verdict

    return test
