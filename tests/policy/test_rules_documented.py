"""docs/rules.md and the shipped rules do what they say."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from policy_calls import NOON

from callgate.cli.aws_catalogue import aws_catalogue
from callgate.policy import Moment, load_rules, parse_rules
from callgate.policy.cases import case_files, coverage, run_cases
from callgate.policy.checking import check
from callgate.policy.language import Rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
CATALOGUE = aws_catalogue()
HEADING = re.compile(r"^##? (?!rules$|cases$)", flags=re.M)
SECTIONS = {part.partition("\n")[0]: part for part in HEADING.split(PAGE) if "\n# rules\n" in part}


def block(section: str, kind: str) -> str:
    found = re.findall(rf"^```toml\n# {kind}\n(.*?)^```", SECTIONS[section], flags=re.M | re.S)
    assert len(found) == 1, (section, kind)
    return str(found[0])


def test_the_page_has_ten_policies() -> None:
    assert len([name for name in SECTIONS if re.match(r"\d+\. ", name)]) == 10


@pytest.mark.parametrize("section", SECTIONS)
def test_a_documented_policy_does_what_its_cases_say(section: str) -> None:
    rules = parse_rules({"rules.toml": block(section, "rules")})
    outcomes = run_cases(rules, "cases", block(section, "cases"), CATALOGUE.needs_of, Moment(NOON))
    assert len(outcomes) >= 2
    assert [outcome for outcome in outcomes if outcome.wrong] == []


def test_every_key_of_a_rule_is_documented() -> None:
    for name, field in Rule.model_fields.items():
        assert f"`{field.alias or name}`" in PAGE, name


@pytest.mark.case("D17", "D18")
def test_the_shipped_rules_pass_their_cases_and_every_one_is_tried() -> None:
    rules = load_rules([ROOT / "rules"])
    outcomes = [
        outcome
        for file in case_files(ROOT / "rules")
        for outcome in run_cases(rules, str(file), file.read_text(), CATALOGUE.needs_of, Moment(NOON))
    ]
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    assert [rule for rule, count in coverage(rules, outcomes).items() if not count] == []


def test_the_shipped_rules_have_no_warnings() -> None:
    rules = load_rules([ROOT / "rules"])
    assert [
        str(warning) for warning in check(rules, CATALOGUE, dt.datetime(2026, 11, 24, tzinfo=dt.UTC))
    ] == []
