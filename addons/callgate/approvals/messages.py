"""What webhooks send about an event: our own JSON, a Slack message, a card for Microsoft Teams.

Values that a caller could choose go only into elements in which the chat renders no markup: Slack's
`plain_text` objects, and the TextRuns of an adaptive card (its TextBlocks and facts know Markdown).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from callgate.approvals import describe

Event = Mapping[str, Any]

_HEADLINES = {
    "hold.opened": "Waits for approval",
    "hold.approval": "Approved by one, waits for more",
    "hold.approved": "Approved",
    "hold.denied": "Denied",
    "hold.expired": "Nobody approved it in time",
    "hold.used": "Executed with approval",
    "hold.returned": "Approved again: the call did not execute",
    "hold.lapsed": "The approval was not used in time",
    "hold.revoked": "The approval was revoked",
    "grant.given": "Further calls are approved",
    "grant.lapsed": "Further calls need approval again",
    "grant.revoked": "Further calls need approval again: revoked",
}
_FIELD_LIMIT = 1900


def as_json(event: Event) -> dict[str, Any]:
    """`{"type", "timestamp", "data"}`, as the Standard Webhooks specification recommends."""
    return {
        "type": event["event"],
        "timestamp": event["time"],
        "data": event.get("approval") or event.get("grant") or {},
    }


def as_slack(event: Event) -> dict[str, Any]:
    """The message of a Slack incoming webhook, in Block Kit."""
    headline, rows = _told(event)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _slack_text(headline, 150)},
        *({"type": "section", "text": _slack_text(f"{name}: {value}", _FIELD_LIMIT)} for name, value in rows),
    ]
    # The text of notifications is markup, so it says only what we choose.
    return {"text": f"Callgate: {_HEADLINES[event['event']]}", "blocks": blocks}


def as_teams(event: Event) -> dict[str, Any]:
    """The message of a Teams workflow webhook, with an adaptive card."""
    headline, rows = _told(event)
    body = [{"type": "TextBlock", "text": headline, "weight": "Bolder", "size": "Medium", "wrap": True}]
    runs: list[dict[str, Any]] = [
        {
            "type": "RichTextBlock",
            "inlines": [
                {"type": "TextRun", "text": f"{name}: ", "weight": "Bolder"},
                {"type": "TextRun", "text": value[:_FIELD_LIMIT]},
            ],
        }
        for name, value in rows
    ]
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [*body, *runs],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
    return {"type": "message", "attachments": [attachment]}


FORMS: Mapping[str, Callable[[Event], dict[str, Any]]] = {
    "json": as_json,
    "slack": as_slack,
    "teams": as_teams,
}


def _told(event: Event) -> tuple[str, list[tuple[str, str]]]:
    """A headline of our own words, and rows of name and value."""
    headline = _HEADLINES[event["event"]]
    if hold := event.get("approval"):
        return headline, [row for row in _hold_rows(event["event"], hold) if row[1]]
    grant = event["grant"]
    rows = [
        ("Grant", grant["grantId"]),
        ("Who", describe.who(grant)),
        ("Rule", describe.plain(grant["rule"])),
    ]
    return headline, [*rows, ("Until", grant["until"])]


def _hold_rows(kind: str, hold: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("Who", describe.who(hold)),
        ("What", describe.what(hold)),
        ("On", ", ".join(describe.resources(hold, 5))),
        ("Why it is held", describe.why(hold)),
    ]
    if kind not in ("hold.opened", "hold.approval"):
        return [("Hold", hold["id"]), *rows, ("Outcome", describe.last_change(hold))]
    answer = f"callgate approvals approve {hold['id']} (or deny, or show)"
    needs = ("Needs", describe.still_needed(hold))
    return [*rows, needs, ("Until", hold["deadline"]), ("To answer", answer)]


def _slack_text(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": text[:limit], "emoji": False}
