"""One request on the wire that waits on a hold, its records, and the ticket that lets it pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callgate.approvals import states
from callgate.approvals.hold import Hold, advance
from callgate.call import Call, Payload
from callgate.decision import HoldTerms
from callgate.identity import Identity
from callgate.journal import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request that rules hold.

    `summary` is what people may see of it (plain JSON, redacted). `attempt` and `max_attempts` are what
    `amz-sdk-request` declares, `invocation_id` what `amz-sdk-invocation-id` does; the client is free to
    invent all three. `large` says that the body shall not be kept while people think. `rule_set` is the
    digest that the decision names: a grant ends with the rules that it was given under.
    """

    call_id: str
    identity: Identity
    call: Call
    terms: tuple[HoldTerms, ...]
    summary: Mapping[str, Any] = field(default_factory=dict, repr=False)
    attempt: int | None = None
    max_attempts: int | None = None
    invocation_id: str | None = None
    large: bool = False
    rule_set: str = ""

    @property
    def last(self) -> bool:
        """The SDK will not come back after this attempt, as far as it says."""
        return None not in (self.attempt, self.max_attempts) and (self.attempt or 0) >= (
            self.max_attempts or 0
        )

    @property
    def unhashed(self) -> bool:
        """Some body has no signed hash, so another request with the same fingerprint may carry other
        bytes.
        """
        bodies = [self.call.payload, *self.call.parameters.values()]
        return any(isinstance(each, Payload) and each.sha256 is None for each in bodies)


@dataclass(slots=True, eq=False)
class Ticket:
    """The right of one attempt to pass once. `hold` is the approved hold as it stood when the ticket was
    made.

    The holder appends `used()` in the transaction that commits the intent, and tells `Holds.settle` how it
    went, whatever happens in between.
    """

    hold: Hold
    attempt: Attempt
    handed_out: bool = False

    @property
    def hold_id(self) -> str:
        """For the intent's `holdId`."""
        return self.hold.id

    @property
    def terms(self) -> tuple[HoldTerms, ...]:
        """What was met. After judging anew, a decision whose `holds` differ is not covered by this ticket."""
        return self.hold.terms

    def covers(self, holds: tuple[HoldTerms, ...]) -> bool:
        """The hold rules that match now are those that were met."""
        return set(holds) <= set(self.hold.terms)

    def spent(self) -> Hold:
        """The hold once this ticket is used."""
        return self._use()[0]

    def used(self) -> Record:
        """The record by which this attempt spends the approval; StepTaken upon it says that the approval is
        gone.
        """
        self.handed_out = True
        return self._use()[1]

    def _use(self) -> tuple[Hold, Record]:
        return advance(self.hold, "use", used_by=self.attempt.call_id, invocation=self.attempt.invocation_id)


def attempt_record(event: str, state: str, attempt: Attempt, hold: Hold, reason: str = "") -> Record:
    """The record of what happens to an attempt in `state`. Raises IllegalTransition."""
    return attempt_step(event, state, attempt.call_id, hold.id, attempt.invocation_id, reason)


def attempt_step(
    event: str, state: str, attempt_id: str, hold_id: str, invocation_id: str | None, reason: str
) -> Record:
    """As `attempt_record`, for an attempt of which only its record is left."""
    body: dict[str, Any] = {
        "attemptId": attempt_id,
        "holdId": hold_id,
        "state": states.after(states.ATTEMPT, state, event),
        "invocationId": invocation_id,
    }
    if reason:
        body["reason"] = reason
    kind, step = states.ATTEMPT_RECORDS[event]
    return Record(kind, body, attempt_id, step)
