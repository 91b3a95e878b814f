"""Rules as the language has them -> rules that can be matched.

A compiled rule is a list of named tests, each of which says True, False or None (not known). Tests of the call are asked
once a call; tests of a need once for each of its needs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

from callgate.call import Need
from callgate.decision import HoldTerms, Mask, Mode
from callgate.policy import language
from callgate.policy.conditions import Expand, ParameterTest
from callgate.policy.facts import Facts, claim_texts
from callgate.policy.glob import Glob
from callgate.policy.jsonpath import Path
from callgate.policy.logic import Truth, every, negate, one
from callgate.policy.networks import network, networks
from callgate.policy.template import Pattern

CallTest = Callable[[Facts], Truth]
NeedTest = Callable[[Need, Facts], Truth]

OUTSIDE = ("tunnel", "http")
"""Services of calls to hosts that are not AWS: only a pattern that begins with such a name means them."""
USUAL_AUTHS = frozenset({"sigv4", "bearer", "unsigned"})
"""How a call may be authenticated without the rule that permits it saying so."""


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A rule that can be matched.

    `names` (globs in lower case, over actions or operations) decide whether a need is the rule's business at all, so
    they are indexed; `names_outside` are those that mean calls to hosts outside AWS.
    """

    id: str
    effect: Literal["allow", "deny", "hold", "mask"]
    reason: str | None
    mode: Mode | None
    names: tuple[Glob, ...]
    names_outside: tuple[Glob, ...]
    by_operation: bool
    call_tests: tuple[tuple[str, CallTest], ...]
    need_tests: tuple[tuple[str, NeedTest], ...]
    claims: frozenset[str]
    resources: tuple[Glob | None, ...] | None
    terms: HoldTerms | None = None
    mask: Mask | None = None

    def concerns(self, need: Need) -> bool:
        """Do the rule's actions (or operations) name this need's?"""
        name = (need.operation if self.by_operation else need.action).lower()
        globs = self.names_outside if name.partition(":")[0] in OUTSIDE else self.names
        return any(glob.matches(name) for glob in globs)

    def judges_call(self, facts: Facts) -> Truth:
        """Do the conditions on the call as a whole hold?"""
        found: Truth = True
        for _, test in self.call_tests:
            if (verdict := test(facts)) is False:
                return False
            if verdict is None:
                found = None
        return found

    def judges_need(self, need: Need, facts: Facts) -> Truth:
        """Do the conditions on one need hold?"""
        found: Truth = True
        for _, test in self.need_tests:
            if (verdict := test(need, facts)) is False:
                return False
            if verdict is None:
                found = None
        return found


def compile_rule(rule: language.Rule, expand: Expand) -> Rule:
    """Raises ValueError whose text begins with the key at fault."""
    under_allow = rule.effect == "allow"
    claims: set[str] = set()
    names = _names(rule, expand)
    return Rule(
        id=rule.id,
        effect=rule.effect,
        reason=rule.reason,
        mode=rule.mode,
        names=tuple(Glob(name) for name in names if name.partition(":")[0] not in OUTSIDE),
        names_outside=tuple(Glob(name) for name in names if name.partition(":")[0] in OUTSIDE),
        by_operation=rule.operation is not None,
        call_tests=tuple(_call_tests(rule, expand, claims, under_allow=under_allow)),
        need_tests=tuple(_need_tests(rule, expand, claims)),
        claims=frozenset(claims),
        resources=_resources(rule, expand),
        terms=_terms(rule),
        mask=_mask(rule),
    )


def principal_test(principal: Mapping[str, language.Match], expand: Expand) -> CallTest:
    """All claims must match; None where one that would decide is absent. Raises ValueError."""
    tests = [
        (name, _globs(f"principal.{name}", match, expand), match.negated) for name, match in principal.items()
    ]

    def one_claim(facts: Facts, name: str, globs: tuple[Glob, ...], negated: bool) -> Truth:
        if (texts := claim_texts(facts.identity, name)) is None:
            return None
        return any(glob.matches(text) for glob in globs for text in texts) != negated

    if len(tests) == 1:
        ((name, globs, negated),) = tests
        return lambda facts: one_claim(facts, name, globs, negated)
    return lambda facts: every(one_claim(facts, *test) for test in tests)


