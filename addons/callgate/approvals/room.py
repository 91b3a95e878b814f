"""What the room keeps in memory about each hold: its value, its lock, who waits on it; and who listens to
events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from callgate.approvals.approvers import missing
from callgate.approvals.attempt import Attempt, Ticket
from callgate.approvals.hold import Hold, approval_json, iso

OPEN = ("pending", "approved")
_BACKLOG = 1000


@dataclass(slots=True, eq=False)
class Waiter:
    """One live attempt. `left` says that nobody is there any more, whatever the connection looks like."""

    attempt: Attempt
    client_gone: Callable[[], bool]
    until: float
    slot: Slot | None = None
    left: bool = False
    stirred: asyncio.Event = field(default_factory=asyncio.Event)

    def gone(self) -> bool:
        """Nobody is left to be answered."""
        return self.left or self.client_gone()

    def leave(self) -> None:
        """The attempt has been given up by whoever made it."""
        self.left = True
        self.stirred.set()

    async def rest(self, seconds: float) -> None:
        """Until something happens, or `seconds` have passed."""
        try:
            async with asyncio.timeout(seconds):
                await self.stirred.wait()
        except TimeoutError:
            return
        self.stirred.clear()


@dataclass(slots=True, eq=False)
class Slot:
    """A hold and what is going on around it. `hold` changes under `lock` only, after the ledger has the
    change.

    `claim` is the ticket of the one attempt that is passing. `hold` is None until its opening is in the
    ledger.
    """

    hold: Hold | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    claim: Ticket | None = None
    waiters: set[Waiter] = field(default_factory=set)
    invocations: set[str] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None

    @property
    def value(self) -> Hold:
        """The hold, once it is open."""
        assert self.hold is not None
        return self.hold

    def stir(self) -> None:
        """Let every waiter look again."""
        for waiter in self.waiters:
            waiter.stirred.set()


class Subscription:
    """Events as they happen; one that nobody takes in time makes way for newer ones."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_BACKLOG)

    def put(self, event: dict[str, Any]) -> None:
        """Never blocks."""
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(event)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await self._events.get()


def view(slot: Slot, now: float) -> dict[str, Any]:
    """A hold as the admin API shows it."""
    hold = slot.value
    return {
        "id": hold.id,
        "state": hold.state,
        "openedAt": iso(hold.opened_at),
        "deadline": iso(hold.deadline),
        "secondsLeft": max(0, round(hold.deadline - now)) if hold.state in OPEN else 0,
        "issuer": hold.requester.issuer,
        "principalId": hold.requester.principal_id,
        "requestedBy": list(hold.requester.people),
        **hold.asked,
        "terms": [
            {
                "rule": terms.rule,
                "by": list(terms.by),
                "count": terms.count,
                "missing": missing(terms, hold.approvals) if hold.state == "pending" else 0,
                "grantSeconds": terms.grant,
            }
            for terms in hold.terms
        ],
        "approvals": [approval_json(each) for each in hold.approvals],
        "grants": list(hold.grants),
        "by": hold.by,
        "via": hold.via,
        "reason": hold.reason,
        "usedBy": hold.used_by,
        "attemptsWaiting": len(slot.waiters),
        "fingerprint": hold.fingerprint,
    }
