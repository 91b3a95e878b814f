"""Conditions on a call as a whole: who makes it, how, when, from where, and with which parameters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence

from callgate.policy import language
from callgate.policy.conditions import ParameterTest
from callgate.policy.errors import at
from callgate.policy.facts import Facts, claim_texts
from callgate.policy.glob import Glob
from callgate.policy.logic import Truth, every, one
from callgate.policy.networks import inside, network, networks
from callgate.policy.sets import Sets
from callgate.policy.words import AUTHS, SIGNED, Match, first_moment, last_moment

CallTest = Callable[[Facts], Truth]

USUAL_AUTHS = frozenset({"sigv4", "bearer", "basic", "unsigned"})
"""How a call may be authenticated without the rule that permits it saying so."""


def call_tests(rule: language.Rule, sets: Sets, claims: set[str]) -> Iterator[tuple[str, CallTest]]:
    """The tests of `rule`, each with its key; claims that `when` and `any` name are added. Raises Misuse."""
    if rule.principal:
        with at("principal"):
            yield "principal", principal_test(rule.principal, sets)
    with at("auth"):
        yield "auth", _auth(rule.auth, sets)
    if rule.account:
        with at("account"):
            yield "account", _text(rule.account, sets, lambda facts: facts.call.account)
    if rule.region:
        with at("region"):
            yield "region", _text(rule.region, sets, lambda facts: facts.call.region)
    if rule.source:
        with at("source"):
            yield "source", _source(rule.source, sets)
    if rule.from_:
        first = first_moment(rule.from_)
        yield "from", lambda facts: facts.moment.now >= first
    if rule.until:
        last = last_moment(rule.until)
        yield "until", lambda facts: facts.moment.now < last
    if rule.between:
        spans = rule.between
        yield "between", lambda facts: any(_in_span(span, facts.moment.now) for span in spans)
    for number, condition in enumerate(rule.when or ()):
        key = f"when[{number}]"
        yield key, _parameters(key, condition, sets, claims, rule.effect)
    if rule.any:
        groups = [
            [
                _parameters(f"any[{n}][{m}]", condition, sets, claims, rule.effect)
                for m, condition in enumerate(group)
            ]
            for n, group in enumerate(rule.any)
        ]
        yield "any", lambda facts: one(every(test(facts) for test in group) for group in groups)


def principal_test(principal: Mapping[str, Match], sets: Sets) -> CallTest:
    """All claims must match; None where one that would decide is absent. Raises Misuse."""
    tests: list[CallTest] = []
    for name, match in principal.items():
        with at(name):
            tests.append(_claim(name, _globs(match, sets), match.negated))
    return tests[0] if len(tests) == 1 else lambda facts: every(test(facts) for test in tests)


def _claim(name: str, globs: Sequence[Glob], negated: bool) -> CallTest:
    def test(facts: Facts) -> Truth:
        if (texts := claim_texts(facts.identity, name)) is None:
            return None
        return any(glob.matches(text) for glob in globs for text in texts) != negated

    return test


def _globs(match: Match, sets: Sets) -> list[Glob]:
    words = sets.expand(match.words)
    if any("${" in word for word in words):
        raise ValueError("a variable cannot be used here")
    return [Glob(word) for word in words]


def _text(match: Match, sets: Sets, read: Callable[[Facts], str | None]) -> CallTest:
    globs, negated = _globs(match, sets), match.negated

    def test(facts: Facts) -> Truth:
        return None if (text := read(facts)) is None else any(glob.matches(text) for glob in globs) != negated

    return test


def _auth(match: Match | None, sets: Sets) -> CallTest:
    if match is None:
        # A presigned or anonymous call, or an old signature, is permitted only by a rule that says so.
        return lambda facts: True if facts.call.auth in USUAL_AUTHS else None
    words = set(sets.expand(match.words))
    if unknown := words - set(AUTHS):
        raise ValueError(f"{min(unknown)!r} is none of {', '.join(AUTHS)}")
    named, negated = frozenset(words | (set(SIGNED) if "signed" in words else set())), match.negated
    return lambda facts: (facts.call.auth in named) != negated


def _source(match: Match, sets: Sets) -> CallTest:
    allowed, negated = networks(sets.expand(match.words)), match.negated

    def test(facts: Facts) -> Truth:
        if facts.moment.source_ip is None:
            return None
        return inside(network(facts.moment.source_ip), allowed) != negated

    return test


def _in_span(span: language.Between, now: dt.datetime) -> bool:
    local = now.astimezone(span.zone)
    day, time = local.weekday(), local.time()
    if span.hours is not None:
        start, end = span.hours
        if end > start or end == dt.time(0):  # the end of the day is 24:00
            within = start <= time and (time < end or end == dt.time(0))
        else:
            within = time >= start or time < end
            if time < end:
                day = (day - 1) % 7
        if not within:
            return False
    return span.days is None or day in span.days


def _parameters(
    key: str, condition: language.Condition, sets: Sets, claims: set[str], effect: str
) -> ParameterTest:
    with at(key):
        test = ParameterTest(condition, sets, under_allow=effect == "allow")
    claims |= test.claims
    return test
