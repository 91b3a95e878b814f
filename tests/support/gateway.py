"""A gateway as its own process, on a configuration that `callgate init` wrote, and what looks at it from
outside.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from local_issuer import SigningKey, github_claims, jwks
from support.canary import CANARY

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
START_SECONDS = 30.0
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"

ALLOW_ALL = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]
"""


def wait_for(condition: Any, seconds: float = START_SECONDS, what: str = "condition") -> Any:
    """Poll `condition` until it gives something true. For what happens in other processes and sends no
    event.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds} s")
        time.sleep(0.01)
    return value


@dataclass
class Home:
    """A configured but not yet running gateway: its folder, and the key of the issuer that it trusts."""

    folder: Path
    key: SigningKey
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "callgate.toml"

    @property
    def ca(self) -> Path:
        return self.folder / "state" / "ca" / "mitmproxy-ca-cert.pem"

    def rules(self, text: str, name: str = "test.toml") -> None:
        (self.folder / "rules" / name).write_text(text)

    def token(self, **claims: Any) -> str:
        """A fresh GitHub-shaped token."""
        return self.key.token(github_claims(**{"jti": os.urandom(8).hex(), **claims}))


@cache
def _initialised() -> Path:
    """What `callgate init` makes, without its rules: once for this process, for it takes a while.
    All have one CA and the same keys.
    """
    parent = Path(tempfile.mkdtemp(prefix="callgate-home-"))
    atexit.register(shutil.rmtree, parent)
    folder = parent / "gate"
    command = [str(BIN / "callgate"), "init", str(folder)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    for file in (folder / "rules").glob("*.toml"):
        file.unlink()
    return folder


def make_home(
    folder: Path,
    *,
    endpoint: str | None = None,
    rules: str = ALLOW_ALL,
    more: str = "",
    key: SigningKey | None = None,
) -> Home:
    """Configure a gateway in `folder`: as `callgate init` does, with a local issuer and the rules given."""
    shutil.copytree(_initialised(), folder, dirs_exist_ok=True)
    key = key or SigningKey("test-key", "ES256")
    (folder / "keys.json").write_bytes(jwks(key))
    aws = f'[aws]\nendpoint = "{endpoint}"\n' if endpoint else ""
    (folder / "callgate.toml").write_text(
        f"""
