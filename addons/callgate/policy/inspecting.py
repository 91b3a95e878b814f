"""Which hosts outside AWS the rules want to look into."""

from __future__ import annotations

from callgate.policy.glob import Glob
from callgate.policy.rule import Rule
from callgate.policy.ruleset import RuleSet


def inspects(rules: RuleSet, host: str) -> bool:
    """Does some rule judge `http:` calls to `host`, so that its TLS must be opened?"""
    return any(_asks_for(rule, f"https://{host}/*") for rule in rules.rules)


def _asks_for(rule: Rule, urls: str) -> bool:
    if not any(name.intersects("http:*") for name in rule.names_outside):
        return False
    # Whatever a claim may hold: a variable in a resource is taken for a `*`.
    return rule.resources is None or any(Glob(p.with_any_claim).intersects(urls) for p in rule.resources)
