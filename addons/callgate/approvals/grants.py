"""Grants: an approval that covers the same requester's further calls under one rule, for a while."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from callgate.approvals import states
from callgate.approvals.approvers import may_answer, missing
from callgate.approvals.hold import Approval, Hold, Requester, from_iso, iso, new_id, terms_from, terms_json
from callgate.decision import HoldTerms
from callgate.journal import Entry, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Until `until` (seconds since the epoch), `requester`'s calls need no further approval under `terms`.

    It holds for the terms and the rule set that it was given under: a rule that is widened later was never
    approved.
    """

    id: str
    requester: Requester
    terms: HoldTerms
    rule_set: str
    until: float
    hold_id: str
    given_by: tuple[str, ...]

    def covers(self, requester: Requester, terms: HoldTerms, rule_set: str, now: float) -> bool:
        """A call of `requester` that is held under `terms` passes."""
        asked = (requester, terms, rule_set)
        return asked == (self.requester, self.terms, self.rule_set) and now < self.until


def grants_of(hold: Hold, approvals: tuple[Approval, ...], now: float) -> list[Grant]:
    """The grants that come with `approvals` of `hold`: one for each rule that gives one and is met."""
    return [
        Grant(
            id=new_id("grant"),
            requester=hold.requester,
            terms=terms,
            rule_set=hold.rule_set,
            until=now + terms.grant,
            hold_id=hold.id,
            given_by=tuple(each.person for each in approvals if may_answer(each.groups, terms)),
        )
        for terms in hold.terms
        if terms.grant and not missing(terms, approvals)
    ]


def covering(
    grants: Iterable[Grant], requester: Requester, terms: HoldTerms, rule_set: str, now: float
) -> Grant | None:
    """The grant among `grants` that lasts longest and meets `terms`, if any."""
    fitting = (each for each in grants if each.covers(requester, terms, rule_set, now))
    return max(fitting, key=lambda grant: grant.until, default=None)


def grant_record(event: str, state: str, grant: Grant, *, by: str | None = None, reason: str = "") -> Record:
    """The record of what happens to a grant in `state`. Raises IllegalTransition."""
    kind, step = states.GRANT_RECORDS[event]
    told = {"state": states.after(states.GRANT, state, event), "endedBy": by, "reason": reason}
    return Record(kind, {**grant_json(grant), **told}, grant.id, step)


def grant_json(grant: Grant) -> dict[str, Any]:
    """The grant as the ledger and people see it."""
    return {
        "grantId": grant.id,
        "holdId": grant.hold_id,
        "issuer": grant.requester.issuer,
        "principalId": grant.requester.principal_id,
        "requestedBy": list(grant.requester.people),
        "rule": grant.terms.rule,
        "terms": terms_json(grant.terms),
        "ruleSet": grant.rule_set,
        "until": iso(grant.until),
        "givenBy": list(grant.given_by),
    }


def restore_grant(entry: Entry) -> Grant:
    """The grant that the log tells of."""
    body: Mapping[str, Any] = entry.body
    return Grant(
        id=body["grantId"],
        requester=Requester(body["issuer"], body["principalId"], tuple(body["requestedBy"])),
        terms=terms_from(body["terms"]),
        rule_set=body["ruleSet"],
        until=from_iso(body["until"]),
        hold_id=body["holdId"],
        given_by=tuple(body["givenBy"]),
    )
