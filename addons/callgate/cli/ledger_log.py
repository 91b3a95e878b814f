"""callgate log: the calls, one of them, or all of them in numbers."""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.json import JSON
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from callgate.cli.common import config_option, console, fail, json_option, load_config
from callgate.cli.ledger_common import (
    LARGEST,
    ledger_option,
    ledger_path,
    progress_bar,
    since_option,
    until_option,
)
from callgate.ledger import Ledger, LedgerError, Signer
from callgate.ledger.search import Filter
from callgate.ledger.stats import QUESTIONS, ask
from callgate.ledger.store import is_still, open_for_reading

_VERDICTS = {
    "allowed": ("✔", "green"),
    "approved": ("✔", "cyan"),
    "held": ("…", "yellow"),
    "denied": ("✘", "red"),
}
_POLL = 0.5


@contextlib.contextmanager
def reading(config: Path, ledger: Path | None) -> Iterator[sqlite3.Connection]:
    """The ledger, open to read; ends the command with status 2 if it cannot be read."""
    try:
        with contextlib.closing(open_for_reading(ledger_path(config, ledger))) as database:
            database.row_factory = sqlite3.Row
            yield database
    except LedgerError as error:
        fail(error)
    except sqlite3.Error as error:
        fail(f"the ledger cannot be read: {error}")


def _place(command: Callable[..., None]) -> Callable[..., None]:
    """`--config` and `--ledger` after the subcommand too; what stands before it counts otherwise."""

    @functools.wraps(command)
    def run(*arguments: Any, config: Path | None, ledger: Path | None, **options: Any) -> None:
        before: tuple[Path, Path | None] = click.get_current_context().obj
        where = (config or before[0], ledger or (None if config else before[1]))
        command(where, *arguments, **options)

    for option in ("config", "ledger"):
        run = click.option(f"--{option}", type=click.Path(path_type=Path), hidden=True)(run)
    return run


