"""The ledger as the gateway uses it: an asyncio face over the writer thread."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callgate.call import Refusal
from callgate.journal import Entry, Record
from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.entries import Draft, parse_entry
from callgate.ledger.errors import LedgerError
from callgate.ledger.group import Append
from callgate.ledger.keepers import Keeper, Keeping, write_checkpoint_file
from callgate.ledger.opening import CHECKPOINT, open_log
from callgate.ledger.signer import Signer
from callgate.ledger.store import NAME, FolderLock, Store, Unavailable, open_for_reading
from callgate.ledger.writer import Signing, Writer

log = logging.getLogger("callgate.ledger")

_PATIENCE = 10.0
"""How long (seconds) an append may take before it is refused: longer than a lock is waited for, twice."""

_LAST = """SELECT max(seq), entry FROM entries
WHERE kind NOT IN ('call.intent', 'call.refused', 'call.outcome') AND kind IN ({}) AND subject IS NOT NULL
GROUP BY subject ORDER BY 1"""


@dataclass(frozen=True, slots=True)
class Health:
    """How the ledger is: whether it takes entries, why not, how much of it is signed (time: since the epoch).

    `alarms` are troubles that do not refuse calls: a checkpoint that could not be kept.
    """

    ok: bool
    reason: str | None
    size: int
    checkpoint_size: int
    checkpoint_time: float
    alarms: tuple[str, ...] = ()


class Ledger:
    """An append-only, signed log in a folder. One process writes it; `open` makes sure of that."""

    def __init__(self, path: Path, lock: FolderLock, writer: Writer, kept: _Kept) -> None:
        self._path = path
        self._lock = lock
        self._writer = writer
        self._kept = kept
        self._closed = False
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        signer: Signer,
        origin: str,
        clock: Callable[[], float] = time.time,
        checkpoint_every: float = 60.0,
        checkpoint_entries: int = 1000,
        keepers: Sequence[Keeper] = (),
        accept_gap: str | None = None,
    ) -> Ledger:
        """Open or create the log in `folder` and start its writer.

        Each checkpoint goes to all `keepers`. Calls that the last run left without an outcome get the
        outcome `unknown`. `accept_gap` is a person's reason for going on with a log that is older than its
        last checkpoint; the log then says so. Raises LedgerError, in one line, if another gateway uses the
        folder, if it cannot be written, if a newer release wrote it, if it was rolled back or does not
        match its last checkpoint.
        """
        lock = FolderLock(folder)
        store = None
        try:
            store = Store(folder / NAME)
            opened = open_log(store, signer, origin, accept_gap)
            kept = _Kept(folder / CHECKPOINT, [Keeping(keeper) for keeper in keepers])
            signing = Signing(
                sign=lambda tree: Checkpoint.sign(signer, origin, tree.size, tree.root()),
                every=checkpoint_every,
                entries=checkpoint_entries,
                announce=kept.keep,
            )
            writer = Writer(store, opened, signing=signing, clock=clock)
            writer.start(opened.records)
        except BaseException as error:
            if store is not None:
                store.close()
            lock.release()
            if isinstance(error, Unavailable):
                raise LedgerError(f"the ledger cannot be written: {error}") from None
            raise
        return cls(folder / NAME, lock, writer, kept)

    def append_soon(self, *records: Record) -> None:
        """Append what nobody waits for, with the next commit; kept back while the file takes no entries."""
        try:
            self._writer.submit_soon(Append(tuple(map(Draft.of, records))))
        except ValueError as error:
            log.error("ALARM: %s was not recorded: %s", records[0].kind, error)

    async def append(self, *records: Record) -> list[Entry]:
        """As `callgate.journal.Journal` promises. May be called from any event loop of the process."""
        if self._closed:
            raise Refusal("ledger-unavailable", "The ledger is closed.", status=503)
        try:
            drafts = tuple(map(Draft.of, records))
        except ValueError as error:
            raise Refusal(
                "ledger-unrecordable", f"The call cannot be recorded: {error}.", status=400
            ) from None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Entry]] = loop.create_future()
        watch = loop.call_later(_PATIENCE, _give_up, future)
        self._writer.submit(Append(drafts, loop, future))
        try:
            return await future
        finally:
            watch.cancel()

    def last_entries(self, kinds: Sequence[str]) -> Iterator[Entry]:
        """As `callgate.journal.Journal` promises; not for kinds of calls."""
        marks = ",".join("?" * len(kinds))
        for row in self.query(_LAST.format(marks), kinds):
            yield parse_entry(row["entry"])

    def query(self, sql: str, params: Sequence[object] | Mapping[str, object] = ()) -> list[dict[str, Any]]:
        """The rows of a query, read on a connection that cannot write. Raises sqlite3.Error, LedgerError."""
        with self._reading:
            if self._reader is None:
                self._reader = open_for_reading(self._path)
            cursor = self._reader.execute(sql, params)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def health(self) -> Health:
        """How the ledger is. Cheap; safe from any thread."""
        writer, outage = self._writer, self._writer.outage
        return Health(
            ok=outage is None,
            reason=outage.reason if outage else None,
            size=writer.frontier.size,
            checkpoint_size=writer.signed_size,
            checkpoint_time=writer.signed_at,
            alarms=self._kept.alarms(),
        )

    async def close(self) -> None:
        """Write what is queued, sign a last checkpoint, let go of the folder. Later appends are refused."""
        if self._closed:
            return
        self._closed = True
        await asyncio.to_thread(self._writer.stop)
        await asyncio.to_thread(self._kept.close)
        with self._reading:
            if self._reader is not None:
                self._reader.close()
        self._lock.release()


class _Kept:
    """The newest checkpoint in a file beside the database, against rollback, and with all keepers."""

    def __init__(self, path: Path, elsewhere: Sequence[Keeping]) -> None:
        self._path = path
        self._elsewhere = elsewhere
        self._alarm: str | None = None

    def keep(self, checkpoint: Checkpoint) -> None:
        for keeping in self._elsewhere:
            keeping.offer(checkpoint)
        try:
            write_checkpoint_file(self._path, checkpoint.note)
        except OSError as error:
            self._alarm = f"the checkpoint cannot be written to {self._path}: {error.strerror}"
            log.error(self._alarm)
        else:
            self._alarm = None

    def alarms(self) -> tuple[str, ...]:
        found = [self._alarm, *(keeping.alarm for keeping in self._elsewhere)]
        return tuple(alarm for alarm in found if alarm)

    def close(self) -> None:
        for keeping in self._elsewhere:
            keeping.close()


def _give_up(future: asyncio.Future[list[Entry]]) -> None:
    if not future.done():
        future.set_exception(Refusal("ledger-unavailable", "The ledger does not answer.", status=503))
