"""Is this the log that we left? What is read and checked before a log is written on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from callgate.journal import Record
from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.entries import parse_entry
from callgate.ledger.errors import LedgerError
from callgate.ledger.keepers import read_checkpoint_file
from callgate.ledger.recovery import last_start, unknown_outcomes
from callgate.ledger.signer import NoteError, Signer
from callgate.ledger.store import Store
from callgate.ledger.tree import Frontier, ProofError, leaf_hash

CHECKPOINT = "checkpoint"
"""The file beside the database that holds the newest checkpoint."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A log to go on with: its tree, the time of its last entry, and the records that a new start owes it."""

    frontier: Frontier
    last_time: float
    signed_size: int
    records: tuple[Record, ...]


def open_log(store: Store, signer: Signer, origin: str, accept_gap: str | None) -> Opened:
    """Check the log in `store` against its last checkpoints, in the database and beside it.

    Raises LedgerError where they do not agree, unless `accept_gap` gives a reason to go on.
    """
    frontier, signed = _last_signed(store, signer)
    if signed and signed.origin != origin:
        raise LedgerError(f"the log in {store.path} is called {signed.origin}, not {origin} (ledger.origin)")
    last_time = 0.0
    for seq, text, leaf in store.rows_from(frontier.size):
        if seq != frontier.size:
            raise _broken(f"entry {frontier.size} is missing")
        if leaf_hash(text.encode()) != leaf:
            raise _broken(f"entry {seq} was changed")
        frontier.push(leaf)
    if row := store.last_row():
        if row[0] != frontier.size - 1:
            raise _broken(f"its last entry is {row[0]}, but {frontier.size} entries were signed")
        last_time = parse_entry(row[1]).time
    records = []
    if lost := _lost(store, signer, frontier.size):
        lost_note, fault = lost
        if accept_gap is None:
            raise LedgerError(
                f"{fault}. To go on all the same, and have the log say so: callgate log accept-gap"
            )
        body = {"reason": accept_gap, "size": frontier.size, "fault": fault, "checkpoint": lost_note}
        records.append(Record("ledger.gap", body))
    records += unknown_outcomes(store, last_start(store), "gateway-stopped")
    return Opened(frontier, last_time, signed.size if signed else 0, tuple(records))


def _last_signed(store: Store, signer: Signer) -> tuple[Frontier, Checkpoint | None]:
    found = store.last_checkpoint()
    if found is None:
        return Frontier(), None
    note, size, packed = found
    try:
        checkpoint = Checkpoint.verified(note, signer.trusted)
        frontier = Frontier.from_bytes(size, packed)
    except (NoteError, ProofError) as error:
        raise _broken(f"its last checkpoint, at {size} entries: {error}") from None
    if (checkpoint.size, checkpoint.root) != (size, frontier.root()):
        raise _broken(f"its last checkpoint, at {size} entries, signs another tree")
    return frontier, checkpoint


def _lost(store: Store, signer: Signer, size: int) -> tuple[str, str] | None:
    """The checkpoint kept beside the database and what is wrong, if the log is not a continuation of it."""
    path: Path = store.path.with_name(CHECKPOINT)
    try:
        note = read_checkpoint_file(path)
        kept = Checkpoint.verified(note, signer.trusted) if note is not None else None
    except (OSError, UnicodeDecodeError, NoteError) as error:
        raise LedgerError(f"the checkpoint in {path} cannot be trusted: {error}") from None
    if note is None or kept is None:
        return None
    if kept.size > size:
        return note, (
            f"the ledger {store.path} was rolled back: it holds {size} entries,"
            f" but a checkpoint over {kept.size} was signed ({path})"
        )
    if kept.size and store.signed_root(kept.size) != kept.root:
        return (
            note,
            f"the ledger {store.path} is another than the one whose checkpoint over {kept.size} is in {path}",
        )
    return None


def _broken(fault: str) -> LedgerError:
    return LedgerError(f"the ledger is damaged or was changed ({fault}); callgate verify tells more")
