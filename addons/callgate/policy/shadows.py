"""Rules that never have a say, because a deny matches whatever they match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from callgate.policy import language
from callgate.policy.glob import Glob
from callgate.policy.rule import OUTSIDE
from callgate.policy.ruleset import RuleSet
from callgate.policy.sets import Sets

_SAME = (
    "resource_account",
    "account",
    "region",
    "auth",
    "source",
    "between",
    "from_",
    "until",
    "when",
    "any",
)
"""Keys that a deny either lacks or has just as the rule has them; anything cleverer is not claimed."""


def shadowed(rule: language.Rule, rules: RuleSet) -> Iterator[str]:
    """The ids of deny rules that match all that `rule` matches."""
    if rule.effect == "deny":
        return
    lifted = {name for exemption in rules.exemptions for name in exemption.rules}
    for source in rules.sources:
        for deny in source.says.rule:
            stands = deny.effect == "deny" and deny.mode != "observe" and deny.id not in lifted
            if stands and _covers(deny, rule, rules.sets):
                yield deny.id


def _covers(deny: language.Rule, rule: language.Rule, sets: Sets) -> bool:
    if any((value := getattr(deny, key)) is not None and value != getattr(rule, key) for key in _SAME):
        return False
    if any((rule.principal or {}).get(name) != match for name, match in (deny.principal or {}).items()):
        return False
    if deny.access and not (rule.access and set(rule.access) <= set(deny.access)):
        return False
    if deny.resource is not None and deny.resource != rule.resource:
        if deny.resource.negated or rule.resource is None or rule.resource.negated:
            return False
        if not _all_covered(sets.expand(deny.resource.words), sets.expand(rule.resource.words)):
            return False
    return _names_covered(deny, rule, sets)


def _names_covered(deny: language.Rule, rule: language.Rule, sets: Sets) -> bool:
    if deny.operation and not rule.operation:
        return False
    if rule.operation and not deny.operation and deny.action not in (None, ("*",), ("*:*",)):
        return False
    names = [name.lower() for name in sets.expand(rule.action or rule.operation or ("*:*",))]
    own = [name.lower() for name in sets.expand(deny.action or deny.operation or ("*:*",))]
    return all(
        _all_covered([each for each in own if _outside(each) == _outside(name)], [name]) for name in names
    )


def _outside(name: str) -> bool:
    return name.partition(":")[0] in OUTSIDE


def _all_covered(wide: Sequence[str], narrow: Sequence[str]) -> bool:
    return all(any("${" not in word and Glob(word).covers(each) for word in wide) for each in narrow)