def _globs(key: str, match: language.Match, expand: Expand) -> tuple[Glob, ...]:
    words = _expand(key, match.words, expand)
    for word in words:
        if "${" in word:
            raise ValueError(f"{key}: a variable cannot be used here")
    return tuple(Glob(word) for word in words)


def _expand(key: str, words: Sequence[str], expand: Expand) -> tuple[str, ...]:
    try:
        return expand(words)
    except ValueError as error:
        raise ValueError(f"{key}: {error}")


def _names(rule: language.Rule, expand: Expand) -> list[str]:
    key, words = ("action", rule.action) if rule.operation is None else ("operation", rule.operation)
    names = _expand(key, words or ("*",), expand)
    for name in names:
        service, _, rest = name.partition(":")
        if name != "*" and not (service and rest and ":" not in rest):
            raise ValueError(f"{key}: {name!r} is not of the form service:Name")
    return [name.lower() for name in names]


def _call_tests(
    rule: language.Rule, expand: Expand, claims: set[str], *, under_allow: bool
) -> Iterable[tuple[str, CallTest]]:
    if rule.principal:
        yield "principal", principal_test(rule.principal, expand)
    yield "auth", _auth(rule, expand)
    if rule.account:
        yield "account", _plain("account", rule.account, expand, lambda facts: facts.call.account)
    if rule.region:
        yield "region", _plain("region", rule.region, expand, lambda facts: facts.call.region)
    if rule.source:
        yield "source", _source(rule.source, expand)
    if rule.from_ or rule.until:
        yield "until" if rule.until else "from", _dates(rule)
    if rule.between:
        yield "between", _between(rule.between)
    for number, condition in enumerate(rule.when or ()):
        test = _condition(f"when[{number}]", condition, expand, under_allow=under_allow)
        claims |= test.claims
        yield f"when[{number}] {condition.path}", test
    if rule.any:
        groups = [
            [
                _condition(f"any[{n}][{m}]", item, expand, under_allow=under_allow)
                for m, item in enumerate(group)
            ]
            for n, group in enumerate(rule.any)
        ]
        claims |= {name for group in groups for test in group for name in test.claims}
        yield "any", lambda facts: one(every(test(facts) for test in group) for group in groups)


def _condition(
    key: str, condition: language.Condition, expand: Expand, *, under_allow: bool
) -> ParameterTest:
    try:
        return ParameterTest(condition, expand, under_allow=under_allow)
    except ValueError as error:
        raise ValueError(f"{key}.{error}")


def _plain(key: str, match: language.Match, expand: Expand, read: Callable[[Facts], str | None]) -> CallTest:
    globs, negated = _globs(key, match, expand), match.negated

    def test(facts: Facts) -> Truth:
        return None if (text := read(facts)) is None else any(glob.matches(text) for glob in globs) != negated

    return test


def _auth(rule: language.Rule, expand: Expand) -> CallTest:
    if rule.auth is None:
        # A presigned or unsigned call, or one in an old signature, is permitted only by a rule that says so.
        return lambda facts: True if facts.call.auth in USUAL_AUTHS else None
    words = set(_expand("auth", rule.auth.words, expand))
    for word in words - set(language.AUTHS):
        raise ValueError(f"auth: {word!r} is none of {', '.join(language.AUTHS)}")
    named = frozenset(words | (set(language.SIGNED) if "signed" in words else set()))
    return lambda facts: (facts.call.auth in named) != rule.auth.negated if rule.auth else None


def _source(match: language.Match, expand: Expand) -> CallTest:
    try:
        allowed = networks(expand(match.words))
    except ValueError as error:
        raise ValueError(f"source: {error}")

    def test(facts: Facts) -> Truth:
        if facts.moment.source_ip is None:
            return None
        address = network(facts.moment.source_ip)
        inside = any(address.version == net.version and address.subnet_of(net) for net in allowed)  # type: ignore[arg-type]
        return inside != match.negated

    return test


def _dates(rule: language.Rule) -> CallTest:
    first = language.first_moment(rule.from_) if rule.from_ else None
    last = language.last_moment(rule.until) if rule.until else None
    return lambda facts: (
        (first is None or first <= facts.moment.now) and (last is None or facts.moment.now < last)
    )


