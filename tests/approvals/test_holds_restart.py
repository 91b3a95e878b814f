"""A restart: what was asked stays asked, what was answered stays answered, attempts end."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from hold_world import ALICE, BOB, TERMS, MemoryJournal, World, refusal, run

from callgate.approvals.states import ATTEMPT_KINDS
from callgate.call import Payload, Refusal

GRANTING = dataclasses.replace(TERMS, grant=1800.0)


async def killed(world: World, *tasks: asyncio.Task[Any]) -> World:
    """A gateway on the same ledger, after one that was killed: its tasks are gone, it wrote nothing more."""
    entries = list(world.journal.entries)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.holds.close()
    journal = MemoryJournal()
    journal.entries = entries
    journal.steps = {(entry.subject, entry.step) for entry in entries}
    again = World(journal, **world.settings.model_dump(include={"pending_per_principal"}))
    await again.holds.start()
    return again


def test_a_pending_hold_is_found_again_and_its_attempts_ended_abandoned() -> None:
    async def main() -> None:
        world = World()
        attempt = world.attempt(invocation_id="i")
        task = world.start(attempt)
        (hold_id,) = await world.pending()
        again = await killed(world, task)
        assert again.journal.kinds(attempt.call_id) == ["attempt.waiting", "attempt.abandoned"]
        (hold,) = again.holds.list()
        assert (hold["id"], hold["state"], hold["attemptsWaiting"]) == (hold_id, "pending", 0)
        retry = again.start(again.attempt(invocation_id="i", attempt=2))
        await asyncio.sleep(0.1)
        await again.holds.decide(hold_id, ALICE, "approve", "")
        await retry
        assert again.executed == ["k"]
        assert again.journal.kinds().count("hold.opened") == 1

    run(main())


def test_an_approval_that_was_not_used_lets_the_rerun_pass_after_a_restart() -> None:
    async def main() -> None:
        world = World(attempt="1s")
        await refusal(world.call(world.attempt()))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        again = await killed(world)
        assert again.executed == []
        await again.call(again.attempt())
        assert again.journal.kinds(hold_id)[-1] == "hold.used"

    run(main())


def test_a_used_approval_stays_used() -> None:
    async def main() -> None:
        world = World()
        attempt = world.attempt(invocation_id="i")
        waiting = asyncio.get_running_loop().create_task(world.holds.wait(attempt, lambda: False))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        ticket = await waiting
        await world.journal.append(ticket.used())
        again = await killed(world)
        assert again.holds.show(hold_id)["state"] == "used"
        assert (await refusal(again.call(again.attempt(invocation_id="i", attempt=2)))).code == "hold-used"

    run(main())


def test_half_of_a_quorum_survives() -> None:
    async def main() -> None:
        world = World()
        task = world.start(world.attempt(terms=(dataclasses.replace(TERMS, count=2),)))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        again = await killed(world, task)
        with pytest.raises(Refusal, match="already-approved"):
            await again.holds.decide(hold_id, ALICE, "approve", "")
        assert (await again.holds.decide(hold_id, BOB, "approve", ""))["state"] == "approved"

    run(main())


def test_deadlines_pass_while_the_gateway_is_down() -> None:
    async def main() -> None:
        world = World(attempt="1s")
        await refusal(world.call(world.attempt(key="a")))
        await refusal(world.call(world.attempt(key="b")))
        first, second = await world.pending(2)
        await world.holds.decide(first, ALICE, "approve", "")
        await world.holds.close()
        await asyncio.sleep(901)
        again = await killed(world)
        assert again.holds.show(first)["state"] == "lapsed"
        assert again.holds.show(second)["state"] == "expired"

    run(main())


def test_a_denial_still_ends_the_retries_of_the_call() -> None:
    async def main() -> None:
        world = World()
        task = world.start(world.attempt(invocation_id="i"))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "deny", "no")
        await refusal(task)
        again = await killed(world)
        assert (await refusal(again.call(again.attempt(invocation_id="i")))).code == "hold-denied"

    run(main())


def test_grants_survive_and_cover() -> None:
    async def main() -> None:
        world = World()
        task = world.start(world.attempt(terms=(GRANTING,)))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        again = await killed(world)
        assert [each["holdId"] for each in again.holds.grants()] == [hold_id]
        await again.call(again.attempt(key="x", terms=(GRANTING,)))
        await asyncio.sleep(1801)
        assert again.holds.grants() == []

    run(main())


def test_a_hold_bound_to_one_attempt_ends_with_it() -> None:
    async def main() -> None:
        world = World()
        unhashed = dataclasses.replace(world.attempt().call, payload=Payload(10, None))
        task = world.start(world.attempt(call=unhashed))
        (hold_id,) = await world.pending()
        assert world.holds.show(hold_id)["secondsLeft"] == 45
        again = await killed(world, task)
        assert again.holds.show(hold_id)["state"] == "expired"

    run(main())


def test_a_body_without_a_hash_passes_with_its_own_attempt_only() -> None:
    async def main() -> None:
        world = World(attempt="5s")
        call = dataclasses.replace(world.attempt().call, payload=Payload(10, None))
        task = world.start(world.attempt(call=call))
        (first,) = await world.pending()
        await world.holds.decide(first, ALICE, "approve", "")
        await task
        assert world.executed == ["k"]
        told = await refusal(world.call(world.attempt(call=call)))
        assert (told.code, told.status) == ("hold-final", 403)
        left = False
        task = world.start(world.attempt(call=call), gone=lambda: left)
        (second,) = await world.pending()
        left = True
        await refusal(task)
        await asyncio.sleep(0.1)
        assert world.holds.show(second)["state"] == "expired"
        assert (await refusal(world.call(world.attempt(call=call, large=True)))).code == "hold-unhashed"

    run(main())


def test_every_attempt_has_one_end_when_the_gateway_stops() -> None:
    async def main() -> None:
        world = World()
        tasks = [world.start(world.attempt(key=f"k{n}")) for n in range(5)]
        await world.pending(5)
        await world.holds.close()
        told = [await refusal(task) for task in tasks]
        assert {(each.code, each.status, each.retryable) for each in told} == {
            ("gateway-stopping", 503, True)
        }
        again = await killed(world)
        assert len(again.holds.list("pending")) == 5
        ends = [e.kind for e in again.journal.entries if e.kind in ATTEMPT_KINDS and e.step == "attempt:end"]
        assert ends == ["attempt.ended"] * 5

    run(main())


def test_a_ledger_that_takes_nothing_lets_nothing_pass() -> None:
    async def main() -> None:
        world = World()
        world.journal.failing = True
        assert (await refusal(world.call(world.attempt()))).code == "ledger-unavailable"
        assert world.holds.list("all") == []
        world.journal.failing = False
        task = world.start(world.attempt())
        (hold_id,) = await world.pending()
        world.journal.failing = True
        with pytest.raises(Refusal, match="ledger-unavailable"):
            await world.holds.decide(hold_id, ALICE, "approve", "")
        assert world.holds.show(hold_id)["state"] == "pending"
        world.journal.failing = False
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task

    run(main())


def test_an_answer_that_the_ledger_made_after_all_is_taken_from_it() -> None:
    """The ledger gives up waiting after some seconds, and the entry may be written all the same."""

    async def main() -> None:
        world = World()
        task = world.start(world.attempt())
        (hold_id,) = await world.pending()
        append = world.journal.append

        async def late(*records: Any) -> Any:
            await append(*records)
            raise Refusal("ledger-unavailable", "timed out", status=503)

        world.journal.append = late  # type: ignore[method-assign]
        with pytest.raises(Refusal, match="ledger-unavailable"):
            await world.holds.decide(hold_id, ALICE, "approve", "")
        world.journal.append = append  # type: ignore[method-assign]
        with pytest.raises(Refusal, match="approved already"):
            await world.holds.decide(hold_id, BOB, "deny", "")
        await task
        assert world.executed == ["k"]

    run(main())


def test_a_cancelled_caller_counts_as_a_client_that_left() -> None:
    async def main() -> None:
        world = World()
        attempt = world.attempt()
        task = world.start(attempt)
        (hold_id,) = await world.pending()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert world.journal.kinds(attempt.call_id) == ["attempt.waiting", "attempt.abandoned"]
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await asyncio.sleep(1)
        assert world.executed == []
        assert world.holds.show(hold_id)["state"] == "approved"

    run(main())
