"""The ledger's one writer: a thread that takes appends, commits them in groups and signs checkpoints."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from callgate.call import Refusal
from callgate.journal import Record
from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.entries import Draft, timestamp
from callgate.ledger.group import Append, Result, write_group
from callgate.ledger.opening import Opened
from callgate.ledger.recovery import unknown_outcomes
from callgate.ledger.repair import forget_rescued, put_back
from callgate.ledger.store import PATIENCE, Store, Unavailable
from callgate.ledger.tree import Frontier

log = logging.getLogger("callgate.ledger")

_TICK = 0.2
_GATHER = 0.001
"""How long (seconds) appends gather for one sync where several come at once (PostgreSQL: `commit_delay`). One
that comes alone does not wait.
"""
_SMALL_STEP = 1.0
"""A clock that goes back by less (seconds) is held at its last reading; a larger step is noted in the log."""


@dataclass(frozen=True, slots=True)
class Signing:
    """How checkpoints are made: by whom, after how many seconds or entries, and who is told."""

    sign: Callable[[Frontier], Checkpoint]
    every: float
    entries: int
    announce: Callable[[Checkpoint], None]


@dataclass(slots=True)
class Outage:
    """The file takes no entries: why, since when, and how many appends were refused for it."""

    reason: str
    since: float
    refused: int = 0


class Writer:
    """Owns the store and the tree. Other threads may use `submit` and `stop`, and read public attributes."""

    def __init__(self, store: Store, opened: Opened, *, signing: Signing, clock: Callable[[], float]) -> None:
        self.frontier = opened.frontier
        self.signed_size = opened.signed_size
        self.signed_at = opened.last_time
        self.outage: Outage | None = None
        self._store = store
        self._last_time = opened.last_time
        self._signing = signing
        self._clock = clock
        self._due = 0.0
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._rung = False
        self._crowded = False
        self._stopping = False
        self._waited: collections.deque[Append] = collections.deque()
        self._riders: collections.deque[Append] = collections.deque()
        self._thread = threading.Thread(target=self._run, name="callgate-ledger", daemon=True)

    def start(self, records: Sequence[Record]) -> None:
        """Append the start's own records, sign a checkpoint and begin to take appends. Raises Unavailable."""
        self._due = time.monotonic() + self._signing.every
        self._commit(list(map(_note, records)), sign=True)
        self._thread.start()

    def submit(self, append: Append) -> None:
        """Queue an append; its future gets the result. To be called in the append's loop."""
        self._waited.append(append)
        if not self._rung:
            self._rung = True
            # Once for all that the loop has at hand: while this thread works, it takes the interpreter from
            # the loop.
            assert append.loop is not None
            append.loop.call_later(_GATHER if self._crowded else 0, self._bell.put, None)

    def submit_soon(self, append: Append) -> None:
        """Let an append that nobody waits for ride with the next commit, within `_TICK` seconds.

        It costs no sync of its own. While the file takes no entries it is held back, not lost.
        """
        self._riders.append(append)

    def stop(self) -> None:
        """Write what is queued, sign a last checkpoint, close the file. Blocks."""
        self._stopping = True
        self._bell.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._take()
            try:
                results: Sequence[Result | Refusal] = self._commit(
                    batch, sign=stopping or time.monotonic() >= self._due
                )
            except Unavailable as error:
                # Riders tell of what has happened already, so they wait for better times.
                self._riders.extendleft(append for append in reversed(batch) if append.loop is None)
                batch = [append for append in batch if append.loop is not None]
                results = self._refuse(batch, str(error))
            except Exception as error:
                # A bug here must refuse calls, not end the thread that every call waits for.
                log.exception("the ledger's writer failed")
                results = self._refuse(batch, f"internal error ({type(error).__name__})")
            _deliver(batch, results)
        self._store.close()

    def _take(self) -> tuple[list[Append], bool]:
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=_TICK)
        # In this order, so that nothing is left for which no bell rings.
        stopping, self._rung = self._stopping, False
        waited = [self._waited.popleft() for _ in range(len(self._waited))]
        self._crowded = len(waited) > 1
        # What a rider tells of (an intent, say) was committed before it was submitted.
        riders = [self._riders.popleft() for _ in range(len(self._riders))]
        return [*riders, *waited], stopping

    def _commit(self, batch: Sequence[Append], *, sign: bool) -> list[Result]:
        self._store = put_back(self._store)
        now, notes = self._tell_time()
        sign = sign and self.frontier.size > self.signed_size
        if not (batch or sign or self.outage):
            return []
        checkpoint = None
        coming = sum(len(append.drafts) for append in batch) + len(notes)
        sign = sign or self.frontier.size + coming - self.signed_size >= self._signing.entries
        # A group of appends is a transaction by itself.
        with self._store.transaction() if sign or self.outage else contextlib.nullcontext():
            tree = self.frontier
            if self.outage:
                tree = self._adopt(tree)
                notes += unknown_outcomes(self._store, self.frontier.size, "ledger-unavailable")
                notes.append(_recovered(self.outage, now))
            tree, results = write_group(self._store, tree, [*map(_note, notes), *batch], now)
            if sign:
                checkpoint = self._signing.sign(tree)
                self._store.insert_checkpoint(checkpoint, tree)
        self.frontier, self._last_time = tree, now
        if self.outage:
            self._end_outage()
        if checkpoint:
            self.signed_size, self.signed_at = checkpoint.size, now
            self._due = time.monotonic() + self._signing.every
            self._signing.announce(checkpoint)
        return results[len(notes) :]

    def _end_outage(self) -> None:
        log.warning("the ledger takes entries again")
        self.outage = None
        self._store.be_patient(PATIENCE)
        forget_rescued(self._store)

    def _tell_time(self) -> tuple[float, list[Record]]:
        now, last = self._clock(), self._last_time
        if now >= last:
            return now, []
        if last - now < _SMALL_STEP:
            return last, []
        return now, [Record("clock.stepped", {"from": timestamp(last), "to": timestamp(now)})]

    def _adopt(self, tree: Frontier) -> Frontier:
        """Take in rows of a commit that reported an error and yet reached the file."""
        tree = tree.copy()
        for seq, _, leaf in self._store.rows_from(tree.size):
            if seq != tree.size:
                raise Unavailable(f"entry {tree.size} is missing")
            tree.push(leaf)
        last = self._store.last_row()
        if last is not None and last[0] != tree.size - 1:
            raise Unavailable(f"the log was cut to {last[0] + 1} of {tree.size} entries")
        return tree

    def _time_of_outage(self) -> float:
        try:
            return self._clock()
        except Exception:  # noqa: BLE001 - it may be the clock that fails
            return self._last_time

    def _refuse(self, batch: Sequence[Append], reason: str) -> list[Refusal]:
        if self.outage is None:
            self.outage = Outage(reason, self._time_of_outage())
            # The next appends are not to wait as long for what was waited for in vain.
            self._store.be_patient(0.05)
            log.error("the ledger takes no entries, so calls are refused: %s", reason)
        self.outage.reason = reason
        self.outage.refused += len(batch)
        return [Refusal("ledger-unavailable", f"The ledger takes no entries: {reason}.", status=503)] * len(
            batch
        )


def _note(record: Record) -> Append:
    return Append((Draft.of(record),))


def _recovered(outage: Outage, now: float) -> Record:
    body = {
        "reason": outage.reason,
        "since": timestamp(outage.since),
        "seconds": round(now - outage.since, 3),
        "refused": outage.refused,
    }
    return Record("ledger.recovered", body)


def _deliver(batch: Sequence[Append], results: Iterable[Result | Refusal]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Append, Result | Refusal]]] = {}
    for append, result in zip(batch, results, strict=True):
        if append.loop is None and isinstance(result, Exception):
            log.error("ALARM: %s was not recorded: %s", append.drafts[0].record.kind, result)
        if append.loop is not None:
            by_loop.setdefault(append.loop, []).append((append, result))
    for loop, answers in by_loop.items():
        # A loop that is closed has nobody waiting any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, answers)


def _settle(answers: Sequence[tuple[Append, Result | Refusal]]) -> None:
    for append, result in answers:
        future = append.future
        if future is None or future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
