"""A copy of the log that verifies by itself, made while the gateway writes."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from callgate.ledger import schema
from callgate.ledger.errors import LedgerError
from callgate.ledger.keepers import write_checkpoint_file
from callgate.ledger.opening import CHECKPOINT
from callgate.ledger.store import NAME, is_locked, open_for_reading

_POLL = 0.25
_KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Backup:
    """What was copied: the number of entries, the files, and the keys (paths) that were left out."""

    size: int
    files: tuple[Path, ...]
    left_out: tuple[Path, ...]


def back_up(state: Path, target: Path, *, waiting: Callable[[int], None] = lambda size: None) -> Backup:
    """Copy the log in `state` to the folder `target`, with its public key and its newest checkpoint.

    The copy holds all entries that were there when this was called, and ends at a checkpoint: where a gateway
    is writing, its next one is waited for (`waiting` is told the size that it has to cover).
    Raises LedgerError, also if `target` holds a ledger already.
    """
    copy = target / NAME
    if copy.exists():
        raise LedgerError(f"{copy} exists already; back up to a folder of its own")
    try:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        note = _copy_log(state / NAME, copy, waiting)
        files = [copy]
        if note is not None:
            write_checkpoint_file(target / CHECKPOINT, note)
            files.append(target / CHECKPOINT)
        if (public := state / _KEYS / "ledger.pub").exists():
            (target / _KEYS).mkdir(exist_ok=True)
            files.append(Path(shutil.copy(public, target / _KEYS)))
        with contextlib.closing(open_for_reading(copy)) as database:
            (size,) = database.execute("SELECT coalesce(max(seq) + 1, 0) FROM entries").fetchone()
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the backup to {target} failed: {error}") from None
    return Backup(size, tuple(files), _private_keys(state))


def _copy_log(source: Path, copy: Path, waiting: Callable[[int], None]) -> str | None:
    """Returns the newest checkpoint in the copy."""
    with contextlib.closing(open_for_reading(source)) as database:
        (size,) = database.execute("SELECT coalesce(max(seq) + 1, 0) FROM entries").fetchone()
        signed = _signed_size(database)
        if signed < size:
            waiting(size)
        while signed < size and is_locked(source.parent):
            time.sleep(_POLL)
            signed = _signed_size(database)
        partial = copy.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
        with contextlib.closing(sqlite3.connect(partial, isolation_level=None)) as target:
            database.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
            if (end := _signed_size(target)) >= size:
                _cut(target, end)
            note = target.execute("SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1").fetchone()
        os.replace(partial, copy)
    return note[0] if note else None


def _signed_size(database: sqlite3.Connection) -> int:
    found: int = database.execute("SELECT coalesce(max(size), 0) FROM checkpoints").fetchone()[0]
    return found


def _cut(database: sqlite3.Connection, size: int) -> None:
    """Take away the entries after the last checkpoint, which came after the backup was asked for."""
    with schema.unguarded(database):
        database.execute("DELETE FROM entries WHERE seq >= ?", (size,))


def _private_keys(state: Path) -> tuple[Path, ...]:
    """Keys in the state folder: left out, so that a backup gives nobody the power to sign or unmask."""
    names = ("*.key", "*.pem", "*.p12")
    found = [path for name in names for path in state.rglob(name) if path.is_file()]
    return tuple(sorted(path for path in found if not path.name.endswith("cert.pem")))
