"""Export in batches, from a sequence number on; a follower keeps its place in a file."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callgate.ledger.errors import LedgerError
from callgate.ledger.export.cloudtrail import cloudtrail
from callgate.ledger.export.ended import Ended, ended_calls
from callgate.ledger.export.ocsf import ocsf
from callgate.ledger.export.rows import csv_header, csv_row
from callgate.ledger.export.sinks import Frame, Sink
from callgate.ledger.store import is_still, open_for_reading

_BATCH = 5000
_PAUSE = 1.0


Lines = Callable[[sqlite3.Connection, int, int], Iterator[str]]
"""What the entries from one sequence number to another (both included) become."""


@dataclass(frozen=True, slots=True)
class Format:
    """A form of export: how its document is framed, and the lines that a range of entries becomes."""

    frame: Frame
    lines: Lines


def _json_of(shape: Callable[[Ended], dict[str, Any]], end: str) -> Lines:
    def lines(database: sqlite3.Connection, first: int, last: int) -> Iterator[str]:
        for call in ended_calls(database, first, last):
            yield json.dumps(shape(call), ensure_ascii=False, separators=(",", ":")) + end

    return lines


def _csv_lines(database: sqlite3.Connection, first: int, last: int) -> Iterator[str]:
    return (csv_row(call) for call in ended_calls(database, first, last))


def _entry_lines(database: sqlite3.Connection, first: int, last: int) -> Iterator[str]:
    rows = database.execute("SELECT entry FROM entries WHERE seq BETWEEN ? AND ? ORDER BY seq", (first, last))
    return (f"{text}\n" for (text,) in rows)


FORMATS: Mapping[str, Format] = {
    "jsonl": Format(Frame(".jsonl"), _entry_lines),
    "ocsf": Format(Frame(".ocsf.jsonl"), _json_of(ocsf, "\n")),
    "cloudtrail": Format(Frame(".cloudtrail.json", '{"Records":[', ",\n", "]}\n"), _json_of(cloudtrail, "")),
    "csv": Format(Frame(".csv", before=csv_header()), _csv_lines),
}
"""`jsonl` are the entries themselves, byte for byte as they were hashed; the others have an item a call."""


class Place:
    """Where a follower goes on: the next sequence number, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> int | None:
        """The next sequence number; None at the first run. Raises LedgerError."""
        try:
            return int(self._path.read_text())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise LedgerError(f"{self._path} does not say where to go on: {error}") from None

    def write(self, seq: int) -> None:
        """Go on at `seq` the next time."""
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text(f"{seq}\n")
        os.replace(partial, self._path)


def export(
    database: sqlite3.Connection,
    form: Format,
    sink: Sink,
    *,
    start: int = 0,
    place: Place | None = None,
    stop: threading.Event | None = None,
    progress: Callable[[int, int], None] = lambda done, size: None,
) -> int:
    """Write what the entries from `start` on became to `sink`; returns the next sequence number.

    With `place` its number wins over `start`, and moves on after each batch. With `stop` the export follows
    the log until that event is set.
    """
    seq = start
    if place is not None and (kept := place.read()) is not None:
        seq = kept
    while True:
        (newest,) = database.execute("SELECT max(seq) FROM entries").fetchone()
        while newest is not None and seq <= newest:
            last = min(seq + _BATCH - 1, newest)
            sink.put(seq, last, list(form.lines(database, seq, last)))
            seq = last + 1
            if place is not None:
                place.write(seq)
            progress(seq, newest + 1)
        if stop is None or stop.wait(_PAUSE):
            return seq


def follow(
    path: Path,
    form: Format,
    sink: Sink,
    *,
    start: int,
    place: Place | None,
    stop: threading.Event,
    progress: Callable[[int, int], None],
) -> None:
    """As `export`, of the file at `path`, until `stop` is set; a gateway may start on it at any time."""
    seq = start
    while not stop.is_set():
        still = is_still(path)
        with contextlib.closing(open_for_reading(path)) as database:
            seq = export(
                database,
                form,
                sink,
                start=seq,
                place=place,
                stop=None if still else stop,
                progress=progress,
            )
        while is_still(path) and not stop.wait(_PAUSE):
            pass
