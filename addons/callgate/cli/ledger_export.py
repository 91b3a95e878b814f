"""callgate export and callgate report: the log for machines, and a page for people."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
from rich.text import Text

from callgate.cli.common import config_option, console, fail
from callgate.cli.ledger_common import (
    ENTRY,
    as_moment,
    ledger_option,
    ledger_path,
    progress_bar,
    until_option,
)
from callgate.ledger import LedgerError
from callgate.ledger.entries import timestamp
from callgate.ledger.export import FORMATS, Place
from callgate.ledger.export import export as export_log
from callgate.ledger.export import follow as follow_log
from callgate.ledger.export.sinks import FolderSink, Frame, S3Sink, Sink, StreamSink
from callgate.ledger.report import report as make_report
from callgate.ledger.store import open_for_reading


@click.command()
@config_option
@ledger_option
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="jsonl",
    show_default=True,
    help="What to write.",
)
@click.option(
    "--out",
    default="-",
    metavar="FILE|FOLDER|s3://BUCKET/PREFIX",
    help="Where to; standard output without it. In a folder or in S3 each batch is a gzipped file.",
)
@click.option("--from", "start", type=ENTRY, default=0, help="The first entry, by its sequence number.")
@click.option("--follow", is_flag=True, help="Go on as the log grows, until interrupted.")
@click.option(
    "--place",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that keeps the place across runs: the next run goes on where this one ended.",
)
def export(
    config: Path, ledger: Path | None, form: str, out: str, start: int, follow: bool, place: Path | None
) -> None:
    """Write the log in a form that other systems read.

    \b
    jsonl       the entries themselves, byte for byte as they were hashed
    ocsf        OCSF 1.9 API Activity (class 6003), one event a line
    cloudtrail  CloudTrail's log files: {"Records": [...]}
    csv         one row a call, with the names of the view `calls`

    Events come in the order in which calls ended. After a crash one may come twice; its id is then the same.

    \b
    callgate export --format ocsf --out events.jsonl
    callgate export --format cloudtrail --out s3://audit/callgate --follow --place /var/lib/callgate/exported
    """
    chosen = FORMATS[form]
    grows = out == "-" or not (out.startswith("s3://") or out.endswith("/") or Path(out).is_dir())
    if chosen.frame.after and grows and (follow or place):
        fail(f"--format {form} is a whole document: follow it into a folder or to S3")
    stop = threading.Event() if follow else None
    if stop is not None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
    keeper = Place(place) if place else None
    try:
        path = ledger_path(config, ledger)
        with (
            contextlib.closing(open_for_reading(path)) as database,
            _sink(out, chosen.frame, fresh=not (keeper and keeper.read() is not None)) as sink,
            progress_bar("Exporting") as progress,
        ):
            if stop is None:
                export_log(database, chosen, sink, start=start, place=keeper, progress=progress)
            else:
                follow_log(path, chosen, sink, start=start, place=keeper, stop=stop, progress=progress)
    except LedgerError as error:
        fail(error)
    except sqlite3.Error as error:
        fail(f"the ledger cannot be read: {error}")
    except BrokenPipeError:
        # The reader has what it wanted (`| head`).
        sys.stderr.close()
    except OSError as error:
        fail(f"{out}: {error.strerror}")


@contextlib.contextmanager
def _sink(out: str, frame: Frame, *, fresh: bool) -> Iterator[Sink]:
    if out == "-":
        sink: Sink = StreamSink(sys.stdout.buffer, frame, fresh=fresh)
        yield sink
        sink.close()
    elif out.startswith("s3://"):
        yield _s3_sink(out, frame)
    elif out.endswith("/") or Path(out).is_dir():
        Path(out).mkdir(parents=True, exist_ok=True)
        yield FolderSink(Path(out), frame)
    else:
        with open(out, "wb" if fresh else "ab") as file:
            sink = StreamSink(file, frame, fresh=fresh)
            yield sink
            sink.close()


def _s3_sink(out: str, frame: Frame) -> Sink:
    import boto3  # it takes half a second to load
    from botocore.exceptions import BotoCoreError

    bucket, _, prefix = out.removeprefix("s3://").partition("/")
    try:
        return S3Sink(boto3.client("s3"), bucket, prefix, frame)
    except (BotoCoreError, ValueError) as error:
        fail(f"{out}: {error}")


@click.command()
@config_option
@ledger_option
@click.option(
    "--since", callback=as_moment, default="7d", show_default=True, metavar="WHEN", help="From then on."
)
@until_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="callgate-report.html",
    show_default=True,
)
def report(config: Path, ledger: Path | None, since: str, until: str | None, out: Path) -> None:
    """Write one HTML page about a period: who called what, approvals, denials, new identities, shared keys.

    The page needs nothing else, in light and dark and on paper.

    \b
    callgate report --since 30d --out november.html
    """
    now = timestamp(time.time())
    try:
        with contextlib.closing(open_for_reading(ledger_path(config, ledger))) as database:
            page = make_report(database, since=since, until=until or now, made=now)
        out.write_text(page, encoding="utf-8")
    except (LedgerError, sqlite3.Error) as error:
        fail(error)
    except OSError as error:
        fail(f"{out}: {error.strerror}")
    console().print(Text.assemble(("✔ ", "bold green"), str(out)))
