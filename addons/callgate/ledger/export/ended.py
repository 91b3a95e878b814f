"""Reading the log in order for export: each call once, when it has ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from callgate.ledger.entries import parse_entry

_ENDED = """
SELECT ended.entry, intent.entry, session.entry
FROM entries AS ended
LEFT JOIN entries AS intent ON intent.subject = ended.subject AND intent.step = 'intent'
LEFT JOIN entries AS session ON session.step = 'opened'
  AND session.subject = coalesce(intent.sessionId, ended.sessionId)
WHERE ended.seq BETWEEN ? AND ? AND ended.kind IN ('call.outcome', 'call.refused', 'connection.refused')
ORDER BY ended.seq
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """One call that has ended, or one connection that was refused.

    `seq` is the entry that ended it. `asked` is the body that says what was asked (of the intent, or of the
    refusal), `outcome` the body that says how it ended (of a refusal the same), `session` the body of the
    session's opening. Times are in seconds since the epoch.
    """

    seq: int
    kind: str
    call_id: str | None
    started: float
    ended: float
    asked: dict[str, Any]
    outcome: dict[str, Any]
    session: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Whether it was refused, so that nothing went to AWS."""
        return self.kind != "call.outcome"

    @property
    def identity(self) -> dict[str, Any]:
        """The entry's `userIdentity`."""
        found: dict[str, Any] = self.asked.get("userIdentity") or {}
        return found


def ended_calls(database: sqlite3.Connection, first: int, last: int) -> Iterator[Ended]:
    """What ended in entries `first` to `last`, in the order in which it ended."""
    for text, intent_text, session_text in database.execute(_ENDED, (first, last)):
        entry = parse_entry(text)
        intent = parse_entry(intent_text) if intent_text else entry
        session = parse_entry(session_text).body if session_text else {}
        yield Ended(
            seq=entry.seq,
            kind=entry.kind,
            call_id=entry.subject,
            started=intent.time,
            ended=entry.time,
            asked=dict(intent.body),
            outcome=dict(entry.body),
            session=dict(session),
        )
