"""Text from callers made safe to show to people: on a terminal, in a chat message, on a page.

What is shown could be chosen by an attacker who wants an approver to read something else than is there. So
whatever moves the cursor, turns the writing direction, is invisible or looks like a line break is shown as
an escape.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# Control, format (zero width, direction marks), surrogate, private and unassigned characters, and line
# breaks.
_ESCAPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Characters that are letters or symbols by category, and yet show as nothing.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
_MARKS = 3


def plain(value: object, limit: int = 200) -> str:
    """`value` as one line of about `limit` characters at most, which shows what is there and nothing else."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    shown: list[str] = []
    length = marks = 0
    for char in text:
        if length >= limit:
            return "".join(shown) + f"… ({len(text)} characters)"
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        shown.append(_visible(char, marks))
        length += len(shown[-1])
    return "".join(shown)


def _visible(char: str, marks: int) -> str:
    code, category = ord(char), unicodedata.category(char)
    selector = 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF
    if category in _ESCAPED or char in _BLANK or selector or marks > _MARKS:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
    return " " if category == "Zs" else char


def who(approval: Mapping[str, Any]) -> str:
    """The principal, and the people behind the job."""
    people = approval.get("requestedBy") or []
    named = [name for name in people if not name.isdecimal()] or people
    return plain(approval["principalId"]) + (f" ({plain(', '.join(named))})" if named else "")


def what(approval: Mapping[str, Any]) -> str:
    """The operation, and where."""
    where = " ".join(str(approval[key]) for key in ("region", "account") if approval.get(key))
    name = f"{approval['service']}:{approval['operation']}"
    return plain(f"{name} in {where}" if where else name)


def why(approval: Mapping[str, Any]) -> str:
    """What the rule says about it, else the ids of the rules."""
    rules = ", ".join(terms["rule"] for terms in approval["terms"])
    summary = approval.get("summary")
    reason = summary.get("reason") if isinstance(summary, Mapping) else None
    return plain(reason or rules)


def resources(approval: Mapping[str, Any], limit: int) -> list[str]:
    """The resources, at most `limit` of them and a line that counts the rest."""
    arns = list(dict.fromkeys(_arn(each) for each in approval.get("resources") or []))
    rest = [f"… and {len(arns) - limit} more"] if len(arns) > limit else []
    return [plain(arn, 300) for arn in arns[:limit]] + rest


def parameters(approval: Mapping[str, Any], limit: int) -> list[tuple[str, str]]:
    """The (redacted) request parameters, names and values, at most `limit` of them."""
    summary = approval.get("summary")
    found = summary.get("requestParameters") if isinstance(summary, Mapping) else None
    pairs = list(found.items()) if isinstance(found, Mapping) else []
    rest = [("…", f"and {len(pairs) - limit} more")] if len(pairs) > limit else []
    return [(plain(name, 80), plain(value, 300)) for name, value in pairs[:limit]] + rest


def still_needed(approval: Mapping[str, Any]) -> str:
    """Whose approval is missing, as `oncall` or `2 of oncall, security (prod-delete)`."""
    parts = []
    for terms in approval["terms"]:
        if terms["missing"]:
            count = f"{terms['missing']} of " if terms["missing"] > 1 else ""
            parts.append(f"{count}{' or '.join(terms['by'])}")
    return plain(" and ".join(dict.fromkeys(parts)))


def time_left(seconds: float) -> str:
    """`12m 30s`, `2h 05m`, `9s`."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def safe_json(value: Sequence[Any] | Mapping[str, Any]) -> str:
    """JSON in ASCII alone: what a terminal could act on is an escape in it."""
    return json.dumps(value, ensure_ascii=True, indent=2)


def _arn(resource: object) -> str:
    if not isinstance(resource, Mapping):
        return str(resource)
    doubt = "" if resource.get("determined", True) else " (or another: it could not be determined)"
    return f"{resource.get('action')} on {resource.get('ARN')}{doubt}"


def approval(given: Mapping[str, Any]) -> str:
    """One person's approval on a line."""
    reason = f": {plain(given['reason'], 500)}" if given["reason"] else ""
    return f"{plain(given['person'])} by {plain(given['via'])} at {given['time']}{reason}"


def last_change(hold: Mapping[str, Any]) -> str:
    """Who or what brought the hold into its state, and the reason."""
    by = f" by {plain(hold['by'])}" if hold.get("by") else ""
    reason = f": {plain(hold['reason'], 500)}" if hold.get("reason") else ""
    return f"{hold['state']}{by}{reason}"


def event_line(event: Mapping[str, Any]) -> str:
    """An event on a line."""
    if grant := event.get("grant"):
        return f"{event['time']} {event['event']} {grant['grantId']} {who(grant)} {plain(grant['rule'])}"
    hold = event["approval"]
    return f"{event['time']} {event['event']} {hold['id']} {who(hold)} {what(hold)} {last_change(hold)}"


def event_json(event: Mapping[str, Any]) -> str:
    """An event as one line of ASCII JSON."""
    return json.dumps(event, ensure_ascii=True)
