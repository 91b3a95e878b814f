"""What 500 waiting holds cost the other calls: a gateway with them beside one without, calls taken in turn.

Exits with 1 if the median latency of others is over 1.3 times what it is without, or memory over 300 MB.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "approvals")]

from held_calls import DONE, People, raw_delete  # noqa: E402

from support.gateway import Gateway, make_home, running, wait_for  # noqa: E402
from support.upstream import recorder  # noqa: E402

HOLDS = 500
ROUNDS = 500
RATIO = 1.3
MEGABYTES = 300
RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]
[[rule]]
id = "held"
effect = "hold"
action = ["s3:DeleteObject"]
hold = { by = ["oncall"], within = "30m" }
"""
SETTINGS = '[approvals]\nattempt = "20m"\nlocal_groups = ["oncall"]\n'


def resident(gateway: Gateway) -> float:
    """Megabytes of memory that the gateway's process has."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def seconds(client: Any) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    client.head_bucket(Bucket="bucket")
    return time.perf_counter() - began


def main() -> int:
    """Measure, print, judge."""
    with ExitStack() as stack:
        upstream = stack.enter_context(recorder(DONE))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        homes = [
            make_home(folder / name, endpoint=upstream.url, rules=RULES, more=SETTINGS) for name in ("a", "b")
        ]
        without, holding = (stack.enter_context(running(home)) for home in homes)
        empty = resident(holding)
        began = time.perf_counter()
        for number in range(HOLDS):
            stack.enter_context(raw_delete(holding, f"key-{number}"))
        people = People(holding.home)
        wait_for(lambda: people.count("pending") >= HOLDS, 60, f"{HOLDS} holds")
        print(f"{HOLDS} calls held within {time.perf_counter() - began:.1f} s")
        clients = [gateway.client("s3") for gateway in (without, holding)]
        for client in clients * 20:
            seconds(client)
        taken = [[seconds(client) for client in clients] for _ in range(ROUNDS)]
        medians = [statistics.median(column) * 1000 for column in zip(*taken, strict=True)]
        ratio, memory = medians[1] / medians[0], resident(holding)
        print(f"p50 of other calls: {medians[0]:.2f} ms without, {medians[1]:.2f} ms with: {ratio:.2f} times")
        print(f"memory: {empty:.0f} MB without, {memory:.0f} MB with")
        began = time.perf_counter()
        for hold in people.list("pending"):
            people.answer(hold)
        wait_for(lambda: people.count("used") >= HOLDS, 60, "all executions")
        print(f"{HOLDS} answered and executed within {time.perf_counter() - began:.1f} s")
        return int(ratio > RATIO or memory > MEGABYTES)


if __name__ == "__main__":
    sys.exit(main())
