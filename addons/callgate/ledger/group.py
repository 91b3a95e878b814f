"""Group commit: many appends, one synced transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from callgate.journal import Entry, StepTaken
from callgate.ledger.entries import Draft, timestamp
from callgate.ledger.store import Row, Store
from callgate.ledger.tree import Frontier, leaf_hash

Result = list[Entry] | StepTaken


@dataclass(frozen=True, slots=True)
class Append:
    """Records that are written together or not at all; nobody waits for the ledger's own notes."""

    drafts: tuple[Draft, ...]
    loop: asyncio.AbstractEventLoop | None = None
    future: asyncio.Future[list[Entry]] | None = None


def write_group(
    store: Store, frontier: Frontier, appends: Sequence[Append], now: float
) -> tuple[Frontier, list[Result]]:
    """Insert all appends, inside the caller's transaction; returns the grown tree and their results.

    An append whose step is taken fails alone. All entries carry the time `now` (seconds since the epoch).
    """
    time = timestamp(now)
    try:
        # Conflicts are rare: all in one statement first, one by one only if some step is taken.
        with store.savepoint():
            return _insert(store, frontier, appends, now, time)
    except sqlite3.IntegrityError:
        results: list[Result] = []
        for append in appends:
            try:
                with store.savepoint():
                    frontier, entries = _insert(store, frontier, [append], now, time)
                results += entries
            except sqlite3.IntegrityError:
                steps = ", ".join(
                    f"{d.record.subject} {d.record.step}" for d in append.drafts if d.record.subject
                )
                results.append(StepTaken(f"in the log already: one of {steps}"))
        return frontier, results


def _insert(
    store: Store, frontier: Frontier, appends: Sequence[Append], now: float, time: str
) -> tuple[Frontier, list[Result]]:
    tree = frontier.copy()
    rows: list[Row] = []
    results: list[Result] = []
    for append in appends:
        entries = []
        for draft in append.drafts:
            seq = tree.size
            text = draft.text(seq, time)
            leaf = leaf_hash(text.encode())
            tree.push(leaf)
            rows.append((seq, text, leaf))
            entries.append(draft.entry(seq, now, leaf))
        results.append(entries)
    store.insert(rows)
    return tree, results
