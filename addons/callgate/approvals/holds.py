"""The room in which attempts wait and people decide. What holds is in the ledger; this is its live end.

Every change of a hold happens under its lock and is in the ledger before it is in memory. Changes run in
tasks of their own, so that a client that leaves in the middle of one cannot leave it half done.
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Literal

from callgate.approvals import attempt as attempts
from callgate.approvals.approvers import Person, is_own, may_answer, missing, requester_of
from callgate.approvals.attempt import Attempt, Ticket, attempt_record, attempt_step
from callgate.approvals.grants import Grant, covering, grant_json, grant_record, grants_of
from callgate.approvals.hold import Approval, Hold, Key, advance, hold_key, iso, new_id
from callgate.approvals.recovery import recover
from callgate.approvals.room import OPEN, Slot, Subscription, Waiter, view
from callgate.approvals.settings import ApprovalSettings
from callgate.call import Refusal
from callgate.decision import HoldTerms
from callgate.journal import Journal, Record, StepTaken

Verdict = Literal["approve", "deny"]
Views = list[dict[str, Any]]

_log = logging.getLogger(__name__)
_KEEP = 900.0  # seconds past its deadline for which a hold answers its own attempts' retries, and people
_CLIENT_CHECK = 0.5  # seconds between looks at whether clients are still there
_LEDGER_RETRY = 5.0


class Holds:
    """All holds of one gateway. `clock` gives seconds since the epoch."""

    def __init__(self, settings: ApprovalSettings, journal: Journal, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._slots: dict[str, Slot] = {}
        self._current: dict[Key, Slot] = {}
        self._invocations: dict[tuple[Key, str], Slot] = {}
        self._grants: dict[str, Grant] = {}
        self._waiters: set[Waiter] = set()
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._client_check: asyncio.TimerHandle | None = None
        self._stopping = False

    # Life

    async def start(self) -> Views:
        """Take up what the ledger holds. Attempts that were left open end abandoned; returns their last
        records' bodies.
        """
        found = recover(self._journal, self._clock(), _KEEP)
        for body in found.left_open:
            record = attempt_step(
                "abandon",
                "waiting",
                body["attemptId"],
                body["holdId"],
                body["invocationId"],
                "gateway-restarted",
            )
            await self._journal.append(record)
        self._grants = {grant.id: grant for grant in found.grants}
        for hold in found.holds:
            slot = Slot(hold)
            slot.invocations = found.invocations.get(hold.id, set())
            self._keep(slot)
        for slot in list(self._slots.values()):
            async with slot.lock:
                if slot.value.bound_to and slot.value.state in OPEN:
                    await self._drop(slot, "the attempt that it was bound to is gone")
                else:
                    await self._due(slot)
                    await self._approve_if_met(slot)
        for grant in found.grants:
            self._later(grant.until - self._clock(), partial(self._lapse_later, grant))
        return found.left_open

    async def close(self) -> None:
        """End every attempt with an answer that lets an SDK come back; holds stay as they are."""
        self._stopping = True
        for waiter in self._waiters:
            waiter.stirred.set()
        while self._tasks:
            await asyncio.wait(self._tasks)
        for timer in (*self._timers, *(slot.timer for slot in self._slots.values()), self._client_check):
            if timer is not None:
                timer.cancel()

    # Attempts

    async def wait(self, attempt: Attempt, gone: Callable[[], bool]) -> Ticket:
        """Wait until the attempt may pass. `gone` says, cheaply and at any time, that its client has left.

        Raises Refusal: `hold-pending` (503, retryable), and with 403 `hold-final`, `hold-denied`,
        `hold-expired`, `hold-used`, `hold-revoked`, `hold-large`, `hold-unhashed`; `client-gone` when
        nobody is left to answer. A caller that is cancelled counts as a client that left.
        """
        if not attempt.terms:
            raise Refusal("hold-without-terms", "the rule holds the call without saying who may approve it")
        if attempt.unhashed and attempt.large:
            raise Refusal(
                "hold-unhashed", "a held call with a large body needs a signed x-amz-content-sha256"
            )
        waiter = Waiter(attempt, gone, asyncio.get_running_loop().time() + self._settings.attempt)
        self._waiters.add(waiter)
        self._watch_clients()
        task = self._spawn(self._attend(waiter))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiter.leave()
            task.add_done_callback(self._take_back)
            raise

    async def settle(self, ticket: Ticket, executed: bool | None) -> None:
        """Say what became of a ticket: call it once for each, whatever happened.

        False: it is proved that nothing executed (refused after release, connection failed, throttled), so
        the approval goes back. True or None (nobody knows): it does not.
        """
        await self._safely(self._settle(ticket, executed))

    async def _attend(self, waiter: Waiter) -> Ticket:
        loop = asyncio.get_running_loop()
        attempt = waiter.attempt
        try:
            slot = await self._join(waiter)
            while True:
                hold = slot.value
                if waiter.gone():
                    await self._end(waiter, "abandon", "client-gone")
                    raise Refusal("client-gone", "the client left while its call was held", status=503)
                if hold.state == "approved" and slot.claim is None and self._clock() < hold.deadline:
                    return await self._release(waiter, slot)
                if hold.state not in OPEN:
                    if not _answers(hold, attempt):
                        waiter.slot = None
                        slot.waiters.discard(waiter)
                        slot = await self._join(waiter, again=True)
                        continue
                    raise await self._refuse(waiter, attempts.closed(hold))
                if self._stopping:
                    told = "the gateway is restarting; the call stays held"
                    raise await self._refuse(
                        waiter, Refusal("gateway-stopping", told, status=503, retryable=True)
                    )
                if attempt.large:
                    raise await self._refuse(waiter, attempts.too_large(hold))
                if loop.time() >= waiter.until:
                    raise await self._refuse(waiter, attempts.come_back(hold, attempt))
                await waiter.rest(waiter.until - loop.time())
        finally:
            self._waiters.discard(waiter)
            if waiter.slot:
                waiter.slot.waiters.discard(waiter)
                if waiter.slot.value.bound_to and waiter.slot.claim is None:
                    self._spawn(self._unbind(waiter.slot))

    async def _join(self, waiter: Waiter, *, again: bool = False) -> Slot:
        """The hold that the attempt belongs to, opened if there is none; `again` for an attempt that waited
        already.
        """
        attempt = waiter.attempt
        requester = requester_of(self._settings, attempt.identity)
        bound_to = attempt.call_id if attempt.unhashed else None
        key = hold_key(requester, attempt.call.fingerprint, attempt.terms, bound_to)
        recorded = again
        while True:
            slot = self._invocations.get((key, attempt.invocation_id)) if attempt.invocation_id else None
            if slot is None or slot.hold is None or not _answers(slot.hold, attempt):
                slot = self._current.get(key)
            if slot is None:
                hold = self._question(attempt, requester, bound_to)
                slot = await self._open(hold, attempt, recorded)
                recorded = True
            async with slot.lock:
                if slot.hold is None:
                    continue
                await self._due(slot)
                if slot.hold.state not in OPEN and not _answers(slot.hold, attempt):
                    continue
                if not recorded:
                    await self._append(attempt_record("wait", "new", attempt, slot.hold))
            self._enter(waiter, slot, key)
            return slot

    def _enter(self, waiter: Waiter, slot: Slot, key: Key) -> None:
        """An SDK sends its next attempt when it has given up the one before: that one must not take the
        approval.
        """
        invocation = waiter.attempt.invocation_id
        if invocation:
            for other in slot.waiters:
                if other.attempt.invocation_id == invocation:
                    other.leave()
            slot.invocations.add(invocation)
            self._invocations[key, invocation] = slot
        waiter.slot = slot
        slot.waiters.add(waiter)

    def _question(self, attempt: Attempt, requester: Any, bound_to: str | None) -> Hold:
        pending = sum(
            slot.hold is None or (slot.hold.state == "pending" and slot.hold.requester == requester)
            for slot in self._current.values()
        )
        if pending >= self._settings.pending_per_principal:
            raise Refusal("hold-too-many", "too many calls of this principal wait for approval already")
        now = self._clock()
        within = min(terms.within for terms in attempt.terms)
        if bound_to:
            within = min(within, self._settings.attempt)
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
        slot = Slot()
        self._current[hold.key] = slot
        async with slot.lock:
            try:
                hold, record = advance(hold, "open")
                records = [record]
                through = [self._covering(hold, terms) for terms in hold.terms]
                if all(through):
                    hold, record = advance(hold, "approve", **_by_grants([each for each in through if each]))
                    records.append(record)
                if not recorded:
                    records.append(attempt_record("wait", "new", attempt, hold))
                await self._append(*records)
            except BaseException:
                del self._current[hold.key]
                raise
            slot.hold = hold
            self._keep(slot)
            for record in records:
                self._announce(record.kind, slot)
        return slot

    async def _release(self, waiter: Waiter, slot: Slot) -> Ticket:
        slot.claim = ticket = Ticket(slot.value, waiter.attempt)
        try:
            await self._append(attempt_record("release", "waiting", waiter.attempt, slot.value))
            if waiter.gone():
                raise Refusal("client-gone", "the client left as its call was approved", status=503)
        except BaseException:
            await self._settle(ticket, False)
            raise
        return ticket

    async def _refuse(self, waiter: Waiter, refusal: Refusal) -> Refusal:
        await self._end(waiter, "end", refusal.code)
        return refusal

    async def _end(self, waiter: Waiter, event: str, reason: str) -> None:
        assert waiter.slot is not None
        await self._append(attempt_record(event, "waiting", waiter.attempt, waiter.slot.value, reason))

    async def _unbind(self, slot: Slot) -> None:
        async with slot.lock:
            if slot.value.state in OPEN:
                await self._drop(slot, "the attempt that it was bound to is gone")

    async def _settle(self, ticket: Ticket, executed: bool | None) -> None:
        slot = self._slots.get(ticket.hold_id)
        if slot is None:
            return
        async with slot.lock:
            if slot.claim is not ticket:
                return
            if ticket.handed_out and slot.value.state == "approved":
                slot.hold = ticket.spent()
                self._announce("hold.used", slot)
            if executed is False and slot.value.state == "used":
                await self._advance(slot, "return")
            slot.claim = None
            self._index(slot)
            await self._due(slot)
        slot.stir()
        if slot.value.bound_to:
            await self._unbind(slot)

    def _take_back(self, task: asyncio.Task[Ticket]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._spawn(self._settle(task.result(), False))

    # People

    def list(self, state: str | None = None) -> Views:
        """Holds, oldest first: those in `state`, the open ones (None), or every one still remembered
        (`all`).
        """
        wanted = OPEN if state is None else (state,)
        now = self._clock()
        return [view(s, now) for s in self._slots.values() if state == "all" or s.value.state in wanted]

    def show(self, hold_id: str) -> dict[str, Any]:
        """One hold. Raises Refusal (404)."""
        return view(self._slot(hold_id), self._clock())

    async def decide(
        self, hold_id: str, person: Person, verdict: Verdict, reason: str = ""
    ) -> dict[str, Any]:
        """Answer a hold; returns it as it stands then.

        Raises Refusal: `hold-unknown` (404), `not-an-approver`, `own-request` (403), `hold-decided`,
        `already-approved` (409).
        """
        return await self._safely(self._decide(hold_id, person, verdict, reason))

    async def _decide(self, hold_id: str, person: Person, verdict: Verdict, reason: str) -> dict[str, Any]:
        slot = self._slot(hold_id)
        async with slot.lock:
            await self._due(slot)
            hold = slot.value
            if hold.state != "pending":
                by = f" by {hold.by}" if hold.by else ""
                raise Refusal("hold-decided", f"{hold.id} is {hold.state} already{by}", status=409)
            self._check_say(person, hold.terms)
            if verdict == "deny":
                await self._advance(slot, "deny", by=person.name, via=person.via, reason=reason)
            else:
                await self._endorse(slot, person, reason)
            told = view(slot, self._clock())
        await self._reconsider(slot.value.requester)
        return told

    async def _endorse(self, slot: Slot, person: Person, reason: str) -> None:
        hold, now = slot.value, self._clock()
        if is_own(person, hold.requester):
            raise Refusal(
                "own-request", f"{person.name} stands behind this call, and another person must approve it"
            )
        if person.name in {each.person for each in hold.approvals}:
            raise Refusal("already-approved", f"{person.name} has approved {hold.id} already", status=409)
        mine = Approval(person.name, tuple(sorted(person.groups)), person.via, reason, now)
        approvals = (*hold.approvals, mine)
        changes = {"approvals": approvals, "by": person.name, "via": person.via, "reason": reason}
        met = self._through(hold, approvals)
        if met is None:
            await self._advance(slot, "endorse", **changes)
        else:
            await self._approve(slot, met, **changes)

    async def _approve(self, slot: Slot, through: Sequence[Grant], **changes: Any) -> None:
        """The terms are met: by people, through `grants`, or both. People's approval may give grants."""
        hold, record = advance(slot.value, "approve", grants=tuple(each.id for each in through), **changes)
        given = grants_of(hold, self._clock()) if hold.approvals else []
        await self._append(record, *(grant_record("give", "new", grant) for grant in given))
        slot.hold = hold
        for grant in given:
            self._grants[grant.id] = grant
            self._later(grant.until - self._clock(), partial(self._lapse_later, grant))
        self._changed(slot, record.kind)

    async def _approve_if_met(self, slot: Slot) -> None:
        """For a hold that no person answers now: at start, and when a grant was given."""
        if (
            slot.value.state == "pending"
            and (through := self._through(slot.value, slot.value.approvals)) is not None
        ):
            await self._approve(slot, through, **_by_grants(through))

    async def _reconsider(self, requester: Any) -> None:
        """Grants may have met the terms of other holds of the same requester."""
        for slot in list(self._current.values()):
            if slot.hold and slot.hold.state == "pending" and slot.hold.requester == requester:
                async with slot.lock:
                    await self._due(slot)
                    await self._approve_if_met(slot)

    def grants(self) -> Views:
        """The grants in force."""
        now = self._clock()
        return [
            {"id": each.id, **grant_json(each), "secondsLeft": round(each.until - now)}
            for each in self._grants.values()
            if now < each.until
        ]

    async def revoke(self, an_id: str, person: Person, reason: str = "") -> dict[str, Any]:
        """Take back a grant, or an approval that no call has used.

        Raises Refusal: `hold-unknown` (404), `not-an-approver` (403), `hold-decided` (409).
        """
        return await self._safely(self._revoke(an_id, person, reason))

    async def _revoke(self, an_id: str, person: Person, reason: str) -> dict[str, Any]:
        grant = self._grants.get(an_id)
        if grant is None:
            slot = self._slot(an_id)
            self._check_say(person, slot.value.terms)
            async with slot.lock:
                await self._due(slot)
                await self._take_away(slot, person.name, person.via, reason)
                return view(slot, self._clock())
        self._check_say(person, (grant.terms,))
        await self._append(grant_record("revoke", "given", grant, by=person.name, reason=reason))
        del self._grants[an_id]
        for slot in list(self._current.values()):
            if slot.hold and an_id in slot.hold.grants and slot.hold.state == "approved":
                async with slot.lock:
                    if slot.value.state == "approved":
                        await self._take_away(slot, person.name, person.via, reason)
        self._tell({"event": "grant.revoked", "grant": grant_json(grant)})
        return {"id": an_id, **grant_json(grant), "state": "revoked", "by": person.name, "reason": reason}

    async def _take_away(self, slot: Slot, by: str, via: str, reason: str) -> None:
        if slot.value.state != "approved" or (slot.claim and slot.claim.handed_out):
            state = "in use" if slot.claim else slot.value.state
            raise Refusal(
                "hold-decided",
                f"{slot.value.id} is {state}; only an unused approval can be revoked",
                status=409,
            )
        await self._advance(slot, "revoke", by=by, via=via, reason=reason)

    def subscribe(self) -> Subscription:
        """Events from now on: `{"event": kind, "time", "approval" or "grant"}`."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    # Changes

    async def _advance(self, slot: Slot, event: str, **changes: Any) -> None:
        hold, record = advance(slot.value, event, **changes)
        await self._append(record)
        slot.hold = hold
        self._changed(slot, record.kind)

    async def _drop(self, slot: Slot, reason: str) -> None:
        """Close an open hold ahead of its deadline."""
        event = "expire" if slot.value.state == "pending" else "lapse"
        await self._advance(slot, event, reason=reason)

    async def _due(self, slot: Slot) -> None:
        """What the clock asks for. Called under the lock before anything else is done with a hold."""
        if self._clock() < slot.value.deadline or slot.value.state not in OPEN:
            return
        if slot.claim and slot.claim.handed_out:
            return
        await self._drop(slot, "its deadline passed")

    def _changed(self, slot: Slot, kind: str) -> None:
        self._index(slot)
        self._announce(kind, slot)
        slot.stir()

    def _keep(self, slot: Slot) -> None:
        self._slots[slot.value.id] = slot
        for invocation in slot.invocations:
            self._invocations[slot.value.key, invocation] = slot
        self._index(slot)
        self._arm(slot, slot.value.deadline - self._clock())

    def _index(self, slot: Slot) -> None:
        """A hold is what new attempts join as long as it is open."""
        key = slot.value.key
        if slot.value.state in OPEN:
            self._current[key] = slot
        elif self._current.get(key) is slot:
            del self._current[key]

    def _arm(self, slot: Slot, delay: float) -> None:
        slot.timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._ring, slot)

    def _ring(self, slot: Slot) -> None:
        left = slot.value.deadline - self._clock()
        if left > 0:
            self._arm(slot, left)
        elif slot.value.state in OPEN or slot.claim:
            self._spawn(self._expire(slot))
        elif left > -_KEEP:
            self._arm(slot, left + _KEEP)
        else:
            self._forget(slot)

    async def _expire(self, slot: Slot) -> None:
        try:
            async with slot.lock:
                await self._due(slot)
        except Refusal as refusal:
            _log.error("%s could not be closed: %s", slot.value.id, refusal)
        self._arm(slot, _LEDGER_RETRY)

    def _forget(self, slot: Slot) -> None:
        del self._slots[slot.value.id]
        for invocation in slot.invocations:
            if self._invocations.get((slot.value.key, invocation)) is slot:
                del self._invocations[slot.value.key, invocation]

    def _lapse_later(self, grant: Grant) -> None:
        self._spawn(self._lapse(grant))

    async def _lapse(self, grant: Grant) -> None:
        if self._grants.pop(grant.id, None):
            await self._append(grant_record("lapse", "given", grant))
            self._tell({"event": "grant.lapsed", "grant": grant_json(grant)})

    # Small things

    def _covering(self, hold: Hold, terms: HoldTerms) -> Grant | None:
        if hold.bound_to or not terms.grant:
            return None
        return covering(self._grants.values(), hold.requester, terms, hold.rule_set, self._clock())

    def _through(self, hold: Hold, approvals: tuple[Approval, ...]) -> Sequence[Grant] | None:
        """The grants that it takes, beside `approvals`, to meet all terms; None if some term is not met."""
        through = []
        for terms in hold.terms:
            if missing(terms, approvals):
                grant = self._covering(hold, terms)
                if grant is None:
                    return None
                through.append(grant)
        return through

    def _slot(self, hold_id: str) -> Slot:
        slot = self._slots.get(hold_id)
        if slot is None:
            raise Refusal("hold-unknown", "no hold or grant has that id, or it ended long ago", status=404)
        return slot

    def _check_say(self, person: Person, terms: tuple[HoldTerms, ...]) -> None:
        if not any(may_answer(person.groups, each) for each in terms):
            groups = " or ".join(sorted({group for each in terms for group in each.by}))
            raise Refusal("not-an-approver", f"{person.name} is not in {groups}")

    async def _append(self, *records: Record) -> None:
        try:
            await self._journal.append(*records)
        except StepTaken:
            raise Refusal("hold-decided", "somebody else was first; look again", status=409) from None

    def _announce(self, kind: str, slot: Slot) -> None:
        self._tell({"event": kind, "approval": view(slot, self._clock())})

    def _tell(self, event: dict[str, Any]) -> None:
        event["time"] = iso(self._clock())
        for subscription in self._subscriptions:
            subscription.put(event)

    def _watch_clients(self) -> None:
        if self._client_check is None:
            self._client_check = asyncio.get_running_loop().call_later(_CLIENT_CHECK, self._check_clients)

    def _check_clients(self) -> None:
        self._client_check = None
        for waiter in self._waiters:
            if waiter.gone():
                waiter.stirred.set()
        if self._waiters:
            self._watch_clients()

    def _later(self, delay: float, do: Callable[[], Any]) -> None:
        self._timers.add(asyncio.get_running_loop().call_later(max(0.0, delay), do))

    def _spawn[T](self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, Refusal):
            _log.error("a hold could not be changed", exc_info=error)

    async def _safely[T](self, work: Coroutine[Any, Any, T]) -> T:
        """To its end, though the caller be cancelled."""
        return await asyncio.shield(self._spawn(work))


def _answers(hold: Hold, attempt: Attempt) -> bool:
    """A closed hold is the answer to this attempt too.

    A use by another call is not: this attempt is a second call, and a second question. A use by an earlier
    attempt of the same SDK call is, or a retry after a lost response would execute (or ask) twice.
    """
    if hold.state in OPEN:
        return False
    return hold.state != "used" or (hold.invocation is not None and hold.invocation == attempt.invocation_id)


def _by_grants(grants: Sequence[Grant]) -> dict[str, Any]:
    by = sorted({person for grant in grants for person in grant.given_by})
    return {
        "grants": tuple(grant.id for grant in grants),
        "by": ", ".join(by),
        "via": "grant",
        "reason": "covered by " + ", ".join(grant.id for grant in grants),
    }


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
