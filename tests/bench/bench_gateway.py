"""The gateway beside plain mitmdump and a bare master, alternating in one run.

- scripts/bench: two tables, seven minutes
- scripts/bench --quick: shorter and noisier
- scripts/bench --large: with 1 GiB up and down, idle connections and cold start as well
- scripts/bench --json: for scripts

(a) plain mitmdump without addons; (b) mitmproxy's Master with only what forwards; (c) `callgate serve` with
everything on: 200 rules, JSON and XML calls, a mask on one call in ten, a synced ledger; (d) the same
bundle in stock mitmdump. All figures are ratios to be read within one run: machines are noisy.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from rich.console import Console
from rich.table import Table

from local_issuer import _certificate
from support.gateway import ACCESS_KEY, BIN, ROOT, make_home, running, wait_for

HERE = Path(__file__).parent
CONNECTIONS = (1, 16, 64)
GIB = 1024**3
NAMES = {
    "a": "(a) plain mitmdump",
    "b": "(b) lean master",
    "c": "(c) callgate serve",
    "d": "(d) bundle in mitmdump",
}
TICKS = os.sysconf("SC_CLK_TCK")


def rules() -> str:
    """200 rules: one that allows, one that masks, and 198 that have to be told apart from what is asked."""
    lines = ['[[rule]]\nid = "allow"\neffect = "allow"\naction = ["*:*"]\n']
    lines.append(
        '[[rule]]\nid = "mask"\neffect = "mask"\naction = ["secretsmanager:GetSecretValue"]\n'
        "response = ['$.SecretString']\n"
    )
    services = ("dynamodb", "s3", "ec2", "iam", "sts", "secretsmanager", "sqs", "lambda", "kms")
    for number in range(198):
        service = services[number % len(services)]
        lines.append(
            f'[[rule]]\nid = "r{number}"\neffect = "{("deny", "hold")[number % 2]}"\n'
            f'action = ["{service}:Delete*", "{service}:Put*Policy"]\n'
            f'resource = ["arn:aws:{service}:*:*:table/prod-{number}-*"]\n'
            f'principal = {{ repository = "acme/team-{number}-*" }}\n'
            + ('hold = { by = ["oncall"] }\n' if number % 2 else "")
        )
    return "\n".join(lines)


def signed(host: str, service: str, headers: dict[str, str], body: bytes) -> bytes:
    """A request as an SDK would sign it (with a key that nobody checks)."""
    request = AWSRequest("POST", f"https://{host}/", data=body, headers={"Host": host, **headers})
    SigV4Auth(Credentials(ACCESS_KEY, "secret"), service, "us-east-1").add_auth(request)
    fields = {**dict(request.headers.items()), "Content-Length": str(len(body)), "User-Agent": "Boto3/1.44.5"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST / HTTP/1.1\r\n{head}\r\n".encode() + body


def jobs(kind: str, port: int) -> list[dict[str, Any]]:
    """Ten connections' worth of work: six JSON, three XML, one masked."""
    item = signed(
        "dynamodb.us-east-1.amazonaws.com",
        "dynamodb",
        {"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": "application/x-amz-json-1.0"},
        b'{"TableName":"jobs","Key":{"id":{"S":"1"}}}',
    )
    who = signed(
        "sts.us-east-1.amazonaws.com",
        "sts",
        {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"Action=GetCallerIdentity&Version=2011-06-15",
    )
    secret = signed(
        "secretsmanager.us-east-1.amazonaws.com",
        "secretsmanager",
        {"X-Amz-Target": "secretsmanager.GetSecretValue", "Content-Type": "application/x-amz-json-1.1"},
        b'{"SecretId":"db"}',
    )
    mixed = [
        (f"{name}.us-east-1.amazonaws.com", request)
        for name, request in [("dynamodb", item)] * 6 + [("sts", who)] * 3 + [("secretsmanager", secret)]
    ]
    direct = kind in "ab"
    return [
        {
            "host": "localhost" if direct else host,
            "port": port if direct else 443,
            "request": base64.b64encode(request).decode(),
        }
        for host, request in mixed
    ]


def bulk_head(*, up: int, down: int) -> bytes:
    """The head of an S3 upload, or of a download, of so many bytes."""
    method = "PUT" if up else "GET"
    url = "https://s3.us-east-1.amazonaws.com/bucket/key"
    request = AWSRequest(method, url, headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"})
    SigV4Auth(Credentials(ACCESS_KEY, "secret"), "s3", "us-east-1").add_auth(request)
    fields = {"Host": "s3.us-east-1.amazonaws.com", **dict(request.headers.items())}
    fields |= {"Content-Length": str(up)} if up else {"X-Bench-Size": str(down)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} /bucket/key HTTP/1.1\r\n{head}\r\n".encode()


class Candidate:
    """One proxy under test."""

    def __init__(self, kind: str, port: int, pid: int, token: Callable[[], str] | None) -> None:
        self.kind = kind
        self.port = port
        self.pid = pid
        self.token = token
        self.results: dict[str, list[dict[str, Any]]] = {}

    @property
    def authorization(self) -> str | None:
        """What a job shows now: a token lives for minutes, a whole run for longer."""
        return "Basic " + base64.b64encode(f"job:{self.token()}".encode()).decode() if self.token else None

    def cpu(self) -> float:
        """CPU seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self, what: str = "VmRSS") -> float:
        """Resident memory in MB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"no {what} in /proc")

    def load(
        self, upstream: int, connections: int, seconds: float, *, idle: int = 0, fresh: bool = False
    ) -> dict[str, Any]:
        """One measured run."""
        plan = {
            "proxy": ["127.0.0.1", self.port],
            "authorization": self.authorization,
            "connections": connections,
            "seconds": seconds,
            "idle": idle,
            "fresh": fresh,
            "jobs": jobs(self.kind, upstream),
        }
        before = self.cpu()
        done = subprocess.run(
            [sys.executable, str(HERE / "load_client.py"), json.dumps(plan)],
            capture_output=True,
            text=True,
            timeout=seconds + 120,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        result: dict[str, Any] = json.loads(done.stdout)
        if result["wrong"]:
            raise RuntimeError(f"{NAMES[self.kind]}: {result['wrong']}")
        result["cpuMs"] = (self.cpu() - before) * 1000 / max(1, result["requests"])
        result["memory"] = self.memory()
        return result

    def bulk(self, upstream: int, *, up: int = 0, down: int = 0) -> tuple[float, float]:
        """Seconds for one large body, and the peak of memory meanwhile above what it was before (MB)."""
        plan = {
            "proxy": ["127.0.0.1", self.port],
            "authorization": self.authorization,
            "host": "localhost" if self.kind in "ab" else "s3.us-east-1.amazonaws.com",
            "port": upstream if self.kind in "ab" else 443,
            "head": base64.b64encode(bulk_head(up=up, down=down)).decode(),
            "up": up,
            "down": down,
        }
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        before = self.memory()
        done = subprocess.run(
            [sys.executable, str(HERE / "load_bulk.py"), json.dumps(plan)],
            capture_output=True,
            text=True,
            timeout=600,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return float(done.stdout), self.memory("VmHWM") - before


@contextmanager
def process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    with log.open("wb") as out:
        started = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        started.wait(30)


@contextmanager
def candidates(
    folder: Path, kinds: str, *, stream: bool = False
) -> Iterator[tuple[int, dict[str, Candidate]]]:
    """The upstream's port and the running proxies."""
    certificate = _certificate(folder)
    with ExitStack() as stack:
        log = folder / "upstream.log"
        stack.enter_context(process([sys.executable, str(HERE / "load_upstream.py"), str(certificate)], log))
        upstream = int(wait_for(lambda: log.read_text().strip(), what="the upstream"))
        found: dict[str, Candidate] = {}
        if "a" in kinds:
            log_a = folder / "a.log"
            command = [str(BIN / "mitmdump"), "--listen-port=0", "--listen-host=127.0.0.1", "--ssl-insecure"]
            command += ["--set", f"confdir={folder / 'confdir-a'}", "--set", "flow_detail=0"]
            started = stack.enter_context(process(command, log_a))
            said = wait_for(
                lambda: "listening at" in log_a.read_text() and log_a.read_text(), what="mitmdump"
            )
            found["a"] = Candidate("a", int(said.partition("127.0.0.1:")[2].split(".")[0]), started.pid, None)
        if "b" in kinds:
            port_file = folder / "b.port"
            command = [
                sys.executable,
                str(HERE / "lean_master.py"),
                str(port_file),
                str(folder / "confdir-b"),
            ]
            started = stack.enter_context(process(command + ["stream"] * stream, folder / "b.log"))
            port = wait_for(lambda: port_file.exists() and port_file.read_text(), what="the lean master")
            found["b"] = Candidate("b", int(port), started.pid, None)
        for kind, form, quiet in (("c", "serve", ()), ("d", "mitmdump", ("--set", "flow_detail=0"))):
            if kind in kinds:
                home = make_home(folder / kind, endpoint=f"https://127.0.0.1:{upstream}", rules=rules())
                text = home.config.read_text().replace("[aws]", f'[aws]\nca = "{folder / "ca.pem"}"')
                home.config.write_text(text + "\n[limits]\nsession_connections = 2000\n")
                gateway = stack.enter_context(running(home, form=form, options=quiet))
                found[kind] = Candidate(kind, gateway.address[1], gateway.process.pid, home.token)
        yield upstream, found


def throughput(folder: Path, repeats: int, seconds: float) -> dict[str, Candidate]:
    """Requests per second of all four at each number of connections, in turn, `repeats` times."""
    with candidates(folder, "abcd") as (upstream, found):
        for candidate in found.values():
            candidate.load(upstream, 16, 1.0)
        for _ in range(repeats):
            for connections in CONNECTIONS:
                for candidate in found.values():
                    result = candidate.load(upstream, connections, seconds)
                    candidate.results.setdefault(str(connections), []).append(result)
            for candidate in found.values():
                result = candidate.load(upstream, 8, seconds, fresh=True)
                candidate.results.setdefault("fresh", []).append(result)
        return found


def ratios(found: dict[str, Candidate], one: str, other: str, key: str, connections: str) -> list[float]:
    """`key` of one by that of the other, run by run."""
    pairs = zip(found[one].results[connections], found[other].results[connections], strict=True)
    return [left[key] / right[key] for left, right in pairs]


def spread(values: list[float]) -> dict[str, float]:
    """Median and ends."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(found: dict[str, Candidate]) -> dict[str, Any]:
    """What the issue asks: medians of ratios, with their spread."""

    added = [
        mine["p50"] - theirs["p50"]
        for mine, theirs in zip(found["c"].results["1"], found["b"].results["1"], strict=True)
    ]
    return {
        "c/a at 16": spread(ratios(found, "c", "a", "perSecond", "16")),
        "c/b at 16": spread(ratios(found, "c", "b", "perSecond", "16")),
        "d/a at 16": spread(ratios(found, "d", "a", "perSecond", "16")),
        "c/a at 64": spread(ratios(found, "c", "a", "perSecond", "64")),
        "c/a new connections": spread(ratios(found, "c", "a", "perSecond", "fresh")),
        "p50 added over b at 1 (ms)": spread(added),
    }


def large_bodies(folder: Path, repeats: int) -> dict[str, Any]:
    """(c) beside (b), which streams too: 1 GiB up and down, and what memory that took in (c)."""
    times: dict[str, list[float]] = {}
    peaks: list[float] = []
    with candidates(folder, "bc", stream=True) as (upstream, found):
        for candidate in found.values():
            candidate.bulk(upstream, up=GIB // 64)
            candidate.bulk(upstream, down=GIB // 64)
        for _ in range(repeats):
            for way, size in (("up", {"up": GIB}), ("down", {"down": GIB})):
                for kind, candidate in found.items():
                    took, peak = candidate.bulk(upstream, **size)
                    times.setdefault(kind + way, []).append(took)
                    if kind == "c":
                        peaks.append(peak)
    said: dict[str, Any] = {
        f"c/b, speed of 1 GiB {way}": spread(
            [theirs / mine for mine, theirs in zip(times["c" + way], times["b" + way], strict=True)]
        )
        for way in ("up", "down")
    }
    said["1 GiB up through c (s)"] = spread(times["cup"])
    said["1 GiB down through c (s)"] = spread(times["cdown"])
    said["memory above idle (MB)"] = max(peaks)
    return said


def idle_connections(folder: Path, repeats: int, seconds: float) -> dict[str, Any]:
    """p99 of 200 active connections with 1,000 idle ones beside them, by that without them."""
    with candidates(folder, "c") as (upstream, found):
        candidate = found["c"]
        candidate.load(upstream, 200, 1.0)
        ratios, each = [], []
        for _ in range(repeats):
            alone = candidate.load(upstream, 200, seconds)
            Path(f"/proc/{candidate.pid}/clear_refs").write_text("5")
            before = candidate.memory()
            beside = candidate.load(upstream, 200, seconds, idle=1000)
            ratios.append(beside["p99"] / alone["p99"])
            each.append((candidate.memory("VmHWM") - before) * 1024 / 1000)
    return {
        "p99 of 200 active, with 1,000 idle by without": spread(ratios),
        "memory per idle connection (kB)": max(each),
    }


def cold_start(folder: Path) -> float:
    """Seconds from starting `callgate serve` to the first verified call's answer."""
    certificate = _certificate(folder)
    log = folder / "upstream.log"
    with process([sys.executable, str(HERE / "load_upstream.py"), str(certificate)], log):
        upstream = int(wait_for(lambda: log.read_text().strip(), what="the upstream"))
        home = make_home(folder / "cold", endpoint=f"https://127.0.0.1:{upstream}", rules=rules())
        home.config.write_text(home.config.read_text().replace("[aws]", f'[aws]\nca = "{folder / "ca.pem"}"'))
        token = home.token()
        began = time.perf_counter()
        with running(home) as gateway:
            candidate = Candidate("c", gateway.address[1], gateway.process.pid, lambda: token)
            ready = time.perf_counter()
            plan = candidate.load(upstream, 1, 0.01)
            return ready - began + plan["p50"] / 1000


def show(found: dict[str, Candidate], figures: dict[str, Any]) -> None:
    """Tables for people."""
    out = Console()
    table = Table("", "conns", "req/s", "p50 ms", "p99 ms", "CPU ms/req", "MB", title="Small requests")
    for kind, candidate in found.items():
        for connections, results in candidate.results.items():

            def median(key: str, results: list[dict[str, Any]] = results) -> str:
                return f"{statistics.median(result[key] for result in results):.1f}"

            name = "new" if connections == "fresh" else connections
            table.add_row(
                NAMES[kind],
                name,
                median("perSecond"),
                median("p50"),
                median("p99"),
                median("cpuMs"),
                median("memory"),
            )
        table.add_section()
    out.print(table)
    table = Table("ratio, run by run", "median", "min", "max")
    for name, values in figures.items():
        if isinstance(values, dict):
            table.add_row(name, *(f"{values[key]:.2f}" for key in ("median", "min", "max")))
        else:
            table.add_row(name, f"{values:.2f}", "", "")
    out.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="shorter and noisier")
    parser.add_argument(
        "--large", action="store_true", help="with large bodies, idle connections, cold start"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    repeats, seconds = (2, 2.0) if arguments.quick else (5, 5.0)
    with tempfile.TemporaryDirectory(prefix="callgate-bench-") as name:
        folder = Path(name)
        (folder / "t").mkdir()
        found = throughput(folder / "t", repeats, seconds)
        figures = summary(found)
        if arguments.large:
            for part in ("l", "i", "s"):
                (folder / part).mkdir()
            figures |= large_bodies(folder / "l", repeats)
            figures |= idle_connections(folder / "i", repeats, seconds)
            figures["cold start to first call (s)"] = cold_start(folder / "s")
    if arguments.json:
        said = {"figures": figures, "results": {kind: each.results for kind, each in found.items()}}
        print(json.dumps(said, indent=2))
    else:
        show(found, figures)
    return 0


if __name__ == "__main__":
    assert ROOT
    sys.exit(main())
