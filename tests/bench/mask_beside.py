"""What small calls wait while somebody fetches 4 MB answers that are masked, beside the same without.

A part of `scripts/bench mask`: both go through one gateway, in turn, several times.
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

SECONDS = 4.0
ROUNDS = 4
CONNECTIONS = 4
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


def job(target: str) -> dict[str, Any]:
    """A call of SSM, for the load generator."""
    host = "ssm.us-east-1.amazonaws.com"
    headers = {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}
    body = b'{"Name":"a"}' if target == SMALL else b"{}"
    return {
        "host": host,
        "port": 443,
        "request": base64.b64encode(signed(host, "ssm", headers, body)).decode(),
    }


def load(gateway: Gateway, target: str, connections: int, seconds: float) -> subprocess.Popen[str]:
    """A running load generator."""
    token = base64.b64encode(f"job:{gateway.home.token()}".encode()).decode()
    plan = {
        "proxy": list(gateway.address),
        "authorization": f"Basic {token}",
        "connections": connections,
        "seconds": seconds,
        "fresh": False,
        "jobs": [job(target)],
    }
    command = [sys.executable, str(Path(__file__).parent / "load_client.py"), json.dumps(plan)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def figures(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a load generator measured."""
    found: dict[str, Any] = json.loads(process.communicate(timeout=120)[0])
    if found["wrong"]:
        raise RuntimeError(f"answers other than 200: {found['wrong']}")
    return found


def measure(large: bytes) -> dict[str, float]:
    """Latencies of small calls in milliseconds, medians over the rounds: alone, and beside `large` answers
    that are passed on as they are, and that are masked. `ratio` is p99 beside them by p99 alone.
    """
    small = http_answer(200, b'{"Parameter":{"Name":"a","Value":"b"}}')
    big = http_answer(200, large)
    with (
        tempfile.TemporaryDirectory(prefix="callgate-bench-") as name,
        recorder(lambda raw: small if SMALL.encode() in raw else big) as upstream,
        running(make_home(Path(name) / "gate", endpoint=upstream.url, rules=RULES)) as gateway,
    ):
        figures(load(gateway, MASKED, 1, 0.1))
        figures(load(gateway, SMALL, CONNECTIONS, 1.0))
        taken: dict[str, list[dict[str, Any]]] = {"alone": [], "plain": [], "masked": []}
        answers: dict[str, list[float]] = {"plain": [], "masked": []}
        for _ in range(ROUNDS):
            for kind, target in (("alone", None), ("plain", PLAIN), ("masked", MASKED)):
                beside = load(gateway, target, 1, SECONDS + 1) if target else None
                taken[kind].append(figures(load(gateway, SMALL, CONNECTIONS, SECONDS)))
                if beside:
                    answers[kind].append(figures(beside)["perSecond"])
    said = {
        f"{kind}_{key}": statistics.median(each[key] for each in rounds)
        for kind, rounds in taken.items()
        for key in ("p50", "p99")
    }
    said |= {f"{kind}_answers_per_second": statistics.median(each) for kind, each in answers.items()}
    for kind in ("plain", "masked"):
        pairs = zip(taken[kind], taken["alone"], strict=True)
        said[f"{kind}_ratio"] = statistics.median(one["p99"] / alone["p99"] for one, alone in pairs)
    return said
