"""The tables: every transition and every illegal one."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hold_world import EPOCH, TERMS

from callgate.approvals import states
from callgate.approvals.hold import Approval, Hold, Requester, advance, restore
from callgate.journal import Entry

# (table, state, event, state after it)
LEGAL = [
    (states.HOLD, "new", "open", "pending"),
    (states.HOLD, "pending", "endorse", "pending"),
    (states.HOLD, "pending", "approve", "approved"),
    (states.HOLD, "pending", "deny", "denied"),
    (states.HOLD, "pending", "expire", "expired"),
    (states.HOLD, "approved", "use", "used"),
    (states.HOLD, "approved", "lapse", "lapsed"),
    (states.HOLD, "approved", "revoke", "revoked"),
    (states.HOLD, "used", "return", "approved"),
    (states.ATTEMPT, "new", "wait", "waiting"),
    (states.ATTEMPT, "waiting", "release", "released"),
    (states.ATTEMPT, "waiting", "end", "ended"),
    (states.ATTEMPT, "waiting", "abandon", "abandoned"),
    (states.GRANT, "new", "give", "given"),
    (states.GRANT, "given", "lapse", "lapsed"),
    (states.GRANT, "given", "revoke", "revoked"),
]
RECORDS = [
    (states.HOLD, states.HOLD_RECORDS),
    (states.ATTEMPT, states.ATTEMPT_RECORDS),
    (states.GRANT, states.GRANT_RECORDS),
]
ILLEGAL = [
    (table, state, event)
    for table, records in RECORDS
    for state, event in itertools.product(table, records)
    if not any(table is t and (state, event) == (s, e) for t, s, e, _ in LEGAL)
]


@pytest.mark.parametrize(("table", "state", "event", "then"), LEGAL)
def test_what_may_happen(table: states.Table, state: str, event: str, then: str) -> None:
    assert states.after(table, state, event) == then


@pytest.mark.parametrize(("table", "state", "event"), ILLEGAL)
def test_nothing_else_may_happen(table: states.Table, state: str, event: str) -> None:
    with pytest.raises(states.IllegalTransition):
        states.after(table, state, event)


def test_each_event_has_a_record_and_each_state_can_be_reached() -> None:
    for table, records in RECORDS:
        assert {event for events in table.values() for event in events} == set(records)
        assert {"new", *(then for events in table.values() for then in events.values())} == set(table)


@pytest.mark.parametrize(
    ("table", "records", "state", "exclusive"),
    [
        (states.HOLD, states.HOLD_RECORDS, "pending", {"approve", "deny", "expire"}),
        (states.HOLD, states.HOLD_RECORDS, "approved", {"use", "lapse", "revoke"}),
        (states.ATTEMPT, states.ATTEMPT_RECORDS, "waiting", {"release", "end", "abandon"}),
        (states.GRANT, states.GRANT_RECORDS, "given", {"lapse", "revoke"}),
    ],
)
def test_events_that_exclude_each_other_share_a_step(
    table: states.Table, records: dict[str, tuple[str, str]], state: str, exclusive: set[str]
) -> None:
    assert len({records[event][1] for event in exclusive}) == 1
    leaving = {event for event, then in table[state].items() if then != state}
    assert leaving == exclusive


HOLD = Hold(
    id="hold-1",
    requester=Requester("github", "github:acme/infra", ("erin",)),
    fingerprint="f",
    terms=(TERMS, dataclasses.replace(TERMS, rule="other", by=("a", "b"), count=2, grant=60.0)),
    opened_at=EPOCH,
    deadline=EPOCH + 900.5,
    bound_to="call-1",
    rule_set="sha256:00",
    asked={"service": "s3"},
)
ALICE = Approval("alice", ("oncall",), "token", "why", EPOCH + 1)


@pytest.mark.parametrize(
    "events",
    [
        [("endorse", {"approvals": (ALICE,), "by": "alice", "via": "token", "reason": "why"})],
        [
            ("approve", {"approvals": (ALICE,)}),
            ("use", {"used_by": "call-1", "invocation": "i"}),
            ("return", {}),
        ],
        [("approve", {"grants": ("grant-1",)}), ("lapse", {"reason": "late"})],
        [("deny", {"by": "bob", "reason": "no"})],
    ],
)
def test_the_last_entry_of_a_hold_tells_all_of_it(events: list[tuple[str, dict[str, object]]]) -> None:
    hold, record = advance(HOLD, "open")
    entries = [Entry(0, EPOCH, record.kind, record.subject, record.step, record.body, b"")]
    for event, changes in events:
        hold, record = advance(hold, event, **changes)
        entries.append(Entry(len(entries), EPOCH, record.kind, record.subject, record.step, record.body, b""))
    assert restore(entries[0], entries[-1]) == hold


def test_each_use_of_an_approval_that_came_back_has_a_step_of_its_own() -> None:
    hold, _ = advance(HOLD, "open")
    hold, _ = advance(hold, "approve")
    steps = []
    for _ in range(3):
        hold, record = advance(hold, "use")
        steps.append(record.step)
        hold, record = advance(hold, "return")
        steps.append(record.step)
    assert steps == ["spent:1", "returned:1", "spent:2", "returned:2", "spent:3", "returned:3"]
