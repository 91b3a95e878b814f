"""The facade of this room: attempts wait, people decide, and a restart loses nothing."""

from __future__ import annotations

import builtins
import time
from collections.abc import Callable
from typing import Any

from callgate.approvals.approvers import Person
from callgate.approvals.attempt import Attempt, Ticket, attempt_step
from callgate.approvals.desk import Desk, Verdict
from callgate.approvals.events import Subscription
from callgate.approvals.lobby import Lobby
from callgate.approvals.recovery import recover
from callgate.approvals.room import KEEP, Room
from callgate.approvals.settings import ApprovalSettings
from callgate.approvals.slot import OPEN, Slot, view
from callgate.journal import Journal


class Holds:
    """All holds of one gateway. `clock` gives seconds since the epoch."""

    def __init__(
        self, settings: ApprovalSettings, journal: Journal, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._room = Room(settings, journal, clock)
        self._lobby = Lobby(self._room)
        self._desk = Desk(self._room)

    async def start(self) -> builtins.list[dict[str, Any]]:
        """Take up what the ledger holds.

        Attempts that the last gateway left waiting end abandoned; returns the bodies of their last entries.
        Pending holds are told to listeners again: the last gateway may have died before it told.
        """
        room = self._room
        found = recover(room.journal, room.clock(), KEEP)
        for body in found.left_open:
            ids = (body["attemptId"], body["holdId"], body["invocationId"])
            await room.append(attempt_step("abandon", "waiting", *ids, "gateway-restarted"))
        for grant in found.grants:
            room.keep_grant(grant)
        for hold in found.holds:
            slot = Slot(hold.requester, hold, invocations=found.invocations.get(hold.id, set()))
            room.keep(slot)
            async with slot.lock:
                await room.due(slot)
                if hold.bound_to and slot.is_open:
                    await room.drop(slot, "the only attempt that it could let pass has ended")
                await room.approve_if_met(slot)
            if slot.value.state == "pending":
                room.announce("hold.opened", slot)
        return found.left_open

    async def close(self) -> None:
        """End every attempt with an answer that lets an SDK come back; holds stay as they are."""
        self._lobby.close()
        await self._room.close()

    async def wait(self, attempt: Attempt, gone: Callable[[], bool]) -> Ticket:
        """Wait until the attempt may pass. `gone` says, cheaply and at any time, that its client has left.

        Raises Refusal: `hold-pending` and `gateway-stopping` (503, retryable); with 403 `hold-final`,
        `hold-denied`, `hold-expired`, `hold-used`, `hold-revoked`, `hold-large`, `hold-unhashed`,
        `hold-too-many`; `client-gone` and `attempt-superseded` when nobody is left to answer.
        A caller that is cancelled counts as a client that left.
        """
        return await self._lobby.wait(attempt, gone)

    async def settle(self, ticket: Ticket, executed: bool | None) -> None:
        """Say what became of a ticket: once for each, whatever happened.

        False: it is proved that nothing executed (refused after release, connection failed, throttled), so
        the approval goes back. True or None (nobody knows): it does not.
        """
        await self._room.safely(self._lobby.settle(ticket, executed))

    def hold_of(self, call_id: str) -> str | None:
        """The id of the hold on which the call waits at this moment."""
        return self._lobby.hold_of(call_id)

    def list(self, state: str | None = None) -> builtins.list[dict[str, Any]]:
        """Holds, oldest first: those in `state`, the open ones (None), or all that are remembered (`all`)."""
        wanted = OPEN if state is None else (state,)
        slots = [s for s in self._room.slots.values() if state == "all" or s.value.state in wanted]
        return [view(slot, self._room.clock()) for slot in slots]

    def show(self, hold_id: str) -> dict[str, Any]:
        """One hold. Raises Refusal (404)."""
        return view(self._room.find(hold_id), self._room.clock())

    async def decide(
        self, hold_id: str, person: Person, verdict: Verdict, reason: str = ""
    ) -> dict[str, Any]:
        """Answer a hold; returns it as it stands then.

        Raises Refusal: `hold-unknown` (404); `not-an-approver`, `own-request` (403); `hold-decided`,
        `already-approved` (409).
        """
        return await self._room.safely(self._desk.decide(hold_id, person, verdict, reason))

    def grants(self) -> builtins.list[dict[str, Any]]:
        """The grants in force."""
        return self._desk.grants()

    async def revoke(self, an_id: str, person: Person, reason: str = "") -> dict[str, Any]:
        """Take back a grant, or an approval that no call has used. Returns it as it stands then.

        Raises Refusal: `hold-unknown` (404), `not-an-approver` (403), `hold-decided` (409).
        """
        return await self._room.safely(self._desk.revoke(an_id, person, reason))

    def subscribe(self) -> Subscription:
        """Events from now on: `{"event": kind of the ledger entry, "time", "approval" or "grant"}`."""
        return self._room.events.subscribe()
