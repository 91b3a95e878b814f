"""People: who may answer what, quorum, grants, revocation."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from hold_world import ALICE, BOB, CAROL, DAVE, TERMS, World, refusal, run

from callgate.approvals import Person
from callgate.call import Payload, Refusal
from callgate.decision import HoldTerms

TWO = dataclasses.replace(TERMS, count=2)
SECURITY = HoldTerms("prod-iam", ("security",), 1, 600.0)
GRANTING = dataclasses.replace(TERMS, grant=1800.0)


async def held(world: World, **more: Any) -> tuple[str, asyncio.Task[Any]]:
    before = {each["id"] for each in world.holds.list("pending")}
    task = world.start(world.attempt(**more))
    while not (new := {each["id"] for each in world.holds.list("pending")} - before):
        await asyncio.sleep(0.01)
    return new.pop(), task


async def stop(world: World, *tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.holds.close()


@pytest.mark.parametrize(
    ("person", "actor", "code"),
    [
        (DAVE, "erin", "not-an-approver"),
        (ALICE, "alice", "own-request"),
        (ALICE, "Alice-GH", "own-request"),
        (Person("unix:kim", frozenset({"*"}), "unix:kim", frozenset({"kim"})), "kim", "own-request"),
    ],
)
@pytest.mark.case("E04")
def test_who_may_not_approve_is_told_so_and_nothing_changes(person: Person, actor: str, code: str) -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, actor=actor)
        with pytest.raises(Refusal) as refused:
            await world.holds.decide(hold_id, person, "approve", "")
        assert (refused.value.code, refused.value.status) == (code, 403)
        assert world.holds.show(hold_id)["state"] == "pending"
        assert world.journal.kinds(hold_id) == ["hold.opened"]
        await stop(world, task)

    run(main())


@pytest.mark.case("E03")
def test_an_approval_of_one_persons_run_is_no_approval_of_anothers() -> None:
    """Else Alice approves Bob's run, lets it lapse, and runs the same job herself."""

    async def main() -> None:
        world = World(attempt="1s")
        await refusal(world.call(world.attempt(actor="bob")))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        assert (await refusal(world.call(world.attempt(actor="alice")))).code == "hold-pending"
        assert world.executed == []

    run(main())


def test_two_of_a_group_are_two_people() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, terms=(TWO,))
        told = await world.holds.decide(hold_id, ALICE, "approve", "first")
        assert (told["state"], told["terms"][0]["missing"]) == ("pending", 1)
        with pytest.raises(Refusal, match="already-approved"):
            await world.holds.decide(hold_id, ALICE, "approve", "again")
        told = await world.holds.decide(hold_id, BOB, "approve", "second")
        assert [each["person"] for each in told["approvals"]] == ["alice", "bob"]
        assert [each["reason"] for each in told["approvals"]] == ["first", "second"]
        await task
        steps = [e.step for e in world.journal.entries if e.subject == hold_id]
        assert steps == ["opened", "approval:alice", "decided", "spent:1"]

    run(main())


def test_two_approvals_at_once_are_both_counted() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, terms=(TWO,))
        await asyncio.gather(*(world.holds.decide(hold_id, p, "approve", "") for p in (ALICE, BOB)))
        await task
        assert world.executed == ["k"]

    run(main())


def test_every_rule_that_holds_a_call_must_be_met_and_the_shortest_time_counts() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, terms=(TERMS, SECURITY))
        assert world.holds.show(hold_id)["secondsLeft"] == 600
        assert (await world.holds.decide(hold_id, ALICE, "approve", ""))["state"] == "pending"
        assert (await world.holds.decide(hold_id, CAROL, "approve", ""))["state"] == "approved"
        await task
        other, task = await held(world, terms=(TERMS, SECURITY))
        assert (await world.holds.decide(other, BOB, "approve", ""))["state"] == "approved"
        await task

    run(main())


def test_one_denial_ends_a_hold_that_others_approved() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, terms=(TWO,))
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await world.holds.decide(hold_id, BOB, "deny", "no")
        assert (await refusal(task)).code == "hold-denied"
        with pytest.raises(Refusal, match="denied already, by bob"):
            await world.holds.decide(hold_id, ALICE, "approve", "")

    run(main())


def test_stronger_terms_are_another_question() -> None:
    async def main() -> None:
        world = World(attempt="1s")
        await refusal(world.call(world.attempt()))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        assert (await refusal(world.call(world.attempt(terms=(TWO,))))).code == "hold-pending"
        assert world.executed == []

    run(main())


@pytest.mark.parametrize(
    "change",
    [{"key": "other"}, {"actor": "frank"}, {"terms": (SECURITY,)}],
    ids=lambda change: next(iter(change)),
)
@pytest.mark.case("E03")
def test_an_approval_does_not_fit_another_call(change: dict[str, Any]) -> None:
    async def main() -> None:
        world = World(attempt="1s")
        await refusal(world.call(world.attempt()))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        assert (await refusal(world.call(world.attempt(**change)))).code == "hold-pending"
        assert world.executed == []

    run(main())


def test_a_revoked_approval_lets_nothing_pass() -> None:
    async def main() -> None:
        world = World(attempt="1s")
        await refusal(world.call(world.attempt()))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        with pytest.raises(Refusal, match="not-an-approver"):
            await world.holds.revoke(hold_id, DAVE, "")
        told = await world.holds.revoke(hold_id, BOB, "changed my mind")
        assert (told["state"], told["by"]) == ("revoked", "bob")
        assert (await refusal(world.call(world.attempt()))).code == "hold-pending"
        with pytest.raises(Refusal, match="hold-decided"):
            await world.holds.revoke(hold_id, BOB, "")

    run(main())


