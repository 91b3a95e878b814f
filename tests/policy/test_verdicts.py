"""Several hundred verdicts, as data: rules, a call, a principal (verdicts.toml)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from policy_calls import call_of, moment_of

from callgate.policy import decide, identity_of, parse_rules

TABLES = tomllib.loads(Path(__file__).with_name("verdicts.toml").read_text())["table"]
VERDICTS = {"a": "allow", "d": "deny", "h": "hold"}


def rows() -> list[Any]:
    found = []
    for table in TABLES:
        for described, verdicts in table["rows"]:
            assert len(verdicts) == len(table["principals"]), (table["about"], described)
            for principal, verdict in zip(table["principals"], verdicts, strict=True):
                label = f"{table['about']}: {described} by {principal}"
                found.append(pytest.param(table["rules"], described, principal, VERDICTS[verdict], id=label))
    return found


@pytest.mark.parametrize(("rules", "described", "principal", "verdict"), rows())
def test_the_verdict_is(rules: str, described: Any, principal: str, verdict: str) -> None:
    claims = dict(pair.split("=", 1) for pair in principal.split(" ") if pair != "-")
    decision = decide(
        parse_rules({"rules.toml": rules}), identity_of(claims), call_of(described), moment_of(described)
    )
    assert decision.effect == verdict, decision


def test_there_are_several_hundred() -> None:
    assert len(rows()) >= 400
