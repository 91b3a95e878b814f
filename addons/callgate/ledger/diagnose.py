"""What happened to the log: from a hash that does not fit to the kind of change that explains it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from callgate.ledger.entries import is_canonical
from callgate.ledger.tree import leaf_hash

Kind = Literal[
    "edited",
    "missing",
    "inserted",
    "reordered",
    "truncated",
    "forked",
    "unsigned tail",
    "damaged",
    "altered schema",
]

RawRow = tuple[object, object, object]
"""Sequence number, entry and leaf hash as SQLite gave them: in a file that was tampered with, of any type."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind, the entry where it begins (None: no single one), a sentence."""

    kind: Kind
    seq: int | None
    text: str


def explain_row(position: int, row: RawRow | None, databases: Iterable[sqlite3.Connection]) -> Finding | None:
    """Why `row` cannot be entry `position`, or None if it can. `row` None: there is no such row."""
    if row is None:
        return Finding("missing", position, f"entry {position} is missing")
    seq, entry, leaf = row
    if seq != position:
        if isinstance(seq, int) and seq > position:
            return Finding("missing", position, f"entry {position} is missing; the next one is {seq}")
        return Finding("damaged", position, f"entry {position} has an impossible number")
    if not isinstance(entry, bytes) or not isinstance(leaf, bytes):
        return Finding("edited", position, f"entry {position} is not text with a hash")
    said = _seq_in(entry)
    if said != position and said is not None:
        if said < position:
            return Finding(
                "inserted", position, f"entry {position} says that it is {said}: one was put in before it"
            )
        if _exists(position, databases):
            return Finding("reordered", position, f"in the place of entry {position} stands entry {said}")
        return Finding("missing", position, f"entry {position} is missing; in its place stands entry {said}")
    if leaf_hash(entry) != leaf:
        return Finding("edited", position, f"entry {position} is not the one that was hashed")
    if said is None or not is_canonical(entry.decode(errors="replace")):
        return Finding("edited", position, f"entry {position} is not in the form that Callgate writes")
    return None


def explain_range(
    start: int, end: int, rows: Iterable[RawRow], databases: Sequence[sqlite3.Connection]
) -> Finding:
    """What is wrong in [start, end), whose root is not the signed one."""
    for position, row in zip(range(start, end), rows, strict=False):
        if found := explain_row(position, row, databases):
            return found
    where = f"entry {start}" if end - start == 1 else f"one of the entries {start} to {end - 1}"
    return Finding("edited", start, f"{where} was changed, and its hash with it")


def _seq_in(entry: bytes) -> int | None:
    try:
        said = json.loads(entry)
    except (ValueError, RecursionError):
        return None
    seq = said.get("seq") if isinstance(said, dict) else None
    return seq if isinstance(seq, int) else None


def _exists(seq: int, databases: Iterable[sqlite3.Connection]) -> bool:
    sql = "SELECT 1 FROM entries WHERE json_valid(entry) AND entry ->> '$.seq' = ? LIMIT 1"
    try:
        return any(database.execute(sql, (seq,)).fetchone() for database in databases)
    except sqlite3.Error:
        return False
