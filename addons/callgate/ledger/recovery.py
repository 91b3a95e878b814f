"""What a new start owes to the calls of the last one: every intent gets its one outcome."""

from __future__ import annotations

from collections.abc import Iterator

from callgate.journal import Record
from callgate.ledger.store import Store

_STARTED = "kind = 'gateway.started' AND kind NOT IN ('call.intent', 'call.refused', 'call.outcome')"
_OPEN = """kind = 'call.intent' AND seq >= ?
AND NOT EXISTS (SELECT 1 FROM entries AS e WHERE e.subject = entries.subject AND e.step = 'end')"""


def unknown_outcomes(store: Store, since: int, reason: str) -> Iterator[Record]:
    """A `call.outcome` with result `unknown` for each intent from entry `since` on that has none."""
    for (subject,) in store.subjects_where(_OPEN, (since,)):
        yield Record("call.outcome", {"result": "unknown", "reason": reason}, subject=subject, step="end")


def last_start(store: Store) -> int:
    """Where the last run of the gateway began: what came before it was settled when it started."""
    return store.last_seq_where(_STARTED) or 0
