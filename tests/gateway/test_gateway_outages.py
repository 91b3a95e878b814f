"""A gateway whose ledger cannot be written: calls are refused, say why, and pass again by themselves."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.gateway import Gateway, make_home, running, wait_for
from support.outages import OUTAGES, locked
from support.upstream import Recorder

Fault = Callable[[Path, int], AbstractContextManager[None]]


class Job:
    """Calls with a number each, one after the other: which passed, and how the others were refused."""

    def __init__(self, gateway: Gateway) -> None:
        self.client = gateway.client("dynamodb")
        self.tried = 0
        self.passed: list[str] = []
        self.refused: list[ClientError] = []

    def call(self) -> bool:
        name = f"call-{self.tried:03}"
        self.tried += 1
        try:
            self.client.list_tables(ExclusiveStartTableName=name)
        except ClientError as error:
            self.refused.append(error)
            return False
        self.passed.append(name)
        return True


def outage(folder: Path, upstream: Recorder, fault: Fault, reason: str, seconds: float) -> None:
    home = make_home(folder, endpoint=upstream.url)
    state = folder / "state"
    with running(home) as gateway:
        job = Job(gateway)
        assert job.call()
        assert gateway.health()[0] == 200
        with fault(state, gateway.process.pid):
            until = time.monotonic() + seconds
            wait_for(lambda: not job.call(), what="a refusal")
            while time.monotonic() < until or len(job.refused) < 3:
                assert not job.call()
            for error in job.refused:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 503
                assert re.search(reason, error.response["Error"]["Message"])
            status, said = gateway.health()
            assert status == 503
            assert re.search(reason, json.dumps(said))
            assert "calls are refused" in gateway.log.read_text()
        wait_for(job.call, what="a call that passes again")
        assert job.call()
        assert gateway.health()[0] == 200
        gateway.ended(len(job.passed))
        assert gateway.callgate("verify").returncode == 0
    assert len(upstream.requests) == len(job.passed)
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        intents = db.execute(
            "SELECT requestParameters ->> '$.ExclusiveStartTableName', result FROM calls"
            " WHERE verdict = 'allowed' ORDER BY seq"
        ).fetchall()
        told = "SELECT sum(entry ->> '$.body.refused') FROM entries WHERE kind = 'ledger.recovered'"
        (noted,) = db.execute(told).fetchone()
    assert intents == [(name, "completed") for name in job.passed]
    assert noted >= len(job.refused)


_SHORT = {"disk_full", "locked", "deleted_and_restored_from_what_was_saved"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(
            fault,
            reason,
            id=fault.__name__,
            marks=[] if fault.__name__ in _SHORT else [pytest.mark.full],
        )
        for fault, reason in OUTAGES
    ],
)
def test_calls_are_refused_with_the_reason_and_pass_again_without_a_restart(
    folder: Path, upstream: Recorder, fault: Fault, reason: str
) -> None:
    outage(folder, upstream, fault, reason, 0)


@pytest.mark.full
@pytest.mark.timeout(200)
def test_a_lock_of_a_minute_is_survived(folder: Path, upstream: Recorder) -> None:
    outage(folder, upstream, locked, "locked", 60)
