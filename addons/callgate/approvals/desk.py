"""Where people decide: who has a say, one answer for each question, grants given and taken back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from callgate.approvals.approvers import Person, is_own, may_answer
from callgate.approvals.grants import Grant, grant_json, grant_record
from callgate.approvals.hold import Approval, Hold, iso
from callgate.approvals.room import Room
from callgate.approvals.slot import Slot, view
from callgate.call import Refusal
from callgate.decision import HoldTerms

Verdict = Literal["approve", "deny"]


class Desk:
    """What people do with the holds of a room."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def decide(self, hold_id: str, person: Person, verdict: Verdict, reason: str) -> dict[str, Any]:
        """As `Holds.decide`."""
        slot = self._room.find(hold_id)
        async with slot.lock:
            await self._room.due(slot)
            hold = slot.value
            if hold.state != "pending":
                raise Refusal("hold-decided", _answered(hold), status=409)
            _check_say(person, hold.terms)
            if verdict == "approve":
                await self._endorse(slot, person, reason)
            else:
                await self._room.advance(slot, "deny", by=person.name, via=person.via, reason=reason)
            told = view(slot, self._room.clock())
        await self._room.reconsider(slot.requester)
        return told

    async def _endorse(self, slot: Slot, person: Person, reason: str) -> None:
        hold = slot.value
        if is_own(person, hold.requester):
            raise Refusal(
                "own-request", f"{person.name} stands behind this call: another person must approve it."
            )
        if any(person.name == each.person for each in hold.approvals):
            raise Refusal("already-approved", f"{person.name} has approved {hold.id} already.", status=409)
        mine = Approval(person.name, tuple(sorted(person.groups)), person.via, reason, self._room.clock())
        approvals = (*hold.approvals, mine)
        through = self._room.through(hold, approvals)
        if through is None:
            await self._room.advance(
                slot, "endorse", approvals=approvals, by=person.name, via=person.via, reason=reason
            )
        else:
            await self._room.approve(
                slot, through, approvals=approvals, by=person.name, via=person.via, reason=reason
            )

    async def revoke(self, an_id: str, person: Person, reason: str) -> dict[str, Any]:
        """As `Holds.revoke`."""
        if grant := self._room.grants.get(an_id):
            return await self._revoke_grant(grant, person, reason)
        slot = self._room.find(an_id)
        _check_say(person, slot.value.terms)
        async with slot.lock:
            await self._room.due(slot)
            if slot.value.state != "approved":
                told = (
                    f"{an_id} is {slot.value.state}; only an approval that no call has used can be revoked."
                )
                raise Refusal("hold-decided", told, status=409)
            await self._room.advance(slot, "revoke", by=person.name, via=person.via, reason=reason)
            return view(slot, self._room.clock())

    async def _revoke_grant(self, grant: Grant, person: Person, reason: str) -> dict[str, Any]:
        _check_say(person, (grant.terms,))
        await self._room.append(grant_record("revoke", "given", grant, by=person.name, reason=reason))
        self._room.grants.pop(grant.id, None)
        for slot in list(self._room.current.values()):
            async with slot.lock:
                if slot.hold and slot.hold.state == "approved" and grant.id in slot.hold.grants:
                    await self._room.end(slot, "revoke", by=person.name, via=person.via, reason=reason)
        self._room.events.tell("grant.revoked", iso(self._room.clock()), grant=grant_json(grant))
        return {
            "id": grant.id,
            **grant_json(grant),
            "state": "revoked",
            "revokedBy": person.name,
            "reason": reason,
        }

    def grants(self) -> list[dict[str, Any]]:
        """As `Holds.grants`."""
        now = self._room.clock()
        return [
            {"id": each.id, **grant_json(each), "secondsLeft": round(each.until - now)}
            for each in self._room.grants.values()
            if now < each.until
        ]


def _answered(hold: Hold) -> str:
    match hold.state:
        case "denied" | "revoked":
            return f"{hold.id} is {hold.state} already, by {hold.by}."
        case "expired":
            return f"{hold.id} is expired."
        case _:
            people = ", ".join(each.person for each in hold.approvals) or "a grant"
            state = "" if hold.state == "approved" else f" and is {hold.state}"
            return f"{hold.id} was approved already, by {people}{state}."


def _check_say(person: Person, terms: Iterable[HoldTerms]) -> None:
    terms = tuple(terms)
    if not any(may_answer(person.groups, each) for each in terms):
        groups = " or ".join(sorted({group for each in terms for group in each.by}))
        raise Refusal("not-an-approver", f"{person.name} is not in {groups}.")
