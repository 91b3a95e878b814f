"""When the file cannot take entries: refusals with a reason, then on without a restart, nothing lost."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from ledger_samples import intent, outcome

from callgate.call import Refusal
from callgate.ledger import Ledger, read_public_keys
from callgate.ledger.verify import verify
from support.outages import OUTAGES, locked, marked_read_only


class Load:
    """Appends intents one after the other; remembers which were taken."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.tried = 0
        self.taken: list[str] = []

    async def append(self, count: int) -> list[Refusal]:
        refusals = []
        for _ in range(count):
            call_id = f"c{self.tried}"
            self.tried += 1
            try:
                await self.ledger.append(intent(call_id, filler="x" * 2000))
            except Refusal as refusal:
                refusals.append(refusal)
            else:
                self.taken.append(call_id)
        return refusals

    async def is_well_again(self) -> None:
        async with asyncio.timeout(20):
            while not self.ledger.health().ok:
                await asyncio.sleep(0.02)


def assert_whole(state: Path, load: Load, outages: int = 1) -> None:
    """All that was taken is in the log once, in one sequence, and what was refused is not."""
    verdict = verify([state / "ledger.db"], read_public_keys(state / "keys" / "ledger.pub"))
    assert verdict.findings == ()
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        assert [i for (i,) in db.execute("SELECT callId FROM calls ORDER BY seq")] == load.taken
        noted = db.execute("SELECT entry -> '$.body' FROM entries WHERE kind = 'ledger.recovered'").fetchall()
    assert len(noted) == outages
    assert all(json.loads(body)["reason"] for (body,) in noted)


@pytest.mark.parametrize(
    ("fault", "reason"),
    OUTAGES,
    ids=lambda value: getattr(value, "__name__", None),
)
def test_calls_are_refused_while_the_file_is_out_of_order_and_pass_again_after(
    with_ledger: Callable[..., None], state: Path, fault: Callable[[Path], Iterator[None]], reason: str
) -> None:
    loads: list[Load] = []

    async def use(ledger: Ledger) -> None:
        load = Load(ledger)
        loads.append(load)
        assert await load.append(5) == []
        with fault(state):  # type: ignore[attr-defined]
            started = time.monotonic()
            refusals = await load.append(12)
            assert refusals
            assert {(r.code, r.status) for r in refusals} == {("ledger-unavailable", 503)}
            assert time.monotonic() - started < 40
            health = ledger.health()
            assert (health.ok, health.reason is not None) == (False, True)
            assert any(part in str(health.reason) for part in reason.split("|"))
        await load.is_well_again()
        assert await load.append(5) == []

    with_ledger(use)
    assert_whole(state, loads[0])


def test_a_lost_write_ahead_log_is_folded_into_the_file_before_it_can_be_missed(
    with_ledger: Callable[..., None], state: Path
) -> None:
    loads: list[Load] = []

    async def use(ledger: Ledger) -> None:
        load = Load(ledger)
        loads.append(load)
        await load.append(5)
        (state / "ledger.db-wal").unlink()
        assert await load.append(5) == []

    with_ledger(use)
    assert_whole(state, loads[0], outages=0)


def test_a_lock_of_another_process_is_waited_for_a_moment(
    with_ledger: Callable[..., None], state: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        with locked(state):
            waiting = asyncio.create_task(ledger.append(intent("c1")))
            await asyncio.sleep(0.2)
        await waiting

    with_ledger(use)


def test_while_the_file_is_locked_all_waiting_calls_are_refused_together(
    with_ledger: Callable[..., None], state: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        with locked(state):
            started = time.monotonic()
            results = await asyncio.gather(
                *(ledger.append(intent(f"c{n}")) for n in range(50)), return_exceptions=True
            )
            assert all(isinstance(result, Refusal) for result in results)
            assert time.monotonic() - started < 10

    with_ledger(use)


def test_an_outage_is_written_to_the_gateways_log(
    with_ledger: Callable[..., None], state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(ledger: Ledger) -> None:
        load = Load(ledger)
        with marked_read_only(state):
            await load.append(3)
        await load.is_well_again()

    with_ledger(use)
    assert [(r.levelname, "no entries" in r.message, "again" in r.message) for r in caplog.records] == [
        ("ERROR", True, False),
        ("WARNING", False, True),
    ]


def test_an_outcome_that_nobody_waits_for_is_held_back_during_an_outage_and_not_lost(
    with_ledger: Callable[..., None], state: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        load = Load(ledger)
        await load.append(1)
        with marked_read_only(state):
            assert await load.append(1)
            ledger.append_soon(outcome("c0"))
            assert await load.append(1)
        await load.is_well_again()
        assert ledger.query("SELECT callId, result FROM calls") == [{"callId": "c0", "result": "completed"}]

    with_ledger(use)
