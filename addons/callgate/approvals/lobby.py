"""Where attempts wait: each ends with a ticket or with a refusal, and with one entry in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from callgate.approvals import refusals
from callgate.approvals.approvers import requester_of
from callgate.approvals.attempt import Attempt, Ticket, attempt_record
from callgate.approvals.hold import Hold, Key, Requester, advance, hold_key, new_id
from callgate.approvals.room import Room, by_grants
from callgate.approvals.slot import OPEN, Slot, Waiter
from callgate.call import Refusal

_CLIENT_CHECK = 0.5
"""Seconds between looks at whether clients are still there."""


class Lobby:
    """The attempts that wait in a room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._waiters: set[Waiter] = set()
        self._client_check: asyncio.TimerHandle | None = None
        self._closing = False

    def close(self) -> None:
        """End every attempt with an answer that lets an SDK come back."""
        self._closing = True
        for waiter in self._waiters:
            waiter.stirred.set()

    async def wait(self, attempt: Attempt, gone: Callable[[], bool]) -> Ticket:
        """As `Holds.wait`."""
        if not attempt.terms:
            raise Refusal(
                "hold-without-terms", "The rule holds the call but does not say who may approve it."
            )
        until = asyncio.get_running_loop().time() + self._room.settings.attempt
        waiter = Waiter(attempt, gone, until)
        self._waiters.add(waiter)
        self._check_clients_later()
        task = self._room.spawn(self._attend(waiter))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiter.left = True
            waiter.stirred.set()
            task.add_done_callback(self._take_back)
            raise

    def hold_of(self, call_id: str) -> str | None:
        """As `Holds.hold_of`."""
        found = (each.slot for each in self._waiters if each.attempt.call_id == call_id and each.slot)
        return next((slot.value.id for slot in found), None)

    async def settle(self, ticket: Ticket, executed: bool | None) -> None:
        """As `Holds.settle`."""
        slot = self._room.slots.get(ticket.hold_id)
        if slot is None or slot.claim is not ticket:
            return
        async with slot.lock:
            if slot.claim is not ticket:
                return
            if ticket.handed_out and slot.value.state == "approved":
                slot.hold = ticket.spent()
                self._room.announce("hold.used", slot)
            try:
                if executed is False and slot.value.state == "used":
                    await self._room.advance(slot, "return")
            finally:
                slot.claim = None
                self._room.index(slot)
                slot.stir()
            if slot.value.bound_to and slot.is_open:
                await self._room.drop(slot, "the only attempt that it could let pass has ended")
            await self._room.due(slot)

    async def _attend(self, waiter: Waiter) -> Ticket:
        try:
            slot = await self._join(waiter)
            while (outcome := self._outcome(waiter, slot)) is None:
                if slot.is_open:
                    await waiter.rest(waiter.until - asyncio.get_running_loop().time())
                else:
                    slot = await self._join(waiter)
            if isinstance(outcome, Ticket):
                return await self._release(waiter, slot, outcome)
            event = "abandon" if waiter.gone() else "end"
            record = attempt_record(event, "waiting", waiter.attempt, slot.value, outcome.code)
            await self._room.append(record)
            raise outcome
        finally:
            self._waiters.discard(waiter)
            if waiter.slot:
                waiter.slot.waiters.discard(waiter)
                if waiter.slot.value.bound_to and waiter.slot.claim is None:
                    self._room.spawn(self._unbind(waiter.slot))

    def _outcome(self, waiter: Waiter, slot: Slot) -> Ticket | Refusal | None:
        """What the attempt gets as things stand: a ticket (claimed herewith), a refusal, or nothing yet."""
        hold, attempt = slot.value, waiter.attempt
        if waiter.gone():
            return refusals.left(waiter.superseded)
        if not slot.is_open:
            return refusals.closed(hold) if answers(hold, attempt) else None
        if hold.state == "approved" and slot.claim is None and self._room.clock() < hold.deadline:
            slot.claim = Ticket(hold, attempt)
            return slot.claim
        if self._closing:
            return refusals.closing(hold)
        if attempt.large:
            return refusals.too_large(hold)
        if asyncio.get_running_loop().time() >= waiter.until:
            return refusals.come_back(hold, attempt)
        return None

    async def _release(self, waiter: Waiter, slot: Slot, ticket: Ticket) -> Ticket:
        try:
            await self._room.append(attempt_record("release", "waiting", waiter.attempt, slot.value))
            if waiter.gone():
                raise refusals.left(waiter.superseded)
        except BaseException:
            await self.settle(ticket, False)
            raise
        return ticket

    async def _join(self, waiter: Waiter) -> Slot:
        """The hold that the attempt belongs to, opened if there is none; recorded with it the first time."""
        attempt, room = waiter.attempt, self._room
        requester = requester_of(room.settings, attempt.identity)
        bound_to = attempt.call_id if attempt.unhashed else None
        key = hold_key(requester, attempt.call.fingerprint, attempt.terms, bound_to)
        recorded = waiter.slot is not None
        while True:
            slot = room.invocations.get((key, attempt.invocation_id)) if attempt.invocation_id else None
            if slot is None or slot.hold is None or not answers(slot.hold, attempt):
                slot = room.current.get(key)
            if slot is None:
                slot = await self._open(self._question(attempt, requester, bound_to), attempt, recorded)
                recorded = True
            async with slot.lock:
                if slot.hold is None:
                    continue
                await room.due(slot)
                if not slot.is_open and not answers(slot.hold, attempt):
                    continue
                if not recorded:
                    await room.append(attempt_record("wait", "new", attempt, slot.hold))
            self._enter(waiter, slot, key)
            return slot

    def _enter(self, waiter: Waiter, slot: Slot, key: Key) -> None:
        if waiter.slot:
            waiter.slot.waiters.discard(waiter)
        if invocation := waiter.attempt.invocation_id:
            # An SDK sends its next attempt when it has given up the last: no reader is left for that one.
            for other in slot.waiters:
                if other.attempt.invocation_id == invocation:
                    other.superseded = True
                    other.stirred.set()
            slot.invocations.add(invocation)
            self._room.invocations[key, invocation] = slot
        waiter.slot = slot
        slot.waiters.add(waiter)

    def _question(self, attempt: Attempt, requester: Requester, bound_to: str | None) -> Hold:
        principal = (requester.issuer, requester.principal_id)
        pending = sum(
            (slot.requester.issuer, slot.requester.principal_id) == principal
            and (slot.hold is None or slot.hold.state == "pending")
            for slot in self._room.current.values()
        )
        if pending >= self._room.settings.pending_per_principal:
            raise Refusal("hold-too-many", "Too many calls of this principal wait for approval already.")
        now = self._room.clock()
        within = min(terms.within for terms in attempt.terms)
        if bound_to:
            within = min(within, self._room.settings.attempt)
        return Hold(
            id=new_id("hold"),
            requester=requester,
            fingerprint=attempt.call.fingerprint,
            terms=tuple(sorted(set(attempt.terms), key=lambda terms: terms.rule)),
            opened_at=now,
            deadline=now + within,
            bound_to=bound_to,
            rule_set=attempt.rule_set,
            asked=_asked(attempt),
        )

    async def _open(self, hold: Hold, attempt: Attempt, recorded: bool) -> Slot:
        """Put the question to people, unless grants have answered it. Raises Refusal."""
        room = self._room
        slot = room.current[hold.key] = Slot(hold.requester)
        async with slot.lock:
            try:
                hold, record = advance(hold, "open")
                records = [record]
                through = room.through(hold, ())
                if through is None and attempt.unhashed and attempt.large:
                    raise refusals.unhashed()
                if through is not None:
                    grants = tuple(grant.id for grant in through)
                    hold, record = advance(hold, "approve", grants=grants, **by_grants(through))
                    records.append(record)
                kinds = [each.kind for each in records]
                if not recorded:
                    records.append(attempt_record("wait", "new", attempt, hold))
                await room.append(*records)
            except BaseException:
                del room.current[hold.key]
                raise
            slot.hold = hold
            room.keep(slot)
        for kind in kinds:
            room.announce(kind, slot)
        return slot

    async def _unbind(self, slot: Slot) -> None:
        async with slot.lock:
            if slot.is_open and slot.claim is None:
                await self._room.drop(slot, "the only attempt that it could let pass has ended")

    def _take_back(self, task: asyncio.Task[Ticket]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._room.spawn(self.settle(task.result(), False))

    def _check_clients_later(self) -> None:
        if self._client_check is None:
            self._client_check = asyncio.get_running_loop().call_later(_CLIENT_CHECK, self._check_clients)

    def _check_clients(self) -> None:
        self._client_check = None
        for waiter in self._waiters:
            if waiter.gone():
                waiter.stirred.set()
        if self._waiters:
            self._check_clients_later()


def answers(hold: Hold, attempt: Attempt) -> bool:
    """A closed hold is the answer to this attempt too.

    A use by another call is not: this one is a second call, and a second question. A use by an earlier
    attempt of the same SDK call is, or a retry after a lost response would execute (or ask) twice.
    """
    if hold.state in OPEN:
        return False
    return hold.state != "used" or (hold.invocation is not None and hold.invocation == attempt.invocation_id)


def _asked(attempt: Attempt) -> dict[str, Any]:
    call, identity = attempt.call, attempt.identity
    return {
        "callId": attempt.call_id,
        "sessionId": identity.session,
        "service": call.service,
        "operation": call.operation,
        "region": call.region,
        "account": call.account,
        "resources": [
            {"action": need.action, "ARN": need.resource, "determined": need.determined}
            for need in call.needs
        ],
        "summary": dict(attempt.summary),
    }
