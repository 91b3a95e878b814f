"""What a caller writes cannot lie to the person who reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.approvals import describe
from callgate.approvals.messages import FORMS

HOSTILE = [
    "\x1b[2J\x1b[Happroved",
    "\x9b31m",
    "a\rb",
    "line\nline",
    "\x00\x07\x08",
    "\u202egnp.exe",
    "\u2066isolate\u2069",
    "zero\u200bwidth\ufeff",
    "\u2028\u2029\u0085",
    "tag\U000e0041",
    "\ud800",
    "\ue000",
    "hangul\u3164filler",
    "variation\ufe0f",
    "z" + "\u0301" * 50,
    "]8;;https://evil.example\x07link",
]


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_moves_hides_or_turns_text_is_shown_as_an_escape(text: str) -> None:
    shown = describe.plain(text)
    assert shown.isprintable()
    assert "\\" in shown


@given(st.text())
def test_any_text_comes_out_printable(text: str) -> None:
    assert describe.plain(text).isprintable() or not text


@pytest.mark.parametrize("text", ["plain", "grün", "日本語", "emoji 🚀", "e\u0301", "العربية", "a  b"])
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert describe.plain(text) == text


@pytest.mark.parametrize("text", ["A" * 50_000, "\U000e0041" * 50_000])
def test_a_long_value_is_cut_and_says_how_long_it_is(text: str) -> None:
    shown = describe.plain(text)
    assert len(shown) < 250
    assert "50000 characters" in shown


def approval(**more: Any) -> dict[str, Any]:
    hostile = "\x1b[2J<!channel> *bold* [link](https://evil.example) \u202e`"
    return {
        "id": "hold-1",
        "state": "pending",
        "deadline": "2027-01-15T08:15:00.000Z",
        "secondsLeft": 900,
        "principalId": hostile,
        "requestedBy": [hostile],
        "service": "s3",
        "operation": "DeleteObject",
        "region": hostile,
        "account": None,
        "resources": [{"action": "s3:DeleteObject", "ARN": hostile, "determined": False}] * 3,
        "summary": {"reason": hostile, "requestParameters": {hostile: hostile, "Key": "A" * 50_000}},
        "terms": [{"rule": "r", "by": ["oncall"], "count": 1, "missing": 1, "grantSeconds": None}],
        "approvals": [],
        "by": None,
        "reason": "",
        **more,
    }


def test_every_line_about_a_hold_is_printable_and_short() -> None:
    hold = approval()
    lines = [
        describe.who(hold),
        describe.what(hold),
        describe.why(hold),
        *describe.resources(hold, 10),
        *(part for pair in describe.parameters(hold, 10) for part in pair),
        describe.still_needed(hold),
        describe.last_change(hold),
        describe.event_line({"event": "hold.opened", "time": "t", "approval": hold}),
    ]
    for line in lines:
        assert line.isprintable(), ascii(line)
        assert len(line) < 1500


def test_json_for_terminals_is_ascii_and_nothing_is_lost() -> None:
    text = describe.safe_json([approval()])
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == [approval()]


def test_many_resources_are_counted_not_hidden() -> None:
    hold = approval(resources=[{"action": "a", "ARN": f"arn:{n}", "determined": True} for n in range(1000)])
    assert describe.resources(hold, 3)[-1] == "… and 997 more"
    assert len(describe.resources(hold, 1000)) == 1000


@pytest.mark.parametrize(("seconds", "text"), [(9, "9s"), (90, "1m 30s"), (3600, "1h 00m"), (7500, "2h 05m")])
def test_time_left_reads_as_people_say_it(seconds: int, text: str) -> None:
    assert describe.time_left(seconds) == text


def strings(value: Any) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        own = [(v, value) for v in value.values() if isinstance(v, str)]
        return own + [found for v in value.values() for found in strings(v)]
    return [found for v in value for found in strings(v)] if isinstance(value, list) else []


@pytest.mark.parametrize("kind", ["hold.opened", "hold.denied"])
def test_slack_renders_no_markup_that_a_caller_wrote(kind: str) -> None:
    message = FORMS["slack"]({"event": kind, "time": "t", "approval": approval()})
    found = [parent for text, parent in strings(message) if "evil.example" in text]
    assert found
    assert all(parent["type"] == "plain_text" and parent["emoji"] is False for parent in found)
    for block in message["blocks"]:
        assert len(block["text"]["text"]) <= (150 if block["type"] == "header" else 3000)
    assert len(message["blocks"]) <= 50


@pytest.mark.parametrize("kind", ["hold.opened", "hold.denied"])
def test_teams_renders_no_markup_that_a_caller_wrote(kind: str) -> None:
    message = FORMS["teams"]({"event": kind, "time": "t", "approval": approval()})
    found = [parent for text, parent in strings(message) if "evil.example" in text]
    assert found
    assert all(parent["type"] == "TextRun" for parent in found)
    assert len(json.dumps(message)) < 28_000
