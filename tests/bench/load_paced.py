"""A load generator in an open loop: `load_paced.py JSON` sends requests at times that were fixed beforehand,
and prints what it measured as JSON.

The argument: {"proxy": [host, port], "authorization": "Basic …", "connections": n, "rate": per second,
"seconds": s, "seed": n, "job": {"host", "port", "request" (base64)}}. The gaps are exponential (a Poisson
process), the same ones for one seed. A latency runs from when the request was meant to be sent, so that
waiting for a free connection counts.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import selectors
import sys
import time
from typing import Any

from load_client import connect


def schedule(rate: float, seconds: float, seed: int) -> list[float]:
    """When to send, in seconds from the beginning; the first at once."""
    chance = random.Random(seed)
    times, now = [], 0.0
    while now < seconds:
        times.append(now)
        now += chance.expovariate(rate)
    return times


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    """Latencies in milliseconds, of the answers with status 200; counts of the others."""
    job = plan["job"]
    data = base64.b64decode(job["request"])
    free: asyncio.Queue[Any] = asyncio.Queue()
    for _ in range(plan["connections"]):
        free.put_nowait(await connect(plan, job))
    latencies: list[float] = []
    wrong: dict[str, int] = {}

    async def ask(meant: float) -> None:
        wire = await free.get()
        status = await wire.ask(data)
        if status == 200:
            latencies.append((time.perf_counter() - meant) * 1000)
        else:
            wrong[str(status)] = wrong.get(str(status), 0) + 1
        free.put_nowait(wire)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for at in schedule(plan["rate"], plan["seconds"], plan["seed"]):
            if (left := began + at - time.perf_counter()) > 0:
                await asyncio.sleep(left)
            group.create_task(ask(began + at))
    return {"latencies": latencies, "wrong": wrong}


if __name__ == "__main__":
    # epoll would wake up to a millisecond late.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        print(json.dumps(runner.run(run(json.loads(sys.argv[1])))))
