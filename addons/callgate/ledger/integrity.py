"""The file beneath the entries: are its pages sound, and does every index say what the entries say?

An index that was changed could hide an entry from people. SQLite's `integrity_check` would find it, on one
core; here its quick check of the pages runs beside a comparison of indexes and entries, in parts, on all
cores. Large files are checked in processes: SQLite's threads wait for each other's memory allocations.
"""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from callgate.ledger import schema
from callgate.ledger.diagnose import Finding
from callgate.ledger.errors import LedgerError
from callgate.ledger.store import open_for_reading

# SQLite quotes what it read in its messages, and what it read need not be text.
BROKEN = (sqlite3.DatabaseError, UnicodeDecodeError)

_OUT_OF_REACH = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
    )
)
# Entries that one part compares, unless that makes very many parts.
_PART, _MANY = 50_000, 100
# With no more parts than this, starting processes takes longer than they save.
_FEW = 4
_MAP = 1 << 40
# Numbers beyond are nobody's entries; parts end there, and what follows is checked in one.
_FAR = 1 << 62


@dataclass(slots=True)
class _Part:
    """What one part found, and the balance of each index: entries that belong in it, less those that are."""

    findings: list[Finding] = field(default_factory=list)
    balance: Counter[str] = field(default_factory=Counter)


_Check = Callable[[sqlite3.Connection], _Part]


class Integrity:
    """The check of `paths`, under way beside the caller until the context is left."""

    def __init__(self, paths: Sequence[Path]) -> None:
        checks = [(path, _checks(path)) for path in paths]
        few = max(len(parts) for _, parts in checks) <= _FEW
        self._workers = _threads() if few else _processes()
        run = functools.partial(_run, mapped=not few)
        self._files = [[self._workers.submit(run, path, part) for part in parts] for path, parts in checks]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._workers.shutdown(cancel_futures=True)

    def findings(self) -> list[Finding]:
        """What is wrong, when all is checked. Raises LedgerError if it could not be."""
        try:
            return [finding for parts in self._files for finding in _sum(part.result() for part in parts)]
        except BrokenExecutor as error:
            raise LedgerError(f"the indexes could not be checked: {error}") from None


def _threads() -> Executor:
    return ThreadPoolExecutor(os.cpu_count())


def _processes() -> Executor:
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(os.cpu_count(), spawn, _ignore_interrupts)


def _ignore_interrupts() -> None:
    # The terminal sends an interrupt to all; the caller's ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def open_raw(path: Path) -> sqlite3.Connection:
    """As `open_for_reading`, for a file that may hold anything: text comes as bytes."""
    database = open_for_reading(path)
    database.text_factory = bytes
    return database


def check_reach(error: Exception) -> None:
    """Raises LedgerError if `error` says nothing of the file, only that it cannot be read now."""
    if (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _OUT_OF_REACH:
        raise LedgerError(f"the ledger cannot be read: {error}") from None


def _checks(path: Path) -> list[_Check]:
    """The parts of the check of one file. The costly ones first, so that all cores end together."""
    try:
        with contextlib.closing(open_raw(path)) as database:
            if schema.differences(database):
                return [_pages]
            # Asked for one by one, they take no walk through an index.
            ends = "SELECT (SELECT min(seq) FROM entries), (SELECT max(seq) FROM entries)"
            first, last = database.execute(ends).fetchone()
    except BROKEN:
        return [_pages]
    if first is None:
        return [_pages, functools.partial(_rest, start=0)]
    first, end = max(first, -_FAR), min(last + 1, _FAR)
    step = max(_PART, (end - first) // _MANY)
    ranges = [(start, min(start + step, end) - 1) for start in range(first, end, step)]
    parts = [functools.partial(_compare, first=start, last=last) for start, last in ranges]
    return [_pages, *parts, functools.partial(_rest, start=end)]


def _run(path: Path, check: _Check, *, mapped: bool) -> _Part:
    """`mapped`: read through a memory map, which is faster, and ends the process where the disk fails."""
    try:
        with contextlib.closing(open_raw(path)) as database:
            database.execute("PRAGMA cache_size = -65536")
            database.execute(f"PRAGMA mmap_size = {_MAP if mapped else 0}")
            return check(database)
    except BROKEN as error:
        check_reach(error)
        return _Part([_damaged(None, str(error))])


def _pages(database: sqlite3.Connection) -> _Part:
    lines = [line.decode(errors="replace") for (line,) in database.execute("PRAGMA quick_check(3)")]
    return _Part([_damaged(None, line) for line in lines if line != "ok"])


def _compare(database: sqlite3.Connection, first: int, last: int) -> _Part:
    """Is each of the entries `first` to `last` where it belongs in each index?"""
    indexes = schema.indexes(database)
    found = database.execute(_comparison(indexes), (first, last)).fetchone()
    part = _Part()
    for index, held, lost in zip(indexes, found[::2], found[1::2], strict=True):
        part.balance[index.name] = held
        if lost is not None:
            part.findings.append(
                _damaged(lost, f"the index {index.name} does not say what entry {lost} says")
            )
    return part


def _rest(database: sqlite3.Connection, start: int) -> _Part:
    """What a gateway wrote meanwhile, from `start` on, and how many entries each index holds then."""
    database.execute("BEGIN")
    (last,) = database.execute("SELECT max(seq) FROM entries").fetchone()
    part = _compare(database, start, -1 if last is None else last)
    for index in schema.indexes(database):
        size = database.execute(_size_of(index)).fetchone()[0]
        part.balance[index.name] -= size
    return part


def _sum(parts: Iterable[_Part]) -> list[Finding]:
    findings, balance = [], Counter[str]()
    for part in parts:
        findings += part.findings
        balance.update(part.balance)
    if not findings:
        findings += [
            _damaged(None, f"the index {name} lists {-more} that the log does not have")
            for name, more in balance.items()
            if more
        ]
    return sorted(findings, key=lambda finding: finding.seq is None)


def _damaged(seq: int | None, text: str) -> Finding:
    return Finding("damaged", seq, f"the file: {text}")


def _comparison(indexes: Iterable[schema.Index]) -> str:
    lookups = ", ".join(map(_lookup, indexes))
    return f"SELECT {lookups} FROM entries AS e NOT INDEXED WHERE e.seq BETWEEN ? AND ?"


def _lookup(index: schema.Index) -> str:
    """Counts the entries that belong in an index, and finds the first that cannot be looked up there."""
    where = index.where or "1"
    same = " AND ".join(f"i.{column} IS e.{column}" for column in index.columns)
    return f"""count(*) FILTER (WHERE {where}), min(CASE WHEN {where} AND NOT EXISTS (
  SELECT 1 FROM entries AS i INDEXED BY {index.name} WHERE {where} AND {same} AND i.seq = e.seq)
  THEN e.seq END)"""


def _size_of(index: schema.Index) -> str:
    # Each column of each of its rows is read, so that none is malformed.
    read = ", ".join(f"max(length({column}))" for column in (*index.columns, "seq"))
    return f"SELECT count(*), {read} FROM entries INDEXED BY {index.name} WHERE {index.where or 1}"
