"""The values of this room: who asks, what is asked, who approved; and a hold as it goes to the ledger and
comes back.
"""

from __future__ import annotations

import dataclasses
import datetime
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callgate.approvals import states
from callgate.decision import HoldTerms
from callgate.journal import Entry, Record

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Requester:
    """Whose calls an approval covers: one principal, and the people behind the job, as verified claims name
    them.
    """

    issuer: str
    principal_id: str
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's yes: their groups and the way they came in at that moment, their reason, seconds since
    the epoch.
    """

    person: str
    groups: tuple[str, ...]
    via: str
    reason: str
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """One question put to people, as it stands.

    `asked` is what people read about the call (plain JSON, redacted). `deadline` (seconds since the epoch)
    ends the question and the approval alike. `bound_to` is the id of the only attempt that may pass, where
    the body has no signed hash to know it by again. `by`, `via` and `reason` tell of the last person (or
    grant) who changed it. `spent` counts how often the approval was spent; `used_by` and `invocation` name
    the attempt that used it and the SDK's call that the attempt belongs to.
    """

    id: str
    requester: Requester
    fingerprint: str
    terms: tuple[HoldTerms, ...]
    opened_at: float
    deadline: float
    bound_to: str | None = None
    rule_set: str = ""
    asked: Mapping[str, Any] = field(default_factory=dict, repr=False)
    state: str = "new"
    approvals: tuple[Approval, ...] = ()
    grants: tuple[str, ...] = ()
    spent: int = 0
    by: str | None = None
    via: str = ""
    reason: str = ""
    used_by: str | None = None
    invocation: str | None = None

    @property
    def key(self) -> Key:
        """What a later attempt must match to join this hold: issuer, principal, people, call, and the terms
        themselves.
        """
        return hold_key(self.requester, self.fingerprint, self.terms, self.bound_to)


def hold_key(
    requester: Requester, fingerprint: str, terms: tuple[HoldTerms, ...], bound_to: str | None
) -> Key:
    """The terms are part of the key, so an approval under weaker terms never satisfies stronger ones."""
    return (requester, fingerprint, frozenset(terms), bound_to)


def new_id(prefix: str) -> str:
    """An id that a person can type: `hold-3f9a1c20be`."""
    return f"{prefix}-{secrets.token_hex(5)}"


def advance(hold: Hold, event: str, **changes: Any) -> tuple[Hold, Record]:
    """`hold` after `event`, and the record that makes it so. `changes` are fields that the event sets.

    Raises IllegalTransition.
    """
    state = states.after(states.HOLD, hold.state, event)
    if state in ("used", "lapsed", "revoked"):
        changes["spent"] = hold.spent + 1
    hold = dataclasses.replace(hold, state=state, **changes)
    kind, step = states.HOLD_RECORDS[event]
    person = hold.approvals[-1].person if hold.approvals else ""
    body = _current(hold) if event != "open" else {**_opened(hold), **_current(hold)}
    return hold, Record(kind, body, hold.id, step.format(n=hold.spent, person=person))


def restore(opened: Entry, last: Entry) -> Hold:
    """The hold that the log tells of: its first entry says what was asked, its last one what holds now."""
    body = opened.body
    hold = Hold(
        id=body["holdId"],
        requester=Requester(body["issuer"], body["principalId"], tuple(body["requestedBy"])),
        fingerprint=body["fingerprint"],
        terms=tuple(terms_from(each) for each in body["terms"]),
        opened_at=from_iso(body["openedAt"]),
        deadline=from_iso(body["deadline"]),
        bound_to=body["boundTo"],
        rule_set=body["ruleSet"],
        asked=body["asked"],
    )
    return as_of(hold, last)


def as_of(hold: Hold, last: Entry) -> Hold:
    """`hold` in the state that its last entry tells."""
    body = last.body
    return dataclasses.replace(
        hold,
        state=body["state"],
        approvals=tuple(
            Approval(a["person"], tuple(a["groups"]), a["via"], a["reason"], from_iso(a["time"]))
            for a in body["approvals"]
        ),
        grants=tuple(body["grants"]),
        spent=body["spent"],
        by=body["by"],
        via=body["via"],
        reason=body["reason"],
        used_by=body["usedBy"],
        invocation=body["invocationId"],
    )


def _opened(hold: Hold) -> dict[str, Any]:
    return {
        "issuer": hold.requester.issuer,
        "principalId": hold.requester.principal_id,
        "requestedBy": list(hold.requester.people),
        "fingerprint": hold.fingerprint,
        "terms": [terms_json(each) for each in hold.terms],
        "openedAt": iso(hold.opened_at),
        "deadline": iso(hold.deadline),
        "boundTo": hold.bound_to,
        "ruleSet": hold.rule_set,
        "asked": dict(hold.asked),
    }


def _current(hold: Hold) -> dict[str, Any]:
    return {
        "holdId": hold.id,
        "state": hold.state,
        "approvals": [approval_json(each) for each in hold.approvals],
        "grants": list(hold.grants),
        "spent": hold.spent,
        "by": hold.by,
        "via": hold.via,
        "reason": hold.reason,
        "usedBy": hold.used_by,
        "invocationId": hold.invocation,
    }


def approval_json(approval: Approval) -> dict[str, Any]:
    """One approval as the ledger and people see it."""
    return {
        "person": approval.person,
        "groups": list(approval.groups),
        "via": approval.via,
        "reason": approval.reason,
        "time": iso(approval.time),
    }


def terms_json(terms: HoldTerms) -> dict[str, Any]:
    """One rule's terms as the ledger keeps them; durations in seconds."""
    return {
        "rule": terms.rule,
        "by": list(terms.by),
        "count": terms.count,
        "within": terms.within,
        "grant": terms.grant,
    }


def terms_from(body: Mapping[str, Any]) -> HoldTerms:
    """The inverse of `terms_json`."""
    return HoldTerms(body["rule"], tuple(body["by"]), body["count"], body["within"], body["grant"])


def iso(seconds: float) -> str:
    """ISO 8601 in UTC with milliseconds, as CloudTrail's times but finer."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> float:
    """Seconds since the epoch of what `iso` wrote."""
    return datetime.datetime.fromisoformat(text).timestamp()
