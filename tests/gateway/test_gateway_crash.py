"""Recorded before it happens: a gateway killed under load, and the order of its system calls."""

from __future__ import annotations

import itertools
import json
import random
import re
import shutil
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from support.gateway import Gateway, Home, make_home, running, wait_for
from support.upstream import Recorder
from support.wire import Wire, request

LANES = 8


def named(name: str) -> bytes:
    """A request whose head and body both carry a name."""
    body = json.dumps({"ExclusiveStartTableName": name}).encode()
    return request(body, more=f"User-Agent: {name}\r\n")


def lane(gateway: Gateway, prefix: str, token: str) -> None:
    """One call after the other on one connection, until the gateway is gone."""
    try:
        with Wire(gateway) as wire:
            wire.connect(token=token)
            wire.tls()
            for number in itertools.count():
                wire.send(named(f"{prefix}-{number}"))
                if not wire.read().status:
                    return
    except OSError:
        return


def killed_under_load(home: Home, upstream: Recorder, run: int, delay: float) -> None:
    """Start the gateway, load it, and kill it `delay` seconds after its first call arrived upstream."""
    with running(home) as gateway:
        upstream.arrived.clear()
        token = home.token()
        lanes = [
            threading.Thread(target=lane, args=(gateway, f"call-{run}-{number}", token))
            for number in range(LANES)
        ]
        for each in lanes:
            each.start()
        assert upstream.arrived.wait(20)
        time.sleep(delay)
        gateway.process.kill()
        gateway.process.wait(10)
        for each in lanes:
            each.join(20)


def kill(folder: Path, upstream: Recorder, times: int) -> None:
    chance = random.Random(times)
    home = make_home(folder, endpoint=upstream.url)
    for run in range(times):
        killed_under_load(home, upstream, run, chance.random() * 0.15)
    with running(home) as gateway:
        gateway.callgate("verify")
        assert gateway.stop() == 0
    arrived = Counter(re.findall(rb'"ExclusiveStartTableName": "(call-[\d-]+)"', bytes(upstream.raw)))
    with closing(sqlite3.connect(folder / "state" / "ledger.db")) as db:
        recorded = Counter(
            str(name).encode()
            for (name,) in db.execute(
                "SELECT entry ->> '$.body.requestParameters.ExclusiveStartTableName'"
                " FROM entries WHERE kind = 'call.intent'"
            )
        )
        ends = Counter(
            subject for (subject,) in db.execute("SELECT subject FROM entries WHERE kind = 'call.outcome'")
        )
        intents = {
            subject for (subject,) in db.execute("SELECT subject FROM entries WHERE kind = 'call.intent'")
        }
        (unknown,) = db.execute("SELECT count(*) FROM calls WHERE result = 'unknown'").fetchone()
    assert len(arrived) > times
    assert arrived <= recorded, arrived - recorded
    assert ends == Counter(intents)
    assert unknown


def test_what_arrived_before_a_kill_has_its_intent_and_every_intent_gets_one_outcome(
    folder: Path, upstream: Recorder
) -> None:
    kill(folder, upstream, 3)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_what_arrived_before_200_kills_has_its_intent_and_every_intent_gets_one_outcome(
    folder: Path, upstream: Recorder
) -> None:
    kill(folder, upstream, 200)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_byte_of_a_call_goes_out_before_its_intent_is_synced(folder: Path, upstream: Recorder) -> None:
    home = make_home(folder, endpoint=upstream.url)
    trace = folder / "trace"
    calls = "trace=pwrite64,fdatasync,fsync,write,writev,sendto,sendmsg"
    strace = ("strace", "-D", "-f", "-y", "-s", "100000", "-e", calls, "-o", str(trace))
    with running(home, wrapper=strace) as gateway:
        with Wire(gateway, seconds=60) as wire:
            wire.connect()
            wire.tls()
            for number in range(20):
                wire.send(named(f"call-{number:02}."))
                assert wire.read().status == 200
        gateway.stop()
    wait_for(lambda: "+++ exited with 0 +++" in trace.read_text(errors="replace")[-2000:], what="the trace")

    written: set[str] = set()
    synced: set[str] = set()
    sent: set[str] = set()
    for line in trace.read_text(errors="replace").splitlines():
        names = set(re.findall(r"call-\d\d\.", line))
        if re.search(r"pwrite64\(\d+<[^>]*ledger\.db-wal>", line):
            written |= names
        elif re.search(r"fdatasync\(\d+<[^>]*ledger\.db-wal>.*= 0|fdatasync resumed.*= 0", line):
            synced |= written
        elif re.search(r"(sendto|sendmsg|write|writev)\(\d+<socket:", line) and names:
            assert names <= synced, f"sent before it was synced: {names - synced}"
            sent |= names
    assert len(sent) == 20
