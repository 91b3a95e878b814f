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

_AT_ONCE = 1000

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
    """Insert all appends; returns the grown tree and their results. Raises Unavailable.

    An append whose step is taken fails alone. All entries carry the time `now` (seconds since the epoch).
    Needs no transaction of the caller's, since an append is written by one statement, and that is one.
    """
    results: list[Result] = []
    for start in range(0, len(appends), _AT_ONCE):
        part = appends[start : start + _AT_ONCE]
        try:
            frontier, entries = _insert(store, frontier, part, now)
            results += entries
        except sqlite3.IntegrityError:
            # Rare, so all are tried in one statement first.
            for append in part:
                try:
                    frontier, entries = _insert(store, frontier, [append], now)
                    results += entries
                except sqlite3.IntegrityError:
                    steps = ", ".join(
                        f"{d.record.subject} {d.record.step}" for d in append.drafts if d.record.subject
                    )
                    results.append(StepTaken(f"in the log already: one of {steps}"))
    return frontier, results


def _insert(
    store: Store, frontier: Frontier, appends: Sequence[Append], now: float
) -> tuple[Frontier, list[Result]]:
    time = timestamp(now)
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
