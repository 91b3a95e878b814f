"""A journal in memory and a clock that stands still."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from callgate.identity import Authenticator, IdentitySettings
from callgate.journal import Entry, Record, StepTaken


class MemoryJournal:
    """The journal's promises, kept in a list."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.fails: Exception | None = None

    async def append(self, *records: Record) -> list[Entry]:
        if self.fails:
            raise self.fails
        taken = {(entry.subject, entry.step) for entry in self.entries}
        if any((record.subject, record.step) in taken for record in records):
            raise StepTaken
        made = [
            Entry(len(self.entries) + at, time.time(), r.kind, r.subject, r.step, r.body, b"")
            for at, r in enumerate(records)
        ]
        self.entries += made
        return made

    def last_entries(self, kinds: Sequence[str]) -> Iterator[Entry]:
        last = {entry.subject: entry for entry in self.entries if entry.kind in kinds}
        return iter(sorted(last.values(), key=lambda entry: entry.seq))

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.entries]


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))

    def __call__(self) -> float:
        return self.now


def authenticator_of(
    journal: MemoryJournal, clock: Clock, *issuers: dict[str, Any], fetch: Any = None, **settings: Any
) -> Authenticator:
    """An authenticator for these issuers."""
    read = IdentitySettings.model_validate({"issuer": list(issuers), **settings})
    return Authenticator(read, journal, clock=clock, **({"fetch": fetch} if fetch else {}))
