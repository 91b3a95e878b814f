"""Any order of attempts, answers, departures, time and restarts: at most what was approved is executed."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest
from hold_world import ALICE, BOB, JumpingLoop, MemoryJournal, Person, World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from callgate.approvals.states import ATTEMPT, GRANT, HOLD, HOLD_RECORDS
from callgate.call import Refusal
from callgate.decision import HoldTerms

WITHIN = 60.0
TERMS_USED = {
    "one": (HoldTerms("one", ("oncall",), 1, WITHIN),),
    "two": (HoldTerms("two", ("oncall",), 2, WITHIN),),
    "grant": (HoldTerms("grant", ("oncall",), 1, WITHIN, 30.0),),
    "both": (HoldTerms("one", ("oncall",), 1, WITHIN), HoldTerms("grant", ("security",), 1, WITHIN, 30.0)),
}
PEOPLE = [ALICE, BOB, Person("mallory", frozenset({"oncall", "security"}), "token", frozenset({"erin"}))]
OUTCOMES: list[bool | None] = [True, False, None]


class Holding(RuleBasedStateMachine):
    """Drives one gateway after another on one ledger, in a loop whose time jumps."""

    attempts = Bundle("attempts")

    @initialize()
    def begin(self) -> None:
        self.loop = JumpingLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.journal = MemoryJournal(lambda: 1_800_000_000 + self.loop.time())
        self.tasks: list[asyncio.Task[Any]] = []
        self.sent: Counter[str] = Counter()
        self.gone: set[str] = set()
        self.passed: list[tuple[str, str]] = []
        self.number = 0
        self.boot()

    def boot(self) -> None:
        async def start() -> None:
            self.world = World(self.journal, clock=self.journal.clock, attempt="20s")
            await self.world.holds.start()

        self.runner.run(start())

    def let(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    @rule(
        target=attempts,
        key=st.sampled_from(["a", "b"]),
        terms=st.sampled_from(sorted(TERMS_USED)),
        invocation=st.sampled_from([None, "i", "j"]),
        actor=st.sampled_from(["erin", "alice"]),
        executed=st.sampled_from(OUTCOMES),
        takes=st.sampled_from([0.0, 0.5, 30.0]),
        large=st.booleans(),
        settled=st.booleans(),
    )
    def arrive(
        self,
        key: str,
        terms: str,
        invocation: str | None,
        actor: str,
        executed: bool | None,
        takes: float,
        large: bool,
        settled: bool,
    ) -> str:
        self.number += 1
        call_id = f"call-{self.number}"
        attempt = self.world.attempt(
            call_id=call_id,
            key=key,
            terms=TERMS_USED[terms],
            invocation_id=invocation and f"{invocation}{key}{terms}{actor}",
            actor=actor,
            large=large,
        )
        world = self.world

        async def hooks() -> None:
            ticket = await world.holds.wait(attempt, lambda: call_id in self.gone)
            outcome: bool | None = False
            try:
                if not settled:  # the rules deny now, or the token has ended
                    return
                await world.journal.append(ticket.used())
                outcome = executed
                if executed is not False:
                    self.sent[ticket.hold_id] += 1
                    self.passed.append((ticket.hold_id, call_id))
                await asyncio.sleep(takes)
            finally:
                await world.holds.settle(ticket, outcome)

        self.tasks.append(self.loop.create_task(hooks()))
        self.let(0)
        return call_id

    @rule(call_id=consumes(attempts))
    def leave(self, call_id: str) -> None:
        self.gone.add(call_id)

    @rule(
        data=st.data(),
        person=st.sampled_from(PEOPLE),
        verdict=st.sampled_from(["approve", "approve", "deny"]),
    )
    def answer(self, data: st.DataObject, person: Person, verdict: Any) -> None:
        holds = self.world.holds.list("pending")
        if holds:
            hold = data.draw(st.sampled_from(holds), "hold")
            self.tasks.append(self.loop.create_task(self.world.holds.decide(hold["id"], person, verdict, "")))

    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        ids = [each["id"] for each in self.world.holds.list("approved") + self.world.holds.grants()]
        if ids:
            an_id = data.draw(st.sampled_from(ids), "id")
            self.tasks.append(self.loop.create_task(self.world.holds.revoke(an_id, BOB, "")))

    @rule(seconds=st.sampled_from([0.0, 0.0005, 0.001, 0.002, 0.6, 19.999, 20.0, 45.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.let(seconds)

    @rule(graceful=st.booleans())
    def restart(self, graceful: bool) -> None:
        if graceful:
            self.runner.run(self.world.holds.close())
        else:
            # What a killed process has not handed to the ledger is never written.
            journal, self.journal.append = self.journal, self._never  # type: ignore[method-assign]
            self.journal = MemoryJournal(journal.clock)
            self.journal.entries, self.journal.steps = list(journal.entries), set(journal.steps)
        for task in self.tasks:
            task.cancel()
        self.runner.run(self._ended())
        self.boot()

    async def _never(self, *records: Any) -> Any:
        raise Refusal("ledger-unavailable", "killed", status=503)

    async def _ended(self) -> None:
        for result in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(result, BaseException) and not isinstance(result, Refusal | asyncio.CancelledError):
                assert type(result).__name__ == "StepTaken", repr(result)
        self.tasks.clear()
        await self.world.holds.close()

    @invariant()
    def no_more_is_sent_than_was_approved(self) -> None:
        for hold_id, count in self.sent.items():
            assert count == 1, f"{hold_id} let {count} calls pass"
            kinds = self.journal.kinds(hold_id)
            assert "hold.approved" in kinds
            assert kinds.index("hold.approved") < kinds.index("hold.used")

    @invariant()
    def nothing_is_in_memory_that_is_not_in_the_ledger(self) -> None:
        for hold in self.world.holds.list("all"):
            assert hold["state"] in self.states_of(hold["id"])

    def states_of(self, hold_id: str) -> list[str]:
        return [entry.body["state"] for entry in self.journal.entries if entry.subject == hold_id]

    @invariant()
    def the_ledger_holds_legal_histories_only(self) -> None:
        tables = {"hold": HOLD, "attempt": ATTEMPT, "grant": GRANT}
        state: dict[str, str] = {}
        events = {kind: event for event, (kind, _) in HOLD_RECORDS.items()}
        for entry in self.journal.entries:
            assert entry.subject is not None
            table = tables[entry.kind.partition(".")[0]]
            before = state.get(entry.subject, "new")
            after = entry.body["state"]
            if table is HOLD:
                assert table[before][events[entry.kind]] == after, (before, entry)
            else:
                assert after in table[before].values(), (before, entry)
            state[entry.subject] = after

    @invariant()
    def nobody_approved_their_own_call(self) -> None:
        for entry in self.journal.entries:
            if entry.kind in ("hold.approval", "hold.approved"):
                opened = next(e for e in self.journal.entries if e.subject == entry.subject)
                people = {each["person"] for each in entry.body["approvals"]}
                requesters = set(opened.body["requestedBy"])
                assert not (requesters & {"alice"} and "alice" in people)
                assert not (requesters & {"erin"} and "mallory" in people)

    def teardown(self) -> None:
        try:
            self.let(WITHIN * 3)
            self.runner.run(self._ended())
        finally:
            self.runner.close()
        waiting = {e.subject for e in self.journal.entries if e.kind == "attempt.waiting"}
        ended = {e.subject for e in self.journal.entries if e.step == "attempt:end"}
        assert waiting == ended, "every attempt ends"
        for hold in self.world.holds.list("all"):
            assert hold["state"] not in ("pending", "approved"), "every hold ends"
            assert hold["state"] == self.states_of(hold["id"])[-1], "memory and ledger agree"


_HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
Holding.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=_HEALTH
)
TestHolding = Holding.TestCase


class _Long(Holding):
    pass


_Long.TestCase.settings = settings(
    max_examples=3000, stateful_step_count=60, deadline=None, suppress_health_check=_HEALTH
)


@pytest.mark.full
@pytest.mark.timeout(3600)
class TestHoldingLong(_Long.TestCase):  # type: ignore[misc, name-defined]
    pass
