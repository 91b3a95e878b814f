"""What the rooms that keep state ask of the ledger, so that none of them imports it.

A thing that changes (a hold, a session, a grant) is its last entry: each transition is one record,
unique by (subject, step).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One line to be appended. `body` is plain JSON; `subject` and `step` are given together and are unique
    together.
    """

    kind: str
    body: Mapping[str, Any] = field(repr=False)
    subject: str | None = None
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log: a record with its sequence number (from 0), time (seconds since the epoch) and
    RFC 6962 leaf hash.
    """

    seq: int
    time: float
    kind: str
    subject: str | None
    step: str | None
    body: Mapping[str, Any] = field(repr=False)
    leaf_hash: bytes = field(repr=False)


class StepTaken(Exception):
    """The (subject, step) of a record is in the log already: somebody else was first. Nothing was written."""


class Journal(Protocol):
    """The ledger as its writers see it."""

    async def append(self, *records: Record) -> list[Entry]:
        """Append all records in one transaction, or none; returns when they are synced to disk.

        Raises StepTaken, or Refusal (`ledger-unavailable`, status 503) if the record cannot be kept.
        """
        ...

    def append_soon(self, *records: Record) -> None:
        """Append, with the next transaction, what nobody waits for; a failure is an alarm in the log."""
        ...

    def last_entries(self, kinds: Sequence[str]) -> Iterator[Entry]:
        """The last entry of every subject among entries of `kinds`, oldest first. For start-up."""
        ...
