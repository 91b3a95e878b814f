"""What the gateway refused in a run, for the job's log and GitHub's step summary."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = 20
_KEYS = ("eventName", "reason", "message", "callId")


def summary_lines(refusals: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for people, then one for each refusal."""
    if not refusals:
        return []
    count = len(refusals)
    lines = [f"{count} call{'s were' if count > 1 else ' was'} refused in this run:"]
    for refusal in refusals[:_SHOWN]:
        name, reason, message, call = (_text(refusal, key) for key in _KEYS)
        resources = _resources(refusal)
        lines.append(f"  {name}{' on ' + resources if resources else ''}: {reason}: {message} (call {call})")
    if count > _SHOWN:
        lines.append(f"  and {count - _SHOWN} more")
    return lines


def write_step_summary(refusals: Sequence[Mapping[str, Any]], environ: Mapping[str, str]) -> None:
    """Append a table to GITHUB_STEP_SUMMARY, if there is one."""
    path = environ.get("GITHUB_STEP_SUMMARY")
    if not path or not refusals:
        return
    rows = [
        "",
        "### Refused by Callgate",
        "",
        "| Call | Resources | Reason | Message | Id |",
        "|" + " --- |" * 5,
    ]
    for refusal in refusals[:_SHOWN]:
        name, reason, message, call = (_text(refusal, key) for key in _KEYS)
        cells = (_cell(text) for text in (name, _resources(refusal), reason, message, call))
        rows.append("| " + " | ".join(cells) + " |")
    if len(refusals) > _SHOWN:
        rows += ["", f"and {len(refusals) - _SHOWN} more"]
    with open(path, "a", encoding="utf-8") as file:
        file.write("\n".join([*rows, ""]))


def _text(refusal: Mapping[str, Any], name: str) -> str:
    """Printable text: what is shown comes from requests, and must not drive a terminal."""
    value = str(refusal.get(name) or "")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in value)[:300]


def _resources(refusal: Mapping[str, Any]) -> str:
    said = refusal.get("resources")
    if not isinstance(said, list):
        return ""
    names = [str(each.get("ARN", "")) if isinstance(each, dict) else str(each) for each in said]
    return _text({"names": ", ".join(names[:3]) + (" …" if len(names) > 3 else "")}, "names")


def _cell(text: str) -> str:
    return html.escape(text).replace("|", "&#124;").replace("`", "&#96;").replace("[", "&#91;")
