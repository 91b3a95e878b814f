"""What small calls wait while 4 MB answers are masked, beside the same answers unmasked and beside none.

A part of `scripts/bench mask`: all go through one gateway, in turn, several times. The small calls come in an
open loop, at `RATE` a second, under a sixth of what this gateway can do, so that what is measured is what
masking adds, and not two cores at their limit, which load generators and upstream share with it.
"""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from bench_gateway import signed  # noqa: E402

from support.gateway import Gateway, make_home, running  # noqa: E402
from support.upstream import http_answer, recorder  # noqa: E402

RATE = 100
SECONDS = 3.0
ROUNDS = 9
CONNECTIONS = 16
LIMIT = 1.5
"""The most that p99 may grow by."""
ELSEWHERE = "none; masking elsewhere"
"""The same work, of which the gateway knows nothing: what two cores lose by it."""
RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]
[[rule]]
id = "masks"
effect = "mask"
operation = ["ssm:DescribeInstanceInformation"]
response = ['$.InstanceInformationList[*].IPAddress', '$..ComputerName', '$..AgentVersion']
"""
SMALL, MASKED, PLAIN = (
    "AmazonSSM.GetParameter",
    "AmazonSSM.DescribeInstanceInformation",
    "AmazonSSM.GetInventory",
)
CELLS: dict[str, tuple[str, float | None] | None] = {
    "alone": None,
    ELSEWHERE: None,
    "masked, all the time": (MASKED, None),
    "plain, as many": (PLAIN, 8.0),
    "masked, one a second": (MASKED, 1.0),
}
"""What goes on beside the small calls: which operation, and how many a second."""


def load(
    gateway: Gateway, target: str, rate: float | None, seconds: float, seed: int
) -> subprocess.Popen[str]:
    """A running load generator: `rate` calls a second, or one after another."""
    host = "ssm.us-east-1.amazonaws.com"
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    body = b'{"Name":"a"}' if target == SMALL else b"{}"
    request = base64.b64encode(signed(host, "ssm", headers, body)).decode()
    job = {"host": host, "port": 443, "request": request}
    token = base64.b64encode(f"job:{gateway.home.token()}".encode()).decode()
    plan = {"proxy": list(gateway.address), "authorization": f"Basic {token}", "seconds": seconds}
    if rate is None:
        plan |= {"connections": 1, "fresh": False, "jobs": [job]}
    else:
        plan |= {"connections": CONNECTIONS if target == SMALL else 2, "rate": rate, "seed": seed, "job": job}
    script = Path(__file__).parent / ("load_client.py" if rate is None else "load_paced.py")
    command = [sys.executable, str(script), json.dumps(plan)]
    if target != SMALL:
        # Whoever fetches large answers stands for another machine.
        command[:0] = ["nice", "-n", "10"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def masking_elsewhere() -> subprocess.Popen[str]:
    """A process that masks as the gateway's own does, again and again."""
    here = str(Path(__file__).parent)
    work = (
        f"import os, sys; os.nice(10); sys.path.insert(0, {here!r}); import bench_mask; bench_mask.forever()"
    )
    process = subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def figures(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a load generator measured."""
    found: dict[str, Any] = json.loads(process.communicate(timeout=120)[0])
    if found["wrong"]:
        raise RuntimeError(f"answers other than 200: {found['wrong']}")
    return found


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(large: bytes) -> dict[str, dict[str, float]]:
    """For each cell of `CELLS`: small `calls`, `answers` of `large` beside them a second, `p50` and `p99` of
    the small calls in milliseconds (medians over the rounds; `pooled`: p99 of all rounds together), and
    `ratio`, `low` and `high`: p99 by that of the same round alone, the median over the rounds and its ends.
    """
    small = http_answer(200, b'{"Parameter":{"Name":"a","Value":"b"}}')
    big = http_answer(200, large)
    taken: dict[str, list[list[float]]] = {cell: [] for cell in CELLS}
    answers: dict[str, list[float]] = {cell: [] for cell in CELLS}
    with (
        tempfile.TemporaryDirectory(prefix="callgate-bench-") as name,
        recorder(lambda raw: small if SMALL.encode() in raw else big) as upstream,
        running(make_home(Path(name) / "gate", endpoint=upstream.url, rules=RULES)) as gateway,
    ):
        figures(load(gateway, MASKED, None, 0.1, 0))
        figures(load(gateway, SMALL, RATE, 2.0, 0))
        for number in range(ROUNDS):
            for cell, what in CELLS.items():
                upstream.arrived.clear()
                beside = load(gateway, *what, SECONDS + 2, number) if what else None
                if beside:
                    upstream.arrived.wait(30)
                apart = masking_elsewhere() if cell == ELSEWHERE else None
                taken[cell].append(figures(load(gateway, SMALL, RATE, SECONDS, number))["latencies"])
                if apart:
                    apart.kill()
                    apart.communicate()
                if beside:
                    found = figures(beside)
                    answers[cell].append(found.get("perSecond") or len(found["latencies"]) / (SECONDS + 2))
    tails = {cell: [percentile(each, 0.99) for each in rounds] for cell, rounds in taken.items()}
    said = {}
    for cell, rounds in taken.items():
        ratios = [tail / alone for tail, alone in zip(tails[cell], tails["alone"], strict=True)]
        said[cell] = {
            "calls": float(sum(map(len, rounds))),
            "answers": statistics.median(answers[cell] or [0.0]),
            "p50": statistics.median(map(statistics.median, rounds)),
            "p99": statistics.median(tails[cell]),
            "pooled": percentile([value for each in rounds for value in each], 0.99),
            "ratio": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
        }
    return said
