"""What the ledger tells of holds, attempts and grants when a gateway starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callgate.approvals.grants import Grant, restore_grant
from callgate.approvals.hold import Hold, as_of, restore
from callgate.approvals.states import ATTEMPT_KINDS, GRANT_KINDS, HOLD_KINDS
from callgate.journal import Journal


@dataclass(slots=True)
class Recovered:
    """Holds, oldest first; grants in force; invocation ids by hold; bodies of the attempts that nobody
    ended.
    """

    holds: list[Hold] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    invocations: Mapping[str, set[str]] = field(default_factory=dict)
    left_open: list[dict[str, Any]] = field(default_factory=list)


def recover(journal: Journal, now: float, keep: float) -> Recovered:
    """Everything that is still open, and what was closed less than `keep` seconds after its deadline."""
    found = Recovered()
    opened = {entry.subject: entry for entry in journal.last_entries(["hold.opened"])}
    last = {entry.subject: entry for entry in journal.last_entries(HOLD_KINDS)}
    for hold_id, entry in opened.items():
        hold = restore(entry, last[hold_id])
        if hold.state in ("pending", "approved") or now < hold.deadline + keep:
            found.holds.append(hold)
    for entry in journal.last_entries(GRANT_KINDS):
        if entry.kind == "grant.given":
            found.grants.append(restore_grant(entry))
    invocations: defaultdict[str, set[str]] = defaultdict(set)
    for entry in journal.last_entries(ATTEMPT_KINDS):
        if entry.kind == "attempt.waiting":
            found.left_open.append(dict(entry.body))
        if entry.body["invocationId"]:
            invocations[entry.body["holdId"]].add(entry.body["invocationId"])
    found.invocations = invocations
    return found


def current(journal: Journal, hold: Hold) -> Hold:
    """`hold` as the ledger has it."""
    last = [entry for entry in journal.last_entries(HOLD_KINDS) if entry.subject == hold.id]
    return as_of(hold, last[0]) if last else hold