def test_a_revocation_between_release_and_commit_wins_over_the_call() -> None:
    async def main() -> None:
        world = World()
        attempt = world.attempt()
        waiting = asyncio.get_running_loop().create_task(world.holds.wait(attempt, lambda: False))
        (hold_id,) = await world.pending()
        await world.holds.decide(hold_id, ALICE, "approve", "")
        ticket = await waiting
        await world.holds.revoke(hold_id, ALICE, "stop")
        with pytest.raises(Exception, match=r"^$") as taken:
            await world.journal.append(ticket.used())
        assert type(taken.value).__name__ == "StepTaken"
        await world.holds.settle(ticket, False)
        assert world.holds.show(hold_id)["state"] == "revoked"

    run(main())


def test_a_grant_covers_further_calls_releases_pending_ones_and_ends() -> None:
    async def main() -> None:
        world = World(attempt="45s")
        tasks = [world.start(world.attempt(key=f"k{n}", terms=(GRANTING,))) for n in range(40)]
        ids = await world.pending(40)
        await world.holds.decide(ids[7], ALICE, "approve", "apply of OPS-4")
        await asyncio.gather(*tasks)
        assert len(world.executed) == 40
        (grant,) = world.holds.grants()
        assert (grant["givenBy"], grant["secondsLeft"]) == (["alice"], 1800)
        await world.call(world.attempt(key="later", terms=(GRANTING,)))
        assert world.journal.kinds().count("grant.given") == 1
        (used,) = [each for each in world.holds.list("all") if "later" in str(each["resources"])]
        assert (used["via"], used["by"], used["grants"]) == ("grant", "alice", [grant["id"]])
        await asyncio.sleep(1801)
        assert world.holds.grants() == []
        told = await refusal(world.call(world.attempt(key="too late", terms=(GRANTING,))))
        assert told.code == "hold-pending"
        assert world.journal.kinds(grant["id"]) == ["grant.given", "grant.lapsed"]

    run(main())


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "alice"},
        {"rule_set": "sha256:edited"},
        {"terms": (dataclasses.replace(GRANTING, rule="other"),)},
        {"terms": (dataclasses.replace(GRANTING, by=("oncall", "interns")),)},
        {"terms": (dataclasses.replace(GRANTING, grant=None),)},
        {"terms": (GRANTING, SECURITY)},
    ],
    ids=["person", "rules", "rule", "group", "no grant", "another rule too"],
)
def test_a_grant_covers_nothing_beyond_itself(change: dict[str, Any]) -> None:
    async def main() -> None:
        world = World(attempt="1s")
        hold_id, task = await held(world, terms=(GRANTING,))
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        world.executed.clear()
        told = await refusal(world.call(world.attempt(**{"key": "x", "terms": (GRANTING,), **change})))
        assert told.code == "hold-pending"
        assert world.executed == []

    run(main())


def test_a_grant_meets_its_rule_and_people_the_others() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, terms=(GRANTING,))
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        both, task = await held(world, key="x", terms=(GRANTING, SECURITY))
        told = await world.holds.decide(both, CAROL, "approve", "")
        assert told["state"] == "approved"
        await task

    run(main())


def test_a_revoked_grant_covers_no_further_call() -> None:
    async def main() -> None:
        world = World(attempt="1s")
        hold_id, task = await held(world, terms=(GRANTING,))
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        (grant,) = world.holds.grants()
        ticket = await world.holds.wait(world.attempt(key="unused", terms=(GRANTING,)), lambda: False)
        await world.holds.settle(ticket, False)
        told = await world.holds.revoke(grant["id"], BOB, "done")
        assert told["state"] == "revoked"
        assert world.holds.show(ticket.hold_id)["state"] == "revoked"
        assert (await refusal(world.call(world.attempt(key="x", terms=(GRANTING,))))).code == "hold-pending"
        with pytest.raises(Refusal, match="hold-unknown"):
            await world.holds.revoke(grant["id"], BOB, "")

    run(main())


def test_events_tell_what_happens() -> None:
    async def main() -> None:
        world = World()
        subscription = world.holds.subscribe()
        hold_id, task = await held(world)
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        told = [await anext(subscription) for _ in range(3)]
        assert [each["event"] for each in told] == ["hold.opened", "hold.approved", "hold.used"]
        assert {each["approval"]["id"] for each in told} == {hold_id}

    run(main())


def test_a_principal_cannot_flood_people() -> None:
    async def main() -> None:
        world = World(pending_per_principal=3)
        tasks = [(await held(world, key=f"k{n}"))[1] for n in range(3)]
        assert (await refusal(world.call(world.attempt(key="one more")))).code == "hold-too-many"
        await stop(world, *tasks)

    run(main())


def test_a_grant_covers_uploads_whatever_their_bytes() -> None:
    async def main() -> None:
        world = World()
        hold_id, task = await held(world, terms=(GRANTING,))
        call = dataclasses.replace(world.attempt().call, payload=Payload(None, None))
        assert (await refusal(world.call(world.attempt(call=call, terms=(GRANTING,), large=True)))).code == (
            "hold-unhashed"
        )
        await world.holds.decide(hold_id, ALICE, "approve", "")
        await task
        await world.call(world.attempt(call=call, terms=(GRANTING,), large=True))
        assert world.executed == ["k", "k"]

    run(main())
