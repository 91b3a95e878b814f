"""A load generator: `load_client.py JSON` opens connections through a proxy and prints what it measured as
JSON.

The argument: {"proxy": [host, port], "authorization": "Basic …" or null, "connections": n, "seconds": s,
"idle": n, "fresh": bool, "jobs": [{"host", "port", "request" (base64)}, …]}. Each connection keeps to one
host and sends its requests one after another; with `fresh`, every request has a connection of its own.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import sys
import time
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE


class Wire(asyncio.Protocol):
    """One connection; `ask` sends a request and gives the status of its response."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.waiting: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or self.waiting is None:
            return
        length = _LENGTH.search(self.buffer, 0, end + 2)
        if len(self.buffer) >= end + 4 + (int(length[1]) if length else 0):
            status = int(self.buffer[9:12])
            self.buffer.clear()
            self.waiting.set_result(status)
            self.waiting = None

    def connection_lost(self, error: Exception | None) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(error or ConnectionError("closed"))

    async def ask(self, request: bytes) -> int:
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiting


async def connect(plan: dict[str, Any], job: dict[str, Any]) -> Wire:
    loop = asyncio.get_running_loop()
    transport, wire = await loop.create_connection(Wire, *plan["proxy"])
    target = f"{job['host']}:{job['port']}"
    credential = f"Proxy-Authorization: {plan['authorization']}\r\n" if plan["authorization"] else ""
    status = await wire.ask(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credential}\r\n".encode())
    if status != 200:
        raise ConnectionError(f"CONNECT: {status}")
    inner = await loop.start_tls(transport, wire, CONTEXT, server_hostname=job["host"])
    wire.transport = inner
    return wire


async def run(plan: dict[str, Any]) -> dict[str, Any]:
    jobs = [{**job, "bytes": base64.b64decode(job["request"])} for job in plan["jobs"]]
    latencies: list[float] = []
    wrong: dict[str, int] = {}
    idle = [await connect(plan, jobs[n % len(jobs)]) for n in range(plan.get("idle", 0))]
    wires = (
        []
        if plan["fresh"]
        else [
            (await connect(plan, jobs[n % len(jobs)]), jobs[n % len(jobs)])
            for n in range(plan["connections"])
        ]
    )
    began = time.perf_counter()
    until = began + plan["seconds"]

    async def work(number: int) -> None:
        while time.perf_counter() < until:
            start = time.perf_counter()
            try:
                wire, job = (
                    wires[number]
                    if wires
                    else (await connect(plan, jobs[number % len(jobs)]), jobs[number % len(jobs)])
                )
                status = await wire.ask(job["bytes"])
                if not wires:
                    wire.transport.close()
            except (OSError, ssl.SSLError) as error:
                wrong[type(error).__name__] = wrong.get(type(error).__name__, 0) + 1
                return
            if status == 200:
                latencies.append(time.perf_counter() - start)
            else:
                wrong[str(status)] = wrong.get(str(status), 0) + 1

    await asyncio.gather(*(work(number) for number in range(plan["connections"])))
    took = time.perf_counter() - began
    for wire in idle:
        wire.transport.close()
    latencies.sort()

    def at(share: float) -> float | None:
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000 if latencies else None

    return {
        "requests": len(latencies),
        "perSecond": len(latencies) / took,
        "p50": at(0.5),
        "p99": at(0.99),
        "wrong": wrong,
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
