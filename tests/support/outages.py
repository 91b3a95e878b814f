"""Ways in which the ledger's file can fail under a writer, each ended by leaving it."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


@contextmanager
def disk_full(state: Path, pid: int = 0) -> Iterator[None]:
    """The process (0: this one) may not let a file grow further than a little over the write-ahead log."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = (state / "ledger.db-wal").stat().st_size + 10_000
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def locked(state: Path, pid: int = 0) -> Iterator[None]:
    """Another process is in a transaction of its own."""
    with closing(sqlite3.connect(state / "ledger.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


@contextmanager
def marked_read_only(state: Path, pid: int = 0) -> Iterator[None]:
    (state / "ledger.db").chmod(0o400)
    yield
    (state / "ledger.db").chmod(0o600)


@contextmanager
def moved_away(state: Path, pid: int = 0) -> Iterator[None]:
    (state / "ledger.db").rename(state / "elsewhere.db")
    yield
    (state / "elsewhere.db").rename(state / "ledger.db")


@contextmanager
def deleted_and_restored_from_what_was_saved(state: Path, pid: int = 0) -> Iterator[None]:
    (state / "ledger.db").unlink()
    yield
    os.rename(state / "ledger.rescued.db", state / "ledger.db")


@contextmanager
def replaced_by_another_file(state: Path, pid: int = 0) -> Iterator[None]:
    (state / "ledger.db").rename(state / "elsewhere.db")
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        db.execute("CREATE TABLE entries (seq, entry, leaf)")
    yield
    (state / "elsewhere.db").rename(state / "ledger.db")


OUTAGES = [
    (disk_full, "full|disk I/O"),
    (locked, "locked"),
    (marked_read_only, "read-only"),
    (moved_away, "is gone"),
    (deleted_and_restored_from_what_was_saved, "ledger.rescued.db"),
    (replaced_by_another_file, "replaced"),
]
"""Each with what the reason given for refusals says (one of several)."""
