"""`callgate approvals`: what waits for a person, and the answers that people give."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from callgate.approvals import describe
from callgate.approvals.door import new_token
from callgate.cli.common import (
    admin_answer,
    admin_events,
    admin_request,
    config_option,
    console,
    fail,
    json_option,
    load_config,
)

_COLOURS = {"pending": "yellow", "approved": "green", "used": "green", "denied": "red"}
_STATES = ("pending", "approved", "denied", "expired", "used", "lapsed", "revoked", "all")

reason_option = click.option("-r", "--reason", default="", help="Kept with the verdict, shown to the job.")


@click.group()
def approvals() -> None:
    """See what calls wait for a person, and answer them.

    \b
    callgate approvals list
    callgate approvals approve hold-3f9a1c20be -r "OPS-311, agreed with Kim"
    callgate approvals watch
    """


@approvals.command("list")
@click.option("--state", type=click.Choice(_STATES), help="Instead of those that are pending or approved.")
@config_option
@json_option
def list_(state: str | None, config: Path, as_json: bool) -> None:
    """Holds, oldest first.

    \b
    callgate approvals list
    callgate approvals list --state all --json
    """
    path = "/v1/approvals" + (f"?state={state}" if state else "")
    answer = admin_request(load_config(config), "GET", path)
    if as_json:
        click.echo(describe.safe_json(answer["approvals"]))
    elif answer["approvals"]:
        console().print(_table(answer["approvals"]))
    else:
        click.echo("Nothing waits for approval.")


@approvals.command()
@click.argument("hold_id", metavar="ID")
@config_option
@json_option
def show(hold_id: str, config: Path, as_json: bool) -> None:
    """One hold: who asks for what, on what, and who answered.

    \b
    callgate approvals show hold-3f9a1c20be
    """
    approval = admin_request(load_config(config), "GET", f"/v1/approvals/{_checked(hold_id)}")
    if as_json:
        click.echo(describe.safe_json(approval))
    else:
        console().print(_details(approval))


@approvals.command()
@click.argument("hold_ids", metavar="ID...", nargs=-1, required=True)
@reason_option
@config_option
@json_option
def approve(hold_ids: tuple[str, ...], reason: str, config: Path, as_json: bool) -> None:
    """Let held calls pass.

    Exits with 1 if one of them could not be approved: it was answered already, or it is not yours to approve.

    \b
    callgate approvals approve hold-3f9a1c20be -r "agreed in OPS-311"
    """
    _answer("approve", hold_ids, reason, config, as_json)


@approvals.command()
@click.argument("hold_ids", metavar="ID...", nargs=-1, required=True)
@reason_option
@config_option
@json_option
def deny(hold_ids: tuple[str, ...], reason: str, config: Path, as_json: bool) -> None:
    """Refuse held calls. One denial ends a hold, whatever others have said.

    \b
    callgate approvals deny hold-3f9a1c20be -r "not during the freeze"
    """
    _answer("deny", hold_ids, reason, config, as_json)


@approvals.command()
@config_option
@json_option
def watch(config: Path, as_json: bool) -> None:
    """Watch holds as they come and go, until interrupted. Without a terminal: one line for each event.

    \b
    callgate approvals watch
    callgate approvals watch --json | jq .event
    """
    settings = load_config(config)
    out = console()
    try:
        if as_json or not out.is_terminal:
            for event in admin_events(settings):
                click.echo(describe.event_json(event) if as_json else describe.event_line(event))
            return
        with Live(console=out, screen=True, auto_refresh=False) as live:
            while True:
                answer = admin_request(settings, "GET", "/v1/approvals")
                live.update(_board(answer["approvals"], out.height), refresh=True)
                time.sleep(1)
    except KeyboardInterrupt:
        return


@approvals.command()
@config_option
@json_option
def grants(config: Path, as_json: bool) -> None:
    """Grants in force: approvals that cover further calls.

    \b
    callgate approvals grants
    """
    answer = admin_request(load_config(config), "GET", "/v1/grants")
    if as_json:
        click.echo(describe.safe_json(answer["grants"]))
    elif not answer["grants"]:
        click.echo("No grant is in force.")
    else:
        table = Table("Grant", "Left", "Who", "Rule", "Given by", box=None, pad_edge=False)
        for each in answer["grants"]:
            row = [each["id"], describe.time_left(each["secondsLeft"]), describe.who(each), each["rule"]]
            table.add_row(*map(Text, [*row, describe.plain(", ".join(each["givenBy"]))]))
        console().print(table)


@approvals.command()
@click.argument("an_id", metavar="ID")
@reason_option
@config_option
@json_option
def revoke(an_id: str, reason: str, config: Path, as_json: bool) -> None:
    """Take back a grant, or an approval that no call has used.

    \b
    callgate approvals revoke grant-08c1d5e2fa -r "job finished"
    """
    kind = "grants" if an_id.startswith("grant-") else "approvals"
    path = f"/v1/{kind}/{_checked(an_id)}"
    answer = admin_request(load_config(config), "DELETE", path, {"reason": reason})
    click.echo(describe.safe_json(answer) if as_json else f"{an_id} is revoked.")


@approvals.command()
@config_option
@json_option
def undelivered(config: Path, as_json: bool) -> None:
    """Events that webhooks did not take, newest last, since the gateway started.

    \b
    callgate approvals undelivered
    """
    answer = admin_request(load_config(config), "GET", "/v1/undelivered")
    if as_json:
        click.echo(describe.safe_json(answer["undelivered"]))
        return
    if not answer["undelivered"]:
        click.echo("Webhooks took every event.")
    for each in answer["undelivered"]:
        click.echo(
            f"{each['time']} {each['webhook']} {each['event']} {each['about']}: "
            f"{describe.plain(each['error'])}"
        )


@approvals.command()
@click.argument("name")
def token(name: str) -> None:
    """Make a personal token for the approver NAME, and what to write into the configuration.

    The token is shown this once; the configuration keeps its hash. Needs no running gateway.

    \b
    callgate approvals token alice
    """
    secret, digest = new_token()
    click.echo(f"token for {describe.plain(name)}, to be kept by its owner:\n\n  {secret}\n")
    click.echo(
        f'callgate.toml:\n\n  [approvals.approvers."{describe.plain(name)}"]\n  token_hash = "{digest}"'
    )


def _answer(verdict: str, hold_ids: tuple[str, ...], reason: str, config: Path, as_json: bool) -> None:
    settings = load_config(config)
    results, refused = [], []
    for hold_id in hold_ids:
        path = f"/v1/approvals/{_checked(hold_id)}/{verdict}"
        status, answer = admin_answer(settings, "POST", path, {"reason": reason})
        results.append(answer)
        if status >= 400:
            refused.append(f"{hold_id}: {describe.plain(answer.get('message') or answer.get('error'), 500)}")
        elif not as_json:
            needed = describe.still_needed(answer)
            missing = f"; it still needs {needed}" if needed else ""
            click.echo(f"{hold_id} is {answer['state']}{missing}.")
    if as_json:
        click.echo(describe.safe_json(results if len(results) > 1 else results[0]))
    if refused:
        fail("; ".join(refused), 1)


def _checked(an_id: str) -> str:
    if not an_id.replace("-", "").isalnum() or not an_id.isascii():
        fail(f"{describe.plain(an_id)!r} is no id; `callgate approvals list` shows them")
    return an_id


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("Hold", no_wrap=True)
    table.add_column("Who", overflow="fold", ratio=2)
    table.add_column("What and why", overflow="fold", ratio=3)
    table.add_column("Needs", overflow="fold", ratio=1)
    for each in found:
        left = describe.time_left(each["secondsLeft"]) if each["secondsLeft"] else ""
        state = (
            Text(f"{each['id']}\n").append(each["state"], _COLOURS.get(each["state"], "")).append(f" {left}")
        )
        what = Text(describe.what(each), "bold")
        for line in describe.resources(each, 3):
            what.append(f"\n{line}", "not bold")
        what.append(f"\n{describe.why(each)}", "not bold dim")
        table.add_row(state, Text(describe.who(each)), what, Text(describe.still_needed(each)))
    return table


def _board(found: list[dict[str, Any]], height: int) -> RenderableType:
    pending = [each for each in found if each["state"] == "pending"]
    fits = max(1, (height - 4) // 4)
    parts: list[RenderableType] = [Text(f"{len(pending)} waiting for approval", style="bold"), Text("")]
    if found:
        parts.append(_table((pending + [e for e in found if e["state"] != "pending"])[:fits]))
    if len(found) > fits:
        parts.append(Text(f"… and {len(found) - fits} more: callgate approvals list"))
    return Group(*parts)


def _details(each: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    state = (
        f"{each['state']}, {describe.time_left(each['secondsLeft'])} left"
        if each["secondsLeft"]
        else each["state"]
    )
    rows = [
        ("Hold", each["id"]),
        ("State", state),
        ("Who", describe.who(each)),
        ("Session", describe.plain(each["sessionId"])),
        ("What", describe.what(each)),
        ("On", "\n".join(describe.resources(each, 1000))),
        *((f"  {name}", value) for name, value in describe.parameters(each, 100)),
        ("Why", describe.why(each)),
        ("Rules", ", ".join(terms["rule"] for terms in each["terms"])),
        ("Needs", describe.still_needed(each)),
        *(("Approved by", describe.approval(given)) for given in each["approvals"]),
        ("Last change", describe.last_change(each)),
        ("Opened", each["openedAt"]),
        ("Deadline", each["deadline"]),
        ("Attempts", f"{each['attemptsWaiting']} waiting"),
        ("Used by", each["usedBy"] or ""),
    ]
    for name, value in rows:
        if value:
            table.add_row(Text(name), Text(value))
    return table
