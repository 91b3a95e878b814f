"""Attempts: who passes, who is asked to come back, who is refused."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from hold_world import ALICE, BOB, TERMS, World, refusal, run

from callgate.approvals import Person
from callgate.journal import StepTaken


def test_an_approved_call_passes_once_and_the_ledger_tells_how() -> None:
    async def main() -> None:
        world = World()
        attempt = world.attempt()
        task = world.start(attempt)
        (hold_id,) = await world.pending()
        told = await world.holds.decide(hold_id, ALICE, "approve", "ticket OPS-1")
        assert (told["state"], told["by"], told["reason"]) == ("approved", "alice", "ticket OPS-1")
        ticket = await task
        assert ticket.hold_id == hold_id
        assert world.executed == ["k"]
        assert world.journal.kinds(hold_id) == ["hold.opened", "hold.approved", "hold.used"]
        assert world.journal.kinds(attempt.call_id) == ["attempt.waiting", "attempt.released", "call.intent"]
        assert world.holds.show(hold_id)["state"] == "used"

    run(main())


def test_an_attempt_that_waited_long_enough_is_asked_to_come_back_and_joins_its_hold() -> None:
    async def main() -> None:
        world = World(attempt="45s")
        start = asyncio.get_running_loop().time()
        first = world.attempt(attempt=1, max_attempts=3, invocation_id="i")
        told = await refusal(world.call(first))
        assert (told.code, told.status, told.retryable) == ("hold-pending", 503, True)
        assert 45 <= asyncio.get_running_loop().time() - start < 46
        second = world.start(world.attempt(attempt=2, max_attempts=3, invocation_id="i"))
        (hold_id,) = await world.pending()
        assert hold_id in told.detail
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await second
        assert world.journal.kinds().count("hold.opened") == 1
        assert world.journal.kinds(first.call_id) == ["attempt.waiting", "attempt.ended"]

    run(main())


def test_the_last_attempt_ends_for_good_and_names_id_approvers_and_time() -> None:
    async def main() -> None:
        world = World(attempt="45s")
        told = await refusal(world.call(world.attempt(attempt=3, max_attempts=3)))
        (hold,) = world.holds.list()
        assert (told.code, told.status, told.retryable) == ("hold-final", 403, False)
        assert hold["id"] in told.detail
        assert "oncall" in told.detail
        assert hold["deadline"] in told.detail
        await world.holds.decide(hold["id"], ALICE, "approve", "")
        await world.call(world.attempt(attempt=1, max_attempts=3))
        assert world.executed == ["k"]
        assert world.journal.kinds().count("hold.opened") == 1

    run(main())


def test_an_approval_nobody_uses_lapses_at_the_deadline_of_its_hold() -> None:
    async def main() -> None:
        world = World(attempt="45s")
        await refusal(world.call(world.attempt()))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await asyncio.sleep(900)
        assert world.holds.show(hold_id)["state"] == "lapsed"
        again = world.start(world.attempt())
        (other,) = await world.pending()
        assert other != hold_id
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
        await world.holds.close()

    run(main())


def test_a_hold_that_nobody_answers_expires_and_takes_its_attempts_along() -> None:
    async def main() -> None:
        world = World(attempt="45s")
        terms = dataclasses.replace(TERMS, within=10.0)
        told = await refusal(world.call(world.attempt(terms=(terms,))))
        assert (told.code, told.status) == ("hold-expired", 403)
        assert asyncio.get_running_loop().time() < 11
        assert world.journal.kinds()[-2:] == ["hold.expired", "attempt.ended"]

    run(main())


def test_a_denial_ends_the_call_and_its_retries_but_not_a_new_run() -> None:
    async def main() -> None:
        world = World()
        task = world.start(world.attempt(invocation_id="i"))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, BOB, "deny", "not on a Friday")
        told = await refusal(task)
        assert (told.code, told.status) == ("hold-denied", 403)
        assert "bob" in told.detail
        assert "not on a Friday" in told.detail
        assert (await refusal(world.call(world.attempt(invocation_id="i")))).code == "hold-denied"
        assert world.journal.kinds().count("hold.opened") == 1
        other = world.start(world.attempt(invocation_id="j"))
        await world.pending()
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        await world.holds.close()

    run(main())


def test_of_two_attempts_with_one_fingerprint_one_takes_the_approval_and_the_other_asks_anew() -> None:
    async def main() -> None:
        world = World()
        first, second = (
            world.start(world.attempt(invocation_id="i")),
            world.start(world.attempt(invocation_id="j")),
        )
        (hold_id,) = await world.pending()
        await asyncio.sleep(0.1)
        assert world.holds.show(hold_id)["attemptsWaiting"] == 2
        await world.holds.decide(hold_id, ALICE, "approve", "")
        (other,) = await world.pending()
        assert other != hold_id
        assert len(world.executed) == 1
        await world.holds.decide(other, ALICE, "approve", "")
        await asyncio.gather(first, second)
        assert len(world.executed) == 2

    run(main())


def test_a_retry_after_the_response_was_lost_neither_executes_nor_asks_again() -> None:
    async def main() -> None:
        world = World()
        task = world.start(world.attempt(invocation_id="i", attempt=1), executed=None)
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        told = await refusal(world.call(world.attempt(invocation_id="i", attempt=2)))
        assert told.code == "hold-used"
        assert world.executed == ["k"]
        assert world.journal.kinds().count("hold.opened") == 1

    run(main())


def test_proof_that_nothing_executed_gives_the_approval_back() -> None:
    async def main() -> None:
        world = World()
        task = world.start(world.attempt(invocation_id="i", attempt=1), executed=False)
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        assert world.holds.show(hold_id)["state"] == "approved"
        await world.call(world.attempt(invocation_id="i", attempt=2))
        assert world.executed == ["k"]
        steps = [(e.kind, e.step) for e in world.journal.entries if e.subject == hold_id]
        assert steps[2:] == [
            ("hold.used", "spent:1"),
            ("hold.returned", "returned:1"),
            ("hold.used", "spent:2"),
        ]

    run(main())


def test_a_client_that_leaves_abandons_its_attempt_and_its_hold_stays() -> None:
    async def main() -> None:
        world = World()
        left = False
        attempt = world.attempt()
        task = world.start(attempt, gone=lambda: left)
        (hold_id,) = await world.pending()
        left = True
        assert (await refusal(task)).code == "client-gone"
        assert world.journal.kinds(attempt.call_id) == ["attempt.waiting", "attempt.abandoned"]
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await asyncio.sleep(5)
        assert world.executed == []
        await world.call(world.attempt())
        assert world.executed == ["k"]

    run(main())


@pytest.mark.parametrize("large", [True, False])
def test_a_large_body_is_refused_at_once_and_its_rerun_passes(large: bool) -> None:
    async def main() -> None:
        world = World()
        told = await refusal(world.call(world.attempt(large=True)))
        assert (told.code, told.status, told.retryable) == ("hold-large", 403, False)
        assert asyncio.get_running_loop().time() < 1
        (hold_id,) = await world.pending()
        assert hold_id in told.detail
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await world.call(world.attempt(large=large))
        assert world.executed == ["k"]

    run(main())


def test_two_approvers_at_once_cannot_both_win() -> None:
    async def main() -> None:
        world = World()
        task = world.start(world.attempt())
        (hold_id,) = await world.pending()
        people = [Person(f"p{n}", frozenset({"oncall"}), "token") for n in range(5)]
        verdicts = ["approve", "deny", "approve", "deny", "approve"]
        results = await asyncio.gather(
            *(world.holds.decide(hold_id, p, v, "") for p, v in zip(people, verdicts, strict=True)),  # type: ignore[arg-type]
            return_exceptions=True,
        )
        assert [getattr(each, "code", "won") for each in results].count("won") == 1
        assert [getattr(each, "status", 200) for each in results].count(409) == 4
        await asyncio.gather(task, return_exceptions=True)
        assert sum(kind in ("hold.approved", "hold.denied") for kind in world.journal.kinds()) == 1

    run(main())


def test_a_later_attempt_of_the_same_call_takes_the_place_of_the_one_before() -> None:
    """The SDK gave up on the first, whose connection may still look alive: nobody would read its answer."""

    async def main() -> None:
        world = World()
        first = world.attempt(invocation_id="i", attempt=1)
        lost = world.start(first)
        (hold_id,) = await world.pending()
        second = world.attempt(invocation_id="i", attempt=2)
        task = world.start(second)
        assert (await refusal(lost)).code == "attempt-superseded"
        assert world.journal.kinds(first.call_id) == ["attempt.waiting", "attempt.abandoned"]
        await world.holds.decide(hold_id, ALICE, "approve", "")
        assert (await task).attempt is second
        assert world.executed == ["k"]

    run(main())


def test_a_ticket_that_is_never_settled_does_not_outlive_the_deadline() -> None:
    async def main() -> None:
        world = World(attempt="1s")
        waiting = asyncio.get_running_loop().create_task(world.holds.wait(world.attempt(), lambda: False))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        ticket = await waiting
        await world.journal.append(ticket.used())
        assert (await refusal(world.call(world.attempt()))).code == "hold-pending"
        await asyncio.sleep(900)
        assert world.holds.show(hold_id)["state"] == "used"
        again = world.start(world.attempt())
        (other,) = await world.pending()
        assert other != hold_id
        assert (await refusal(again)).code == "hold-pending"
        await world.holds.settle(ticket, False)
        assert world.journal.kinds(hold_id)[-2:] == ["hold.returned", "hold.lapsed"]
        await world.holds.close()

    run(main())


def test_a_call_that_takes_its_time_across_the_deadline_keeps_the_approval_it_used() -> None:
    async def main() -> None:
        world = World(attempt="45s")
        waiting = asyncio.get_running_loop().create_task(world.holds.wait(world.attempt(), lambda: False))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        ticket = await waiting
        await world.journal.append(ticket.used())
        await asyncio.sleep(1000)
        await world.holds.settle(ticket, True)
        assert world.journal.kinds(hold_id) == ["hold.opened", "hold.approved", "hold.used"]
        await world.holds.close()

    run(main())


def test_an_approval_that_lapses_between_release_and_commit_lets_nothing_pass() -> None:
    async def main() -> None:
        world = World(attempt="2s")
        terms = dataclasses.replace(TERMS, within=1.0)
        attempt = world.attempt(terms=(terms,))
        waiting = asyncio.get_running_loop().create_task(world.holds.wait(attempt, lambda: False))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        ticket = await waiting
        await asyncio.sleep(1.1)
        with pytest.raises(StepTaken):
            await world.journal.append(ticket.used())
        await world.holds.settle(ticket, None)
        assert world.journal.kinds(hold_id)[-1] == "hold.lapsed"
        await world.holds.close()

    run(main())
