"""The core of the language on the design's own example."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from callgate.call import Call, Need
from callgate.policy import Moment, RuleError, decide, identity_of, load_rules, parse_rules

NOW = Moment(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))


def call(operation: str, *needs: tuple[str, str], **more: object) -> Call:
    service, name = operation.split(":")
    return Call(
        service=service,
        operation=name,
        candidates=((service, name),),
        protocol="json",
        region="eu-west-1",
        needs=tuple(Need(action, resource, operation) for action, resource in needs),
        **more,  # type: ignore[arg-type]
    )


def test_the_shipped_rules_load() -> None:
    rules = load_rules([Path(__file__).parents[2] / "rules"])
    assert len(rules) > 10
    verdict = decide(
        rules,
        identity_of({"issuer": "github"}),
        call("s3:GetObject", ("s3:GetObject", "arn:aws:s3:::b/k")),
        NOW,
    )
    assert verdict.effect == "allow"


def test_a_call_without_needs_is_refused() -> None:
    rules = parse_rules({"a.toml": '[[rule]]\nid = "all"\neffect = "allow"\naction = ["*:*"]\n'})
    verdict = decide(rules, identity_of({}), call("s3:GetObject"), NOW)
    assert (verdict.effect, verdict.code) == ("deny", "rule-error")


def test_an_unknown_key_names_file_line_rule_and_key() -> None:
    text = '# one\n\n[[rule]]\nid = "x"\neffect = "allow"\nacton = ["s3:*"]\n'
    with pytest.raises(RuleError, match=r"^a\.toml:6: rule 'x': acton: unknown key; did you mean action\?$"):
        parse_rules({"a.toml": text})
