"""A decision costs what the call needs, whatever the number of rules."""

from __future__ import annotations

import pytest

from bench.bench_rules import MIX, RULES, compare, made_up, microseconds, one_each
from callgate.policy import load_rules


@pytest.mark.full
def test_a_thousand_rules_cost_at_most_half_more_than_ten() -> None:
    assert compare(made_up(10), made_up(1000), MIX)[2] <= 1.5
    assert compare(one_each(10), one_each(1000), MIX[:2])[2] <= 1.5


@pytest.mark.full
def test_a_decision_on_the_shipped_rules_takes_at_most_30_microseconds() -> None:
    assert min(microseconds(load_rules([RULES]), MIX) for _ in range(15)) <= 30
