"""Killed at any moment: what was acted upon is in the log, and after a new start every intent has its end."""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ledger_samples import intent, outcome

from callgate.ledger import Ledger, read_public_keys
from callgate.ledger.verify import verify


def worker(opened: Callable[..., Ledger], run: int, upstream: int) -> None:
    """Sixteen calls at a time: the intent, a byte to the upstream, the outcome; until killed."""

    async def calls(ledger: Ledger, lane: int) -> None:
        for n in range(100_000):
            call_id = f"{run}-{lane}-{n}"
            await ledger.append(intent(call_id))
            os.write(upstream, f"{call_id}\n".encode())
            await ledger.append(outcome(call_id))

    async def main() -> None:
        ledger = opened(checkpoint_entries=50)
        await asyncio.gather(*(calls(ledger, lane) for lane in range(16)))

    asyncio.run(main())


def killed_after(delay: float, opened: Callable[..., Ledger], run: int) -> list[str]:
    """Fork a worker, kill it `delay` seconds after its first call; the calls that arrived upstream."""
    arrived, upstream = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(arrived)
        try:
            worker(opened, run, upstream)
        finally:
            os._exit(1)
    os.close(upstream)
    with os.fdopen(arrived, "rb") as recorder:
        first = recorder.read(1)
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
        rest = recorder.read()
    os.waitpid(child, 0)
    return (first + rest).decode().split()


@pytest.mark.timeout(300)
@pytest.mark.case("G07")
def test_killed_at_200_random_moments_nothing_that_went_out_is_missing_and_every_intent_ends_once(
    state: Path, opened: Callable[..., Ledger]
) -> None:
    chance = random.Random(200)
    arrived: list[str] = []
    for run in range(200):
        arrived += killed_after(chance.random() * 0.03, opened, run)
    asyncio.run(opened().close())

    with closing(sqlite3.connect(state / "ledger.db")) as db:
        intents = [s for (s,) in db.execute("SELECT subject FROM entries WHERE kind = 'call.intent'")]
        ends = [s for (s,) in db.execute("SELECT subject FROM entries WHERE step = 'end'")]
        (unknown,) = db.execute("SELECT count(*) FROM calls WHERE result = 'unknown'").fetchone()
    assert len(arrived) > 200
    assert set(arrived) <= set(intents)
    assert sorted(ends) == sorted(intents)
    assert unknown
    assert verify([state / "ledger.db"], read_public_keys(state / "keys" / "ledger.pub")).findings == ()


PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from ledger_samples import intent
from callgate.ledger import Ledger, Signer

async def main():
    state = Path(sys.argv[1])
    ledger = Ledger.open(state, signer=Signer.load(state / "keys/ledger.key"), origin="callgate.test/log")
    for n in range(20):
        await ledger.append(intent(f"call-{n}"))
        os.write(1, f"sent call-{n}".encode())
    os._exit(0)

asyncio.run(main())
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.case("G08")
def test_an_append_returns_only_after_the_write_ahead_log_is_synced(state: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    subprocess.run(
        [
            *["strace", "-f", "-y", "-e", "trace=pwrite64,fdatasync,write", "-o"],
            trace,
            sys.executable,
            "-c",
            PROGRAM,
            state,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    dirty, sent = False, 0
    for line in trace.read_text(errors="replace").splitlines():
        if re.search(r"pwrite64\(\d+<[^>]*ledger\.db-wal>", line):
            dirty = True
        elif re.search(r"fdatasync\(\d+<[^>]*ledger\.db-wal>.*= 0|fdatasync resumed.*= 0", line):
            dirty = False
        elif "sent call-" in line:
            sent += 1
            assert not dirty, f"not synced: {line}"
    assert sent == 20