@click.group(invoke_without_command=True)
@config_option
@ledger_option
@click.option("--principal", metavar="GLOB", help="Who called, as in 'github:acme/infra:*'.")
@click.option("--operation", metavar="GLOB", help="What was called: s3:DeleteObject, or 'Delete*'.")
@click.option("--resource", metavar="GLOB", help="An ARN that the call touches.")
@click.option("--verdict", type=click.Choice(list(_VERDICTS)), help="What was decided.")
@click.option("--session", metavar="ID", help="One session.")
@click.option("--run", metavar="ID", help="One CI run: the run_id or pipeline_id of its token.")
@click.option("--search", metavar="TEXT", help="A piece of the request parameters.")
@since_option
@until_option
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest so many."
)
@click.option("-f", "--follow", is_flag=True, help="Go on as calls end, until interrupted.")
@json_option
def log(
    config: Path,
    ledger: Path | None,
    limit: int,
    follow: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Show the calls, newest last.

    \b
    callgate log --since 2h --verdict denied
    callgate log --principal 'github:acme/infra:*' --operation 'Delete*' --follow
    callgate log --resource arn:aws:s3:::prod/key
    """
    ctx = click.get_current_context()
    ctx.obj = (config, ledger)
    if ctx.invoked_subcommand is not None:
        return
    out = console()
    show = _print_json if as_json else _line_printer(out)
    chosen = Filter(**filters)
    with reading(config, ledger) as database:
        seen = _last_entry(database)
        with progress_bar("Searching") as progress:
            found = chosen.newest(database, limit, progress)
        for row in reversed(found):
            show(row)
        if not found and not follow and not as_json:
            out.print("No call matches.", style="dim")
    if follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(config, ledger, chosen, seen, show)


def _follow(
    config: Path, ledger: Path | None, chosen: Filter, seen: int, show: Callable[[sqlite3.Row], None]
) -> None:
    """Show what ends after entry `seen`, until interrupted."""
    condition, values = chosen.where()
    ended = "callId IN (SELECT subject FROM entries WHERE seq > ? AND seq <= ? AND step = 'end')"
    while is_still(ledger_path(config, ledger)):
        time.sleep(_POLL)
    with reading(config, ledger) as database:
        while True:
            now = _last_entry(database)
            for row in database.execute(
                f"SELECT * FROM calls WHERE {condition} AND {ended} ORDER BY seq", (*values, seen, now)
            ):
                show(row)
            seen = now
            time.sleep(_POLL)


def _last_entry(database: sqlite3.Connection) -> int:
    found: int = database.execute("SELECT coalesce(max(seq), -1) FROM entries").fetchone()[0]
    return found


def _print_json(row: sqlite3.Row) -> None:
    click.echo(json.dumps(plain(row), ensure_ascii=False))


def plain(row: sqlite3.Row) -> dict[str, Any]:
    """A row of the view `calls`, with the JSON in its columns parsed."""
    parsed = {"claims", "requestParameters", "resources", "rules", "masks", "masked"}
    values = zip(row.keys(), tuple(row), strict=True)
    return {key: json.loads(value) if key in parsed and value is not None else value for key, value in values}


def _line_printer(out: Console) -> Callable[[sqlite3.Row], None]:
    def show(row: sqlite3.Row) -> None:
        mark, colour = _VERDICTS.get(row["verdict"], ("?", "dim"))
        when = row["eventTime"][:19].replace("T", " ")
        cells = [
            Text(when if out.width >= 100 or not out.is_terminal else when[11:], "dim"),
            Text(mark, f"bold {colour}"),
            Text(row["principalId"] or "unknown"),
            Text(row["operation"] or row["host"] or "", "bold"),
            Text(row["resource"] or "", "dim"),
            _ending(row, colour),
        ]
        if not out.is_terminal:
            out.print(Text("  ").join(cells), soft_wrap=True)
            return
        table = Table.grid(padding=(0, 2), expand=True)
        for cell, ratio in zip(cells, (None, None, 4, 3, 5, 3), strict=True):
            width = None if ratio else cell.cell_len
            table.add_column(width=width, ratio=ratio, no_wrap=True, overflow="ellipsis")
        table.add_row(*cells)
        out.print(table)

    return show


def _ending(row: sqlite3.Row, colour: str) -> Text:
    if row["verdict"] in ("denied", "held"):
        return Text(row["reason"] or row["verdict"], colour)
    if row["result"] is None:
        return Text("running", "yellow")
    failed = row["errorCode"] or (row["reason"] if row["result"] != "completed" else None)
    parts = [str(row["statusCode"] or row["result"])]
    parts += [failed] if failed else []
    parts += [f"{row['durationMs']:.0f} ms"] if row["durationMs"] is not None else []
    return Text(" ".join(parts), "red" if failed else "")


@log.command()
@click.argument("call")
@json_option
@_place
def show(where: tuple[Path, Path | None], call: str, as_json: bool) -> None:
    """Show all that the log says of one CALL: its id, or the number of an entry.

    \b
    callgate log show cg-3f9a1c20be5566778899aabb
    callgate log show 4711 --json
    """
    with reading(*where) as database:
        if call.isdecimal() and int(call) <= LARGEST:
            entry = database.execute(
                "SELECT subject, entry FROM entries WHERE seq = ?", (int(call),)
            ).fetchone()
            if entry is None:
                fail(f"there is no entry {call}", 1)
            row = database.execute("SELECT * FROM calls WHERE callId = ?", (entry["subject"],)).fetchone()
        else:
            entry = None
            row = database.execute("SELECT * FROM calls WHERE callId = ?", (call,)).fetchone()
            if row is None:
                fail(f"there is no call {call}", 1)
        if row is None or as_json:
            text = entry["entry"] if row is None else json.dumps(plain(row), ensure_ascii=False)
            click.echo(text) if as_json else console().print(JSON(text))
            return
        history = database.execute(
            "SELECT seq, time, kind FROM entries WHERE subject IN (?, ?) ORDER BY seq",
            (row["callId"], row["holdId"]),
        ).fetchall()
        signed = database.execute(
            "SELECT min(size) FROM checkpoints WHERE size > ?", (row["seq"],)
        ).fetchone()[0]
        console().print(_card(row, history, signed))


def _card(row: sqlite3.Row, history: list[sqlite3.Row], signed: int | None) -> RenderableType:
    mark, colour = _VERDICTS.get(row["verdict"], ("?", "dim"))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in (
        ("who", row["principalId"]),
        ("session", row["sessionId"]),
        ("key", " ".join(filter(None, (row["accessKeyId"], row["accountId"])))),
        ("from", row["sourceIPAddress"]),
        ("with", row["userAgent"]),
        ("to", " ".join(filter(None, (row["host"], row["awsRegion"])))),
        ("rules", ", ".join(json.loads(row["rules"] or "[]"))),
        ("why", " – ".join(filter(None, (row["reason"], row["message"])))),
        ("hold", row["holdId"]),
        ("masked", ", ".join(json.loads(row["masked"] or "[]"))),
        ("AWS request", row["requestID"]),
        ("checkpoint", f"over {signed:,} entries" if signed else "not signed yet"),
    ):
        if value:
            facts.add_row(label, str(value))
    for index, resource in enumerate(json.loads(row["resources"] or "[]")):
        facts.add_row("touches" if index == 0 else "", f"{resource['ARN']} [dim]({resource['action']})[/]")
    events = Table.grid(padding=(0, 2))
    for event in history:
        events.add_row(Text(f"{event['seq']}", "dim"), Text(event["time"], "dim"), event["kind"])
    title = Text.assemble(
        (f"{mark} ", f"bold {colour}"), (row["operation"] or "call", "bold"), "  ", _ending(row, colour)
    )
    parts: list[RenderableType] = [facts]
    if row["requestParameters"] not in (None, "{}"):
        parts += ["", JSON(row["requestParameters"])]
    return Panel(
        Group(*parts, "", events),
        title=title,
        title_align="left",
        subtitle=row["callId"],
        border_style=colour,
    )


@log.command()
@since_option
@until_option
@json_option
@_place
def stats(where: tuple[Path, Path | None], since: str | None, until: str | None, as_json: bool) -> None:
    """Show who does what, what was denied, held and masked, and which access keys are shared.

    \b
    callgate log stats --since 7d
    """
    with reading(*where) as database:
        database.row_factory = None
        names = list(QUESTIONS)
        found = ask(database, names, since=since or "", until=until or "9999")
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    out = console()
    if not found["verdicts"]:
        out.print("No call in this period.", style="dim")
        return
    out.print(_verdicts(found["verdicts"]))
    for title, name, columns in _SECTIONS:
        if rows := found[name]:
            out.print()
            out.print(_bars(title, rows, columns, 24 if out.width >= 100 else 12))


_SECTIONS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    ("Who calls", "principals", (("principalId", "principal"), ("denied", "denied"), ("held", "held"))),
    (
        "What is called",
        "operations",
        (("operation", "operation"), ("principals", "principals"), ("denied", "denied")),
    ),
    ("Who does what", "who_does_what", (("principalId", "principal"), ("operation", "operation"))),
    ("Denied", "denials", (("principalId", "principal"), ("operation", "operation"), ("reason", "reason"))),
    ("Masked", "masked", (("principalId", "principal"), ("operation", "operation"))),
    ("Approvals", "approvals", (("person", "person"), ("verdict", "verdict"))),
    (
        "Access keys that several principals use",
        "shared_keys",
        (("accessKeyId", "key"), ("who", "principals")),
    ),
)


def _verdicts(rows: list[dict[str, Any]]) -> RenderableType:
    cards = []
    for row in rows:
        mark, colour = _VERDICTS.get(row["verdict"], ("?", "dim"))
        cards.append(
            Text.assemble((f"{mark} ", f"bold {colour}"), (f"{row['calls']:,}", "bold"), f" {row['verdict']}")
        )
    return Columns(cards, padding=(0, 4))


def _bars(title: str, rows: list[dict[str, Any]], columns: tuple[tuple[str, str], ...], width: int) -> Table:
    counted = "calls" if "calls" in rows[0] else "holds"
    largest = max(row[counted] for row in rows)
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for name, label in columns:
        numeric = isinstance(rows[0][name], int)
        table.add_column(label, justify="right" if numeric else "left", overflow="fold", header_style="dim")
    table.add_column(counted, justify="right", header_style="dim")
    table.add_column("", width=width)
    for row in rows:
        cells = [
            f"{row[name]:,}" if isinstance(row[name], int) else (row[name] or "unknown")
            for name, _ in columns
        ]
        table.add_row(*cells, f"{row[counted]:,}", Text(_bar(row[counted] / largest, width), "cyan"))
    return table


def _bar(share: float, width: int) -> str:
    eighths = max(1, round(share * width * 8))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


@log.command("accept-gap")
@click.option("--reason", required=True, help="Why the newer entries are lost; it is written into the log.")
@_place
def accept_gap(where: tuple[Path, Path | None], reason: str) -> None:
    """Go on with a log that is older than its last checkpoint, as after restoring a backup.

    The gateway refuses to start on such a log. This declares the gap: an entry `ledger.gap` with your reason
    and the checkpoint that is given up, signed like any other. The gateway must not be running.

    \b
    callgate log accept-gap --reason 'disk failed; restored from the backup of 3 May'
    """
    import asyncio

    config = load_config(where[0])
    try:
        signer = Signer.load(config.state / "keys" / "ledger.key")
        ledger = Ledger.open(config.state, signer=signer, origin=config.ledger.origin, accept_gap=reason)
    except LedgerError as error:
        fail(error)
    asyncio.run(ledger.close())
    console().print(Text.assemble(("✔ ", "bold green"), "the gap is declared; the gateway can start"))
