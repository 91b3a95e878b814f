"""Getting back to a ledger file that was moved, deleted or replaced while the gateway ran."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from callgate.ledger.errors import LedgerError
from callgate.ledger.store import LAST_ROW, Row, Store, Unavailable, open_for_reading


def put_back(store: Store) -> Store:
    """The store to go on with; raises Unavailable while a person has to act.

    - The write-ahead log lost its name: its content is folded into the file, which is then opened anew.
    - Another file stands in place: it is taken if it holds the very same log.
    - The file is gone: what is still open is saved beside it, under the name that the reason gives.
    """
    path = store.path
    try:
        store.check_place()
        return store
    except Unavailable as error:
        fault = error
    if not path.exists():
        raise Unavailable(f"{fault}; {_rescue(store)}")
    if store.is_in_place():
        if not store.write_ahead_log_is_gone() or not store.fold():
            raise fault
    elif not _is_same_log(store, path):
        raise Unavailable(f"{fault}, which does not hold the same log")
    store.close()
    return Store(path)


def forget_rescued(store: Store) -> None:
    """The log is whole again: what was saved of it is of no use any more."""
    _rescued(store).unlink(missing_ok=True)


def _rescue(store: Store) -> str:
    rescued = _rescued(store)
    if not rescued.exists():
        partial = rescued.with_suffix(".partial")
        try:
            partial.unlink(missing_ok=True)
            store.copy_to(partial)
            partial.rename(rescued)
        except (OSError, sqlite3.Error) as error:
            return f"its content could not be saved: {error}"
    return f"its content is saved in {rescued}: move it back, or bring back the file"


def _rescued(store: Store) -> Path:
    return store.path.with_suffix(".rescued.db")


def _is_same_log(store: Store, path: Path) -> bool:
    try:
        with contextlib.closing(open_for_reading(path)) as connection:
            return _last(connection) == store.last_row()
    except (sqlite3.Error, LedgerError):
        return False


def _last(connection: sqlite3.Connection) -> Row | None:
    found: Row | None = connection.execute(LAST_ROW).fetchone()
    return found
