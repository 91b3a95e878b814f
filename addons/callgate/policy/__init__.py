"""Rules: rule files -> RuleSet; (Identity, Call) -> Decision."""

from callgate.policy.deciding import decide
from callgate.policy.errors import RuleError
from callgate.policy.explaining import explain
from callgate.policy.facts import Moment, identity_of
from callgate.policy.inspecting import inspects
from callgate.policy.ruleset import RuleSet, load_rules, parse_rules

__all__ = [
    "Moment",
    "RuleError",
    "RuleSet",
    "decide",
    "explain",
    "identity_of",
    "inspects",
    "load_rules",
    "parse_rules",
]
