"""Proofs that one entry is in the log, in the C2SP form (https://c2sp.org/tlog-proof).

The entry itself is the proof's extra data, so that the file can be checked with nothing but the public key.
"""

from __future__ import annotations

import base64
import binascii
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from callgate.journal import Entry
from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.entries import parse_entry
from callgate.ledger.errors import LedgerError
from callgate.ledger.signer import NoteError, PublicKey
from callgate.ledger.tree import Frontier, ProofError, check_inclusion, inclusion_proof, leaf_hash

_HEADER = "c2sp.org/tlog-proof@v1"


@dataclass(frozen=True, slots=True)
class Proof:
    """A proved entry and the checkpoint that covers it."""

    entry: Entry
    text: str
    checkpoint: Checkpoint


def make_proof(database: sqlite3.Connection, seq: int) -> str:
    """The proof for entry `seq`, as text, against the first checkpoint that covers it.

    Raises LedgerError if there is no such entry, if no checkpoint covers it yet, or if the log is not what
    was signed.
    """
    row = database.execute("SELECT entry FROM entries WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise LedgerError(f"there is no entry {seq}")
    signed = database.execute(
        "SELECT size, note FROM checkpoints WHERE size > ? ORDER BY size LIMIT 1", (seq,)
    ).fetchone()
    if signed is None:
        raise LedgerError(f"entry {seq} is not covered by a checkpoint yet; the gateway's next one will")
    size, note = signed
    leaves = _Leaves(database)
    path = inclusion_proof(seq, size, leaves.root)
    try:
        check_inclusion(seq, size, leaf_hash(row[0].encode()), path, base64.b64decode(note.split("\n")[2]))
    except ProofError:
        raise LedgerError("the log is not what was signed; callgate verify tells more") from None
    extra = base64.b64encode(row[0].encode()).decode()
    lines = [_HEADER, f"extra {extra}", f"index {seq}", *(base64.b64encode(node).decode() for node in path)]
    return "\n".join([*lines, "", str(note)])


def check_proof(proof: str, keys: Sequence[PublicKey]) -> Proof:
    """The entry that `proof` proves to be in the log. Raises ProofError."""
    head, blank, note = proof.partition("\n\n")
    lines = head.split("\n")
    if not blank or len(lines) < 3 or lines[0] != _HEADER:
        raise ProofError(f"not a proof: it does not begin with {_HEADER}")
    extra, index = lines[1].removeprefix("extra "), lines[2].removeprefix("index ")
    if extra == lines[1] or index == lines[2] or not (index.isascii() and index.isdecimal()):
        raise ProofError("not a proof with its entry: lines 2 and 3 are 'extra …' and 'index …'")
    try:
        seq = int(index)
        text = base64.b64decode(extra, validate=True)
        path = [base64.b64decode(line, validate=True) for line in lines[3:]]
        checkpoint = Checkpoint.verified(note, keys)
    except (binascii.Error, NoteError, ValueError) as error:
        raise ProofError(f"not a proof of this log: {error}") from None
    check_inclusion(seq, checkpoint.size, leaf_hash(text), path, checkpoint.root)
    try:
        entry = parse_entry(text.decode())
    except ValueError as error:
        raise ProofError(f"the entry is not one that Callgate writes: {error}") from None
    if entry.seq != seq:
        raise ProofError(f"the entry says that it is {entry.seq}, the proof that it is {index}")
    return Proof(entry, text.decode(), checkpoint)


class _Leaves:
    """Roots over ranges of the log; for an archived prefix, its full subtrees stand in."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._base = database.execute("SELECT min(seq) FROM entries").fetchone()[0] or 0
        packed = b""
        if self._base:
            row = database.execute(
                "SELECT frontier FROM checkpoints WHERE size = ?", (self._base,)
            ).fetchone()
            packed = row[0] if row else b""
        self._prefix = Frontier.from_bytes(self._base, packed)

    def root(self, start: int, end: int) -> bytes:
        """The root over [start, end), which is a full subtree or reaches to the end of the tree."""
        tree = self._archived(start, end)
        if tree.size < end - start:
            rows = self._database.execute(
                "SELECT leaf FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq", (start + tree.size, end)
            )
            for (leaf,) in rows:
                tree.push(leaf)
        return tree.root()

    def _archived(self, start: int, end: int) -> Frontier:
        """The frontier over the archived leaves in [start, end)."""
        if start >= self._base:
            return Frontier()
        at, inside = 0, Frontier()
        sizes = [1 << bit for bit in reversed(range(self._base.bit_length())) if self._base >> bit & 1]
        for size, node in zip(sizes, self._prefix.hashes, strict=True):
            if start <= at and at + size <= end:
                inside.hashes.append(node)
                inside.size += size
            at += size
        return inside
