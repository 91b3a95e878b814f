"""Retention: the oldest entries move to a file of their own, and the log says so; together they verify."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from callgate.journal import Record
from callgate.ledger import schema
from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.entries import Draft
from callgate.ledger.errors import LedgerError
from callgate.ledger.group import Append, write_group
from callgate.ledger.keepers import write_checkpoint_file
from callgate.ledger.opening import CHECKPOINT, open_log
from callgate.ledger.signer import NoteError, Signer
from callgate.ledger.store import NAME, FolderLock, Store, Unavailable, open_for_reading

_KEY = Path("keys", "ledger.key")

# What is still open must stay: a hold or a session is its entries.
_OPEN = """
SELECT min(opened.seq) FROM entries AS opened
WHERE opened.kind IN ('session.opened', 'hold.opened', 'grant.given', 'call.intent') AND opened.seq < :size
  AND EXISTS (SELECT 1 FROM entries AS later WHERE later.subject = opened.subject AND later.seq >= :size)
"""


@dataclass(frozen=True, slots=True)
class Archived:
    """Entries `first` to `last` that moved."""

    first: int
    last: int


def archive(state: Path, target: Path, before: str, *, clock: Callable[[], float] = time.time) -> Archived:
    """Move the entries before the time `before` (RFC 3339) from the log in `state` to the new file `target`.

    The cut is at the newest checkpoint that covers none of later time. A signed entry `ledger.archived`
    declares it, without which a log that begins later is one whose beginning was taken away. The gateway
    must not be running. Raises LedgerError.
    """
    if target.exists():
        raise LedgerError(f"{target} exists already")
    lock = FolderLock(state)
    try:
        with contextlib.closing(open_for_reading(state / NAME)) as database:
            first, size = _range(database, before)
        _copy(state / NAME, target, size)
        _declare(state, Record("ledger.archived", {"first": first, "size": size, "file": target.name}), clock)
        with contextlib.closing(sqlite3.connect(state / NAME, isolation_level=None)) as database:
            # From here on both files hold the entries; only now do they leave the first.
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            with schema.unguarded(database):
                database.execute("DELETE FROM entries WHERE seq < ?", (size,))
                database.execute("DELETE FROM checkpoints WHERE size < ?", (size,))
            database.execute("COMMIT")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
    except (OSError, sqlite3.Error, NoteError, Unavailable) as error:
        raise LedgerError(f"the archive {target} cannot be made: {error}") from None
    finally:
        lock.release()
    return Archived(first, size - 1)


def _declare(state: Path, record: Record, clock: Callable[[], float]) -> None:
    """Append what has to be said, sign it, and keep the checkpoint beside the log as a gateway would."""
    signer = Signer.load(state / _KEY)
    store = Store(state / NAME)
    try:
        if (last := store.last_checkpoint()) is None:
            raise LedgerError(f"the ledger in {state} has no checkpoint")
        origin = Checkpoint.verified(last[0], signer.trusted).origin
        opened = open_log(store, signer, origin, None)
        appends = [Append((Draft.of(each),)) for each in (*opened.records, record)]
        with store.transaction():
            tree, _ = write_group(store, opened.frontier, appends, max(clock(), opened.last_time))
            checkpoint = Checkpoint.sign(signer, origin, tree.size, tree.root())
            store.insert_checkpoint(checkpoint, tree)
    finally:
        store.close()
    write_checkpoint_file(state / CHECKPOINT, checkpoint.note)


def _range(database: sqlite3.Connection, before: str) -> tuple[int, int]:
    first, newest = database.execute("SELECT min(seq), max(seq) FROM entries").fetchone()
    later = database.execute("SELECT min(seq) FROM entries WHERE time >= ?", (before,)).fetchone()[0]
    limit = newest if later is None else later
    while True:
        row = database.execute(
            "SELECT max(size) FROM checkpoints WHERE size <= ? AND size > ?", (limit, first or 0)
        ).fetchone()
        if newest is None or row[0] is None:
            raise LedgerError(f"no checkpoint lies wholly before {before}, so there is nothing to move")
        opened = database.execute(_OPEN, {"size": row[0]}).fetchone()[0]
        if opened is None:
            return first, row[0]
        limit = min(opened, row[0] - 1)


def _copy(source: Path, target: Path, size: int) -> None:
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
    with (
        contextlib.closing(open_for_reading(source)) as database,
        contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as copy,
    ):
        database.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        with schema.unguarded(copy):
            copy.execute("DELETE FROM entries WHERE seq >= ?", (size,))
            copy.execute("DELETE FROM checkpoints WHERE size > ?", (size,))
        copy.execute("VACUUM")
    os.replace(partial, target)
