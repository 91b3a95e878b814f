"""`callgate sessions`: who is connected, what a session did, and the end of one."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich.table import Table
from rich.text import Text

from callgate.cli.common import admin_request, config_option, console, fail, json_option, load_config
from callgate.ledger import LedgerError
from callgate.ledger.store import NAME, open_for_reading

_COLOURS = {
    "open": "green",
    "allowed": "green",
    "approved": "green",
    "held": "yellow",
    "denied": "red",
    "revoked": "red",
}
# Columns where no terminal says otherwise, so that `grep` finds whole lines.
_WIDE = 240
_HEADING = {
    "principal": "principalId",
    "issuer": "issuerUrl",
    "subject": "subject",
    "from": "sourceIPAddress",
}
_CALLS = """
SELECT seq, callId, eventTime, verdict, eventSource, eventName, resource, resources, awsRegion, userAgent,
  durationMs, statusCode, errorCode, masked, reason, message, result, holdId
FROM calls WHERE sessionId = ? ORDER BY seq"""
_EVENTS = """
SELECT seq, time, kind, entry -> '$.body' AS body
FROM entries WHERE subject = ? AND kind LIKE 'session.%' ORDER BY seq"""


@click.group()
def sessions() -> None:
    """See the sessions of jobs, what each of them did, and end one.

    \b
    callgate sessions list
    callgate sessions show ses-5f0c2a9be1d34c77a0b1c2d3
    callgate sessions revoke ses-5f0c2a9be1d34c77a0b1c2d3
    """


@sessions.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that have ended.")
@config_option
@json_option
def list_(everything: bool, config: Path, as_json: bool) -> None:
    """Open sessions of the running gateway, oldest first.

    \b
    callgate sessions list
    callgate sessions list --all --json
    """
    found = admin_request(load_config(config), "GET", "/v1/sessions")["sessions"]
    shown = [each for each in found if everything or each["state"] == "open"]
    if as_json:
        click.echo(json.dumps(shown, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("SESSION", "PRINCIPAL", "STATE", "OPENED", "EXPIRES", "FROM", "COMMAND (as claimed)"):
        table.add_column(name, overflow="fold", no_wrap=name in ("SESSION", "STATE", "FROM"))
    for each in shown:
        command = " ".join(each["unverifiedContext"].get("command", ())) or (
            "bare token" if each["implicit"] else ""
        )
        texts = (
            *(each[key] for key in ("sessionId", "principalId")),
            Text(each["state"], _COLOURS.get(each["state"], "")),
            _clock(each["openedAt"]),
            _clock(each["expiresAt"]),
            each["sourceIPAddress"],
            command,
        )
        table.add_row(*(text if isinstance(text, Text) else _plain(text) for text in texts))
    _print(table if shown else "No session is open.")


@sessions.command()
@click.argument("session")
@config_option
@json_option
def show(session: str, config: Path, as_json: bool) -> None:
    """What a session did, from the ledger: every call with its verdict, duration, and what was masked.

    Works while the gateway is down, and for sessions long gone.

    \b
    callgate sessions show ses-5f0c2a9be1d34c77a0b1c2d3
    callgate sessions show ses-5f0c2a9be1d34c77a0b1c2d3 --json
    """
    events, calls = read_session(load_config(config).state / NAME, session)
    if not events and not calls:
        fail(f"the ledger knows no session {session}", 1)
    if as_json:
        click.echo(json.dumps({"sessionId": session, "events": events, "calls": calls}, indent=2))
        return
    if events:
        _print(_heading(session, events))
    _print(_timeline(events, calls))
    refused = sum(call["verdict"] == "denied" for call in calls)
    _print(Text(f"{len(calls)} call{'s' * (len(calls) != 1)}, {refused} refused", "bold"))


@sessions.command()
@click.argument("session")
@config_option
@json_option
def revoke(session: str, config: Path, as_json: bool) -> None:
    """End a session now: its connections are cut, its next request is refused, what it holds is not released.

    The tokens that it was given are revoked too, with every other session that they opened.

    \b
    callgate sessions revoke ses-5f0c2a9be1d34c77a0b1c2d3
    """
    answer = admin_request(load_config(config), "DELETE", f"/v1/sessions/{quote(session, safe='')}")
    click.echo(json.dumps(answer) if as_json else "revoked " + ", ".join(answer.get("revoked", [session])))


def read_session(path: Path, session: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The session's own entries and its calls, oldest first, out of the ledger at `path`."""
    try:
        with contextlib.closing(open_for_reading(path)) as ledger:
            ledger.row_factory = sqlite3.Row
            events = [dict(row) for row in ledger.execute(_EVENTS, (session,))]
            calls = [dict(row) for row in ledger.execute(_CALLS, (session,))]
    except (LedgerError, sqlite3.Error) as error:
        fail(error)
    for event in events:
        event["body"] = json.loads(event["body"])
    for call in calls:
        for key in ("masked", "resources"):
            call[key] = json.loads(call[key]) if call[key] else []
    return events, calls


def _heading(session: str, events: Sequence[Mapping[str, Any]]) -> Table:
    body = next(event["body"] for event in reversed(events) if event["kind"] != "session.moved")
    table = Table.grid(padding=(0, 2))
    rows = [
        ("session", session),
        *((name, body.get(key)) for name, key in _HEADING.items()),
        *((f"{name} (as claimed)", said) for name, said in body.get("unverifiedContext", {}).items()),
    ]
    for name, value in rows:
        table.add_row(Text(name, "dim"), _plain(" ".join(value) if isinstance(value, list) else value))
    return table


def _timeline(events: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("TIME", "CALL", "VERDICT", "MS", "RESOURCE", "NOTE"):
        table.add_column(name, overflow="fold", justify="right" if name == "MS" else "left")
    lines = [(event["seq"], _event_row(event)) for event in events] + [
        (call["seq"], _call_row(call)) for call in calls
    ]
    for _, row in sorted(lines, key=lambda line: line[0]):
        table.add_row(*row)
    return table


def _event_row(event: Mapping[str, Any]) -> tuple[Text, ...]:
    what = event["kind"].partition(".")[2]
    note = event["body"].get({"moved": "sourceIPAddress", "revoked": "by"}.get(what, ""), "")
    return (_plain(event["time"]), Text(f"— {what}", "dim"), Text(), Text(), Text(), _plain(note))


def _call_row(call: Mapping[str, Any]) -> tuple[Text, ...]:
    service = (call["eventSource"] or "").partition(".")[0]
    notes = [call["reason"] or "", call["message"] or ""] if call["verdict"] == "denied" else []
    notes += [f"error {call['errorCode']}"] if call["errorCode"] and call["verdict"] != "denied" else []
    notes += [call["result"]] if call["result"] not in (None, "completed") and not notes else []
    notes += ["masked " + ", ".join(map(str, call["masked"]))] if call["masked"] else []
    notes += [call["holdId"]] if call["holdId"] else []
    return (
        _plain(call["eventTime"]),
        _plain(f"{service}:{call['eventName']}"),
        Text(call["verdict"] or "", _COLOURS.get(call["verdict"], "")),
        _plain("" if call["durationMs"] is None else call["durationMs"]),
        _plain(call["resource"] or ""),
        _plain("; ".join(notes)),
    )


def _print(what: Table | Text | str) -> None:
    out = console()
    if not out.is_terminal:
        out.width = _WIDE
    out.print(what)


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _plain(value: object) -> Text:
    """`value` as text that cannot drive a terminal."""
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in str(value)))