state = "state"
rules = ["rules"]
drain = "5s"
help = "Ask in #platform."
[proxy]
listen = "127.0.0.1:0"
{aws}
[[identity.issuer]]
name = "github"
profile = "github"
audience = "callgate"
keys_file = "keys.json"
algorithms = ["ES256"]
{more}
"""
    )
    home = Home(folder, key)
    home.rules(rules)
    return home


@dataclass
class Gateway:
    """A running gateway process."""

    home: Home
    process: subprocess.Popen[bytes]
    proxy: str
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.proxy.rpartition(":")
        return host, int(port)

    def proxy_url(self, token: str | None = None, scheme: str = "http") -> str:
        return f"{scheme}://job:{token or self.home.token()}@{self.proxy}"

    def client(
        self, service: str, *, token: str | None = None, region: str = "us-east-1", **config: Any
    ) -> Any:
        """A real boto3 client whose traffic goes through the gateway."""
        settings = {"retries": {"mode": "standard", "total_max_attempts": 1}, "read_timeout": 60, **config}
        url = self.proxy_url(token)
        return boto3.session.Session(ACCESS_KEY, CANARY, CANARY, region_name=region).client(
            service, verify=str(self.home.ca), config=Config(proxies={"https": url, "http": url}, **settings)
        )

    def environ(self, token: str | None = None) -> dict[str, str]:
        """The environment of a job behind the gateway."""
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return {
            **keep,
            "HTTPS_PROXY": self.proxy_url(token),
            "AWS_CA_BUNDLE": str(self.home.ca),
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": CANARY,
            "AWS_SESSION_TOKEN": CANARY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }

    def aws(
        self, *arguments: str, token: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the real AWS CLI through the gateway."""
        done = subprocess.run(
            [str(BIN / "aws"), *arguments],
            env=self.environ(token),
            capture_output=True,
            text=True,
            timeout=100,
        )
        if check and done.returncode:
            raise AssertionError(f"aws {' '.join(arguments)}: {done.returncode}: {done.stderr}")
        return done

    def callgate(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `callgate` command on this gateway's configuration."""
        done = subprocess.run(
            [str(BIN / "callgate"), *arguments, "--config", str(self.home.config)],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            raise AssertionError(f"callgate {' '.join(arguments)}: {done.returncode}: {done.stderr}")
        return done

    def entries(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The bodies of the ledger's entries, with `kind` added, oldest first."""
        return read_entries(self.home, kind)

    def ended(self, count: int = 1, seconds: float = 10.0) -> list[dict[str, Any]]:
        """Wait until `count` calls have their terminal entry; these entries."""

        def enough() -> list[dict[str, Any]] | None:
            ends = [each for each in self.entries() if each["kind"] in ("call.outcome", "call.refused")]
            return ends if len(ends) >= count else None

        ends: list[dict[str, Any]] = wait_for(enough, seconds, f"{count} terminal entries")
        return ends

    def health(self) -> tuple[int, dict[str, Any]]:
        """What `/healthz` of the admin socket says, with its status."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.home.folder / "state" / "admin.sock"))
            admin.sendall(b"GET /healthz HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")
            with admin.makefile("rb") as stream:
                status = int(stream.readline().split()[1])
                body = stream.read().partition(b"\r\n\r\n")[2]
        return status, json.loads(body)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def read_entries(home: Home, kind: str | None = None) -> list[dict[str, Any]]:
    """The bodies of the entries in a home's ledger, as `Gateway.entries`; calls with their `callId`."""
    with sqlite3.connect(f"file:{home.folder}/state/ledger.db?mode=ro", uri=True) as db:
        db.row_factory = sqlite3.Row
        rows = db.execute("select * from entries order by seq").fetchall()
    db.close()
    found = []
    for row in rows:
        entry = json.loads(row["entry"])
        if kind is None or entry["kind"] == kind:
            of_call = {"callId": entry["subject"]} if entry["kind"].startswith("call.") else {}
            found.append({**entry["body"], **of_call, "kind": entry["kind"]})
    return found


COMMANDS = {
    "serve": [str(BIN / "callgate"), "serve", "--config", "CONFIG"],
    # mitmproxy opens its own default listener before it loads scripts: on port 0, tests may run side by side.
    "mitmdump": [str(BIN / "mitmdump"), "-s", "SCRIPT", "--set", "callgate_config=CONFIG", "--listen-port=0"],
    "mitmweb": [
        str(BIN / "mitmweb"),
        "-s",
        "SCRIPT",
        "--set",
        "callgate_config=CONFIG",
        "--listen-port=0",
        "--no-web-open-browser",
        "--web-port",
        "0",
        "--set",
        "web_password=test",
    ],
}


RAN: list[Home] = []
"""Where gateways have run so far."""


@contextmanager
def running(
    home: Home,
    *,
    form: str = "serve",
    script: Path = ROOT / "addons" / "gateway.py",
    environ: Mapping[str, str] | None = None,
    wrapper: tuple[str, ...] = (),
    options: tuple[str, ...] = (),
) -> Iterator[Gateway]:
    """A gateway on `home`, in one of its three forms, under `wrapper` and with mitmproxy's `options`."""
    RAN.append(home)
    log = home.folder / f"{form}.log"
    announced = home.folder / "state" / "gateway.json"
    announced.unlink(missing_ok=True)
    command = [
        part.replace("CONFIG", str(home.config)).replace("SCRIPT", str(script)) for part in COMMANDS[form]
    ]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*wrapper, *command, *options],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            # What mitmproxy prints is to be in its log when tests look for it.
            env={**os.environ, "PYTHONUNBUFFERED": "1", **home.environ, **(environ or {})},
            cwd=home.folder,
        )
    try:

        def ready() -> Any:
            if process.poll() is not None:
                raise AssertionError(
                    f"the gateway ended with {process.returncode}: {log.read_text()[-3000:]}"
                )
            return announced.exists() and announced.read_text()

        said = json.loads(wait_for(ready, what="the gateway"))
        yield Gateway(home, process, said["proxy"], log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
