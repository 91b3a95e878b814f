"""Measures the classifier over all operations, beside botocore's own serialiser and signer in the same run.

Prints JSON: microseconds a request (mean and 99th percentile) for naming the operation and for reading its
parameters, seconds until the index is ready, and the memory of the process after every service was touched.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "aws"))

FRESH = """
import time
start = time.perf_counter()
from callgate.aws.index import index
imported = time.perf_counter()
index()
print(time.perf_counter() - imported)
"""


def main() -> None:
    step = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    ready = float(
        subprocess.run([sys.executable, "-c", FRESH], check=True, capture_output=True, text=True).stdout
    )
    worker = [sys.executable, __file__, "--measure"]
    requests = subprocess.run(
        [sys.executable, __file__, "--build", str(step)], check=True, capture_output=True, text=True
    ).stdout
    measured = subprocess.run(worker, input=requests, check=True, capture_output=True, text=True).stdout
    worker[-1] = "--touch"
    touched = subprocess.run(worker, input=requests, check=True, capture_output=True, text=True).stdout
    print(
        json.dumps(
            {"index_ready_s": round(ready, 3), **json.loads(measured), **json.loads(touched)}, indent=2
        )
    )


def build(step: int) -> None:
    """Prints every step-th request of every service as a line, and what building and signing one took."""
    from botocore.exceptions import BotoCoreError
    from signed import Builder, line, required, session

    made = session()
    took = []
    for service in made.get_available_services():
        builder = Builder(service, made=made)
        for operation in builder.client.meta.service_model.operation_names[::step]:
            model = builder.model(operation)
            given = required(model.input_shape)
            try:
                start = time.perf_counter()
                request = builder.build(operation, given)
                took.append(time.perf_counter() - start)
            except BotoCoreError:
                continue
            print(line(request))
    print(json.dumps({"botocore_us": round(statistics.fmean(took) * 1e6, 1)}))


def measure() -> None:
    """Reads lines of requests; prints what classifying and reading each took when warm, and the memory."""
    from callgate import aws
    from callgate.call import HttpRequest, Refusal
    from callgate.cli.requests import _request

    lines = sys.stdin.read().splitlines()
    botocore_us = json.loads(lines.pop())
    requests = [item for text in lines if isinstance(item := _request(json.loads(text)), HttpRequest)]
    lines.clear()
    naming: list[float] = []
    reading: list[float] = []
    whole: list[float] = []
    endpoints = aws.Endpoints()
    for request in requests:
        # The best of five: what the code takes, not what else the machine did meanwhile.
        try:
            rows = [lap(request, endpoints) for _ in range(5)]
        except Refusal:
            continue
        for times, row in zip((naming, reading, whole), zip(*rows, strict=True), strict=True):
            times.append(min(row))
    said: dict[str, Any] = {"requests": len(requests), **botocore_us}
    for name, times in (("classify", naming), ("parameters", reading), ("read_with_needs", whole)):
        times.sort()
        said[f"{name}_us"] = round(statistics.fmean(times) * 1e6, 1)
        said[f"{name}_p99_us"] = round(times[int(len(times) * 0.99)] * 1e6, 1)
    print(json.dumps(said))


def touch() -> None:
    """Reads the lines as they come, keeping none; prints the memory of a process that has read them all."""
    from callgate import aws
    from callgate.call import HttpRequest, Refusal
    from callgate.cli.requests import items_of

    for item in items_of(sys.stdin.buffer):
        if isinstance(item, HttpRequest):
            with suppress(Refusal):
                aws.read(item)
    print(json.dumps({"memory_mb": memory_mb()}))


def lap(request: Any, endpoints: Any) -> tuple[float, float, float]:
    """Seconds for naming the operation, for reading its parameters, and for all with the needs."""
    from callgate import aws
    from callgate.aws.classify import classify
    from callgate.aws.parameters import read_parameters

    start = time.perf_counter()
    match = classify(request, endpoints)
    named = time.perf_counter()
    read_parameters(match)
    done = time.perf_counter()
    aws.read(request)
    return named - start, done - named, time.perf_counter() - done


def memory_mb() -> int:
    for text in Path("/proc/self/status").read_text().splitlines():
        if text.startswith("VmRSS"):
            return int(text.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    match sys.argv[1:2]:
        case ["--build"]:
            build(int(sys.argv[2]))
        case ["--touch"]:
            touch()
        case ["--measure"]:
            measure()
        case _:
            main()
