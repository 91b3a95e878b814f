"""Mixed traffic from fifty clients, with faults: nothing grows or goes unrecorded, no verdict is wrong."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from support.gateway import ALLOW_ALL, Gateway, make_home, running, wait_for
from support.upstream import http_answer, recorder
from support.wire import HOST, Wire, request

RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "no-delete"
effect = "deny"
action = ["dynamodb:DeleteTable"]
[[rule]]
id = "masked"
effect = "mask"
action = ["dynamodb:GetItem"]
response = ['$.Item']
"""
)
ITEM = "soak-canary"
CLIENTS = 50
# Tokens live for five minutes.
TOKEN_SECONDS = 120.0
SAMPLES = 60
COUNTING = Path(__file__).parent / "counting_gateway.py"


def answer(raw: bytes) -> bytes:
    """An item for who asks for one; now and then nonsense."""
    if random.random() < 0.02:
        return b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n"
    body = {"Item": {"secret": {"S": ITEM}}} if b"GetItem" in raw else {"TableNames": []}
    return http_answer(body=json.dumps(body).encode(), Content_Type="application/x-amz-json-1.0")


class Client(threading.Thread):
    """One job that makes calls of all sorts, some of them damaged, until it is told to stop."""

    def __init__(self, gateway: Gateway, number: int, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.gateway, self.number, self.stop = gateway, number, stop
        self.token, self.fetched = "", float("-inf")
        self.wrong: list[str] = []
        self.made: Counter[str] = Counter()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                self._job()
            except OSError:
                self.made["broken"] += 1
            except Exception as exc:  # noqa: BLE001 - a thread's failure is told by the test
                self.wrong.append(repr(exc))
                return

    def _job(self) -> None:
        if time.monotonic() - self.fetched > TOKEN_SECONDS:
            self.token = self.gateway.home.token(run_id=str(self.number))
            self.fetched = time.monotonic()
        with Wire(self.gateway, seconds=30) as wire:
            if wire.connect(token=self.token).status != 200:
                self.wrong.append("no tunnel")
                return
            wire.tls()
            for _ in range(random.randint(1, 20)):
                kind = random.choices(["list", "get", "delete", "bad", "leave"], [60, 20, 10, 5, 5])[0]
                self.made[kind] += 1
                if not self._call(wire, kind):
                    return
                self.stop.wait(random.random() * 0.3)

    def _call(self, wire: Wire, kind: str) -> bool:
        operation = {"get": "GetItem", "delete": "DeleteTable"}.get(kind, "ListTables")
        body = b'{"TableName":"t","Key":{"k":{"S":"v"}}}' if kind == "get" else b"{}"
        body = b'{"TableName":"t"}' if kind == "delete" else body
        more = "Content-Length: 2\r\n" if kind == "bad" else ""
        wire.send(request(body, host=HOST, operation=f"DynamoDB_20120810.{operation}", more=more))
        if kind == "leave":
            return False
        got = wire.read()
        refused = got.status in (400, 403)
        if refused != (kind in ("delete", "bad")) and got.status not in (0, 502, 503):
            self.wrong.append(f"{kind}: {got.status} {got.body[:200]!r}")
        if ITEM.encode() in got.body:
            self.wrong.append("a masked value came back")
        return got.status == 200 or kind == "delete"


class Weight(NamedTuple):
    """Resident kilobytes, open files, threads and tasks of a gateway."""

    kilobytes: int
    files: int
    threads: int
    tasks: int

    @classmethod
    def of(cls, gateway: Gateway, counted: Path) -> Weight:
        proc = Path(f"/proc/{gateway.process.pid}")
        status = (proc / "status").read_text()
        kilobytes = int(status.partition("VmRSS:")[2].split()[0])
        threads = int(status.partition("Threads:")[2].split()[0])
        counted.unlink(missing_ok=True)
        gateway.process.send_signal(signal.SIGUSR1)
        tasks = int(wait_for(lambda: counted.exists() and counted.read_text()))
        return cls(kilobytes, len(os.listdir(proc / "fd")), threads, tasks)


def most(weights: list[Weight]) -> Weight:
    """The largest of each."""
    return Weight(*(max(column) for column in zip(*weights, strict=True)))


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_nothing_grows_and_nothing_is_lost(folder: Path) -> None:
    seconds = float(os.environ.get("CALLGATE_SOAK_SECONDS", "600"))
    counted = folder / "tasks"
    environ = {"CALLGATE_TEST_TASKS": str(counted)}
    with (
        recorder(answer) as far,
        running(
            make_home(folder, endpoint=far.url, rules=RULES),
            form="mitmdump",
            script=COUNTING,
            environ=environ,
        ) as gateway,
    ):
        stop = threading.Event()
        clients = [Client(gateway, number, stop) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        weights = []
        for _ in range(SAMPLES):
            time.sleep(seconds / SAMPLES)
            weights.append(Weight.of(gateway, counted))
        stop.set()
        for client in clients:
            client.join(60)
        assert gateway.stop() == 0
        entries = gateway.entries()
        sent = len(far.requests)
    made = sum((client.made for client in clients), Counter())
    intents = [each["callId"] for each in entries if each["kind"] == "call.intent"]
    ends = [each["callId"] for each in entries if each["kind"] in ("call.outcome", "call.refused")]
    # The first fifth is for caches to fill; of the rest the second half is compared with the first.
    settled = weights[SAMPLES // 5 :]
    early, late = most(settled[: len(settled) // 2]), most(settled[len(settled) // 2 :])
    print(f"\n{seconds:g} s, {dict(made)}, {len(intents)} intents, {sent} sent")
    print(f"until 6/10 {early}\nuntil the end {late}")
    assert [each for client in clients for each in client.wrong] == []
    assert len(ends) == len(set(ends))
    assert set(intents) <= set(ends)
    assert sent <= len(intents)
    assert late.kilobytes < early.kilobytes * 1.05 + 4_000
    assert late.files < early.files + 20
    assert late.threads <= early.threads + 2
    assert late.tasks < early.tasks + 40