def _between(spans: Sequence[language.Between]) -> CallTest:
    zones = [(span, ZoneInfo(span.zone)) for span in spans]
    return lambda facts: any(_in_span(span, facts.moment.now.astimezone(zone)) for span, zone in zones)


def _in_span(span: language.Between, local: dt.datetime) -> bool:
    day, time = local.weekday(), local.time()
    if span.hours is not None:
        start, end = span.hours
        if end == dt.time(0):  # 24:00
            inside = time >= start
        elif start < end:
            inside = start <= time < end
        else:
            inside = time >= start or time < end
            if time < end:
                day = (day - 1) % 7
        if not inside:
            return False
    return span.days is None or day in span.days


def _need_tests(rule: language.Rule, expand: Expand, claims: set[str]) -> Iterable[tuple[str, NeedTest]]:
    if rule.access:
        levels = frozenset(rule.access)
        yield "access", lambda need, facts: None if need.access is None else need.access in levels
    if rule.resource:
        patterns = _patterns("resource", rule.resource.words, expand, claims)
        yield "resource", _resource(patterns, negated=rule.resource.negated)
    if rule.resource_account:
        patterns = _patterns("resource_account", rule.resource_account.words, expand, claims)
        yield "resource_account", _resource_account(patterns, negated=rule.resource_account.negated)


def _patterns(key: str, words: Sequence[str], expand: Expand, claims: set[str]) -> tuple[Pattern, ...]:
    try:
        patterns = tuple(Pattern(word) for word in expand(words))
    except ValueError as error:
        raise ValueError(f"{key}: {error}")
    claims.update(name for pattern in patterns for name in pattern.claims)
    return patterns


def _resource(patterns: tuple[Pattern, ...], *, negated: bool) -> NeedTest:
    def against(pattern: Pattern, need: Need, facts: Facts) -> Truth:
        if (glob := pattern.glob(facts.identity)) is None:
            return None
        if need.determined:
            return glob.matches(need.resource)
        if glob.covers(need.resource):
            return True
        return None if glob.intersects(need.resource) else False

    def test(need: Need, facts: Facts) -> Truth:
        verdict = one(against(pattern, need, facts) for pattern in patterns)
        return negate(verdict) if negated else verdict

    return test


def account_of(resource: str) -> str | None:
    """The account in an ARN; None where it has none that is known (S3's have none)."""
    parts = resource.split(":", 5)
    account = parts[4] if len(parts) == 6 and parts[0] == "arn" else ""
    return None if account == "" or "*" in account else account


def _resource_account(patterns: tuple[Pattern, ...], *, negated: bool) -> NeedTest:
    def test(need: Need, facts: Facts) -> Truth:
        if (account := account_of(need.resource)) is None:
            return None
        globs = [pattern.glob(facts.identity) for pattern in patterns]
        verdict = one(None if glob is None else glob.matches(account) for glob in globs)
        return negate(verdict) if negated else verdict

    return test


def _resources(rule: language.Rule, expand: Expand) -> tuple[Glob | None, ...] | None:
    """The rule's resources as far as they are known without an identity (None for each that names a claim)."""
    if rule.resource is None or rule.resource.negated:
        return None
    return tuple(None if "${" in word else Glob(word) for word in expand(rule.resource.words))


def _terms(rule: language.Rule) -> HoldTerms | None:
    if rule.hold is None:
        return None
    hold = rule.hold
    return HoldTerms(rule=rule.id, by=hold.by, count=hold.count, within=hold.within, grant=hold.grant)


def _mask(rule: language.Rule) -> Mask | None:
    if rule.effect != "mask":
        return None
    for key, path in [*(("response", path) for path in rule.response or ()), ("inside", rule.inside)]:
        try:
            _ = Path(path) if path is not None else None
        except ValueError as error:
            raise ValueError(f"{key}: {error}")
    return Mask(
        rule=rule.id,
        paths=rule.response or (),
        how=rule.how or "fixed",
        inside=rule.inside,
        sensitive=bool(rule.sensitive),
        detect=rule.detect or (),
    )
