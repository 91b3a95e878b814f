"""Which hosts outside AWS the rules want to look into."""

from __future__ import annotations

from callgate.policy.ruleset import RuleSet


def inspects(rules: RuleSet, host: str) -> bool:
    """Does some rule judge `http:` calls to `host`, so that its TLS must be opened?"""
    urls = (f"https://{host}/*", f"https://{host}:*")
    return any(
        rule.resources is None
        or any(glob is None or glob.intersects(url) for glob in rule.resources for url in urls)
        for rule in rules.rules
        if any(name.intersects("http:*") for name in rule.names_outside)
    )
