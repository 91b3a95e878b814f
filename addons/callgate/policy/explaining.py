"""Why a decision is what it is: which rules matched, which nearly did, and on what those failed."""

from __future__ import annotations

from typing import Any

from callgate.call import Call
from callgate.identity.identity import Identity
from callgate.policy.deciding import decide
from callgate.policy.facts import Facts, Moment
from callgate.policy.logic import Truth
from callgate.policy.rule import Rule
from callgate.policy.ruleset import RuleSet


def explain(rules: RuleSet, identity: Identity, call: Call, moment: Moment) -> dict[str, Any]:
    """The decision's summary as plain JSON, and in `near` the rules that name what is asked and do not match.

    Each of these has its id, its effect and `failed`: the keys that did not hold for the need that came
    nearest (an allow fails on what is not known, too).
    """
    decision = decide(rules, identity, call, moment)
    facts = Facts(identity, call, moment)
    near = [
        {"rule": rule.id, "effect": rule.effect, "failed": _failed(rule, facts)}
        for rule in rules.rules
        if rule.id not in decision.rules and any(rule.concerns(need) for need in call.needs)
    ]
    return {**decision.summary(), "near": [] if decision.code == "rule-error" else near}


def _failed(rule: Rule, facts: Facts) -> list[str]:
    of_call = [key for key, test in rule.call_tests if _fails(rule, test(facts))]
    of_needs = [
        [key for key, test in rule.need_tests if _fails(rule, test(need, facts))]
        for need in facts.call.needs
        if rule.concerns(need)
    ]
    return of_call + min(of_needs, key=len)


def _fails(rule: Rule, verdict: Truth) -> bool:
    return verdict is False or (verdict is None and rule.effect == "allow")
