"""All holds and grants of a gateway in memory, and the only way in which they change.

Every change happens under the lock of its hold, and is in the ledger before it is in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from callgate.approvals.approvers import missing
from callgate.approvals.events import Events
from callgate.approvals.grants import Grant, covering, grant_json, grant_record, grants_of
from callgate.approvals.hold import Approval, Hold, Key, Requester, advance, iso
from callgate.approvals.recovery import current
from callgate.approvals.settings import ApprovalSettings
from callgate.approvals.slot import Slot, view
from callgate.call import Refusal
from callgate.decision import HoldTerms
from callgate.journal import Journal, Record, StepTaken

KEEP = 900.0
"""Seconds past its deadline for which a closed hold still answers retries of its attempts, and people."""

_LEDGER_RETRY = 5.0

log = logging.getLogger("callgate.approvals")


class Room:
    """`current` has the open hold of each key, `slots` every hold that is remembered."""

    def __init__(self, settings: ApprovalSettings, journal: Journal, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.journal = journal
        self.clock = clock
        self.slots: dict[str, Slot] = {}
        self.current: dict[Key, Slot] = {}
        self.invocations: dict[tuple[Key, str], Slot] = {}
        self.grants: dict[str, Grant] = {}
        self.events = Events()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: set[asyncio.TimerHandle] = set()

    # Tasks of the room's own: a client that leaves in the middle of a change cannot leave it half done.

    def spawn[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do `work` whoever waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, Refusal):
            log.error("a hold could not be changed", exc_info=error)

    async def safely[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, though the caller be cancelled."""
        return await asyncio.shield(self.spawn(work))

    async def close(self) -> None:
        """Wait for what is under way; set no more timers."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        for timer in (*self._timers, *(slot.timer for slot in self.slots.values())):
            if timer is not None:
                timer.cancel()

    # Holds

    async def append(self, *records: Record) -> None:
        """Raises Refusal: `hold-decided` (409) if a step is taken, or what the ledger says."""
        try:
            await self.journal.append(*records)
        except StepTaken:
            raise Refusal("hold-decided", "Somebody else was first; look again.", status=409) from None

    async def advance(self, slot: Slot, event: str, *also: Record, **changes: Any) -> None:
        """Let `event` happen to a hold, and `also` be recorded with it. Under the lock. Raises Refusal."""
        hold, record = advance(slot.value, event, **changes)
        try:
            await self.journal.append(record, *also)
        except StepTaken:
            # Either the call that was leaving has used the approval, or the ledger had given up waiting on an
            # earlier change, and then made it.
            leaving = slot.claim is not None and slot.claim.handed_out and slot.value.state == "approved"
            slot.hold = slot.claim.spent() if slot.claim and leaving else current(self.journal, slot.value)
            self._changed(slot)
            raise Refusal("hold-decided", f"{hold.id} is {slot.value.state} already.", status=409) from None
        slot.hold = hold
        self._changed(slot)
        self.announce(record.kind, slot)

    async def approve(self, slot: Slot, through: Sequence[Grant], **changes: Any) -> None:
        """The terms are met, by people, `through` grants or both. People's approval may give grants."""
        changes["grants"] = tuple(grant.id for grant in through)
        approvals = changes.get("approvals", slot.value.approvals)
        given = grants_of(slot.value, approvals, self.clock()) if approvals else []
        await self.advance(slot, "approve", *(grant_record("give", "new", each) for each in given), **changes)
        for grant in given:
            self.keep_grant(grant)

    async def approve_if_met(self, slot: Slot) -> None:
        """For a hold that no person answers now: at start, and when a grant was given."""
        if slot.value.state == "pending":
            through = self.through(slot.value, slot.value.approvals)
            if through is not None:
                await self.approve(slot, through, **by_grants(through))

    async def reconsider(self, requester: Requester) -> None:
        """Grants may have met the terms of other holds of the same requester."""
        for slot in list(self.current.values()):
            if slot.requester == requester and slot.is_open:
                async with slot.lock:
                    await self.due(slot)
                    await self.approve_if_met(slot)

    async def due(self, slot: Slot) -> None:
        """What the clock asks for; called under the lock before anything else is done with a hold."""
        if slot.is_open and self.clock() >= slot.value.deadline:
            await self.drop(slot, "its deadline passed")

    async def drop(self, slot: Slot, reason: str) -> None:
        """Close an open hold, if no call uses it at this moment. Under the lock."""
        event = "expire" if slot.value.state == "pending" else "lapse"
        await self.end(slot, event, by=None, reason=reason)

    async def end(self, slot: Slot, event: str, **changes: Any) -> None:
        """Let `event` close an open hold, unless a call that was leaving has used it. Raises Refusal."""
        try:
            await self.advance(slot, event, **changes)
        except Refusal:
            if slot.is_open:
                raise

    def index(self, slot: Slot) -> None:
        """An open hold is what new attempts with its key join."""
        key = slot.value.key
        if slot.is_open:
            self.current[key] = slot
        elif self.current.get(key) is slot:
            del self.current[key]

    def keep(self, slot: Slot) -> None:
        """Remember a hold, and wake up at its deadline."""
        self.slots[slot.value.id] = slot
        for invocation in slot.invocations:
            self.invocations[slot.value.key, invocation] = slot
        self.index(slot)
        self._wake_in(slot, slot.value.deadline - self.clock())

    def find(self, hold_id: str) -> Slot:
        """Raises Refusal (404)."""
        slot = self.slots.get(hold_id)
        if slot is None:
            raise Refusal("hold-unknown", "No hold or grant has that id, or it ended long ago.", status=404)
        return slot

    def announce(self, kind: str, slot: Slot) -> None:
        """Tell listeners what became of a hold.

        The time of an opening is the hold's own: told again after a restart, it is the same event.
        """
        if not self.events.heard:
            return
        now = self.clock()
        time = slot.value.opened_at if kind == "hold.opened" else now
        self.events.tell(kind, iso(time), approval=view(slot, now))

    def _changed(self, slot: Slot) -> None:
        self.index(slot)
        slot.stir()

    def _wake_in(self, slot: Slot, seconds: float) -> None:
        slot.timer = asyncio.get_running_loop().call_later(max(0.0, seconds), self._wake, slot)

    def _wake(self, slot: Slot) -> None:
        left = slot.value.deadline - self.clock()
        if left > 0:
            self._wake_in(slot, left)
        elif slot.is_open:
            self.spawn(self._expire(slot))
        elif left > -KEEP:
            self._wake_in(slot, left + KEEP)
        else:
            self._forget(slot)

    async def _expire(self, slot: Slot) -> None:
        try:
            async with slot.lock:
                await self.due(slot)
        except Refusal as refusal:
            log.error("%s could not be closed: %s", slot.value.id, refusal)
        self._wake_in(slot, _LEDGER_RETRY)

    def _forget(self, slot: Slot) -> None:
        del self.slots[slot.value.id]
        for invocation in slot.invocations:
            if self.invocations.get((slot.value.key, invocation)) is slot:
                del self.invocations[slot.value.key, invocation]

    # Grants

    def keep_grant(self, grant: Grant) -> None:
        """Remember a grant until its time is over."""
        self.grants[grant.id] = grant
        self.events.tell("grant.given", iso(self.clock()), grant=grant_json(grant))
        wait = max(0.0, grant.until - self.clock())
        self._timers.add(asyncio.get_running_loop().call_later(wait, partial(self._lapse_soon, grant)))

    def covering(self, hold: Hold, terms: HoldTerms) -> Grant | None:
        """The grant that meets `terms` of `hold`, if any."""
        return covering(self.grants.values(), hold.requester, terms, hold.rule_set, self.clock())

    def through(self, hold: Hold, approvals: tuple[Approval, ...]) -> list[Grant] | None:
        """The grants that it takes, beside `approvals`, to meet all terms; None if some term is not met."""
        through = []
        for terms in hold.terms:
            if missing(terms, approvals):
                grant = self.covering(hold, terms)
                if grant is None:
                    return None
                through.append(grant)
        return through

    def _lapse_soon(self, grant: Grant) -> None:
        self.spawn(self._lapse(grant))

    async def _lapse(self, grant: Grant) -> None:
        if self.grants.pop(grant.id, None):
            await self.append(grant_record("lapse", "given", grant))
            self.events.tell("grant.lapsed", iso(self.clock()), grant=grant_json(grant))


def by_grants(grants: Sequence[Grant]) -> dict[str, Any]:
    """What an approval through `grants` says of itself."""
    return {
        "by": ", ".join(sorted({person for grant in grants for person in grant.given_by})),
        "via": "grant",
        "reason": "covered by " + ", ".join(grant.id for grant in grants),
    }
