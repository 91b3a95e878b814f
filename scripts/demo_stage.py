"""The stage of the demonstration: moto in AWS's place, an OIDC issuer, and the gateway, each on loopback."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import jwt
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric import rsa

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
# One pair of AWS keys for both runners: IAM cannot tell them apart, Callgate can.
KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG"}
REGION = "us-east-1"


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    """The first true value of `condition`; RuntimeError if there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come up within {seconds:g} s")
        time.sleep(0.02)
    return value


class Issuer:
    """An OpenID Connect issuer over HTTP on the loopback, with one key for the tokens of two CI systems."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        jwk = jwt.get_algorithm_by_name("RS256").to_jwk(self._key.public_key(), as_dict=True)
        jwk.pop("key_ops", None)
        keys = json.dumps({"keys": [{**jwk, "kid": "demo", "alg": "RS256", "use": "sig"}]}).encode()
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.split("/")[1]
                discovery = {"issuer": issuer.url(name), "jwks_uri": f"{issuer.url(name)}/jwks"}
                body = keys if self.path.endswith("/jwks") else json.dumps(discovery).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Silent: the story is told elsewhere."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        """The issuer's URL for `github` or `gitlab`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def token(self, name: str, seconds: int, claims: dict[str, Any]) -> str:
        """A token that lives so many seconds."""
        now = int(time.time())
        times = {"iat": now, "nbf": now, "exp": now + seconds, "jti": os.urandom(8).hex()}
        return jwt.encode(
            {"iss": self.url(name), "aud": "callgate", **times, **claims}, self._key, "RS256", {"kid": "demo"}
        )

    def github(self) -> str:
        """A token as GitHub Actions mints it for acme/web."""
        return self.token(
            "github",
            600,
            {
                "sub": "repo:acme/web:environment:production",
                "repository": "acme/web",
                "repository_id": "74",
                "repository_owner": "acme",
                "repository_owner_id": "65",
                "repository_visibility": "private",
                "environment": "production",
                "ref": "refs/heads/main",
                "ref_type": "branch",
                "ref_protected": "true",
                "sha": "c5a92d2c4b1a5e5c3a9b6c1b2a7d3c4e5f607182",
                "actor": "ada",
                "actor_id": "12",
                "workflow": "deploy",
                "workflow_ref": "acme/web/.github/workflows/deploy.yml@refs/heads/main",
                "workflow_sha": "c5a92d2c4b1a5e5c3a9b6c1b2a7d3c4e5f607182",
                "job_workflow_ref": "acme/web/.github/workflows/deploy.yml@refs/heads/main",
                "job_workflow_sha": "c5a92d2c4b1a5e5c3a9b6c1b2a7d3c4e5f607182",
                "run_id": "1234",
                "run_number": "10",
                "run_attempt": "1",
                "runner_environment": "github-hosted",
                "event_name": "push",
                "head_ref": "",
                "base_ref": "",
            },
        )

    def gitlab(self) -> str:
        """A token as GitLab CI mints it for acme/data."""
        return self.token(
            "gitlab",
            3600,
            {
                "sub": "project_path:acme/data:ref_type:branch:ref:main",
                "namespace_id": "72",
                "namespace_path": "acme",
                "project_id": "20",
                "project_path": "acme/data",
                "user_id": "1",
                "user_login": "grace",
                "user_email": "grace@example.com",
                "pipeline_id": "574",
                "pipeline_source": "push",
                "job_id": "302",
                "ref": "main",
                "ref_type": "branch",
                "ref_path": "refs/heads/main",
                "ref_protected": "true",
                "runner_id": 1,
                "runner_environment": "self-hosted",
                "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
                "project_visibility": "private",
                "ci_config_ref_uri": "gitlab.com/acme/data//.gitlab-ci.yml@refs/heads/main",
                "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
            },
        )


@dataclass
class Stage:
    """Everything that runs; `close` ends what `open_stage` started."""

    folder: Path
    form: str = "serve"
    issuer: Issuer = field(default_factory=Issuer)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    moto: str = ""
    proxy: str = ""

    @property
    def config(self) -> Path:
        """callgate.toml."""
        return self.folder / "callgate.toml"

    @property
    def ledger(self) -> Path:
        """The ledger's database."""
        return self.folder / "state" / "ledger.db"

    @property
    def ca(self) -> Path:
        """What runners trust."""
        return self.folder / "state" / "ca" / "mitmproxy-ca-cert.pem"

    def start(self, name: str, command: list[str]) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a process whose output goes to a log file."""
        log = self.folder.parent / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                command,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.processes.append(process)
        return process, log

    def open(self) -> None:
        """Start moto, write the configuration, start the gateway."""
        self.folder.mkdir(parents=True)
        main = "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"
        moto, log = self.start("moto", [sys.executable, "-c", main])
        init = [str(BIN / "callgate"), "init", str(self.folder), "--listen", "127.0.0.1:0"]
        subprocess.run(init, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.moto = wait_for(lambda: _address(moto, log), "moto")
        text = self.config.read_text()
        for name in ("github", "gitlab"):
            own = f'url = "{self.issuer.url(name)}"\ninsecure_loopback = true\n'
            text = text.replace(f'profile = "{name}"\n', f'profile = "{name}"\n{own}')
        text = text.replace("[aws]\n", f'[aws]\nendpoint = "{self.moto}"\n')
        self.config.write_text(text)
        self.start_gateway()

    def start_gateway(self) -> None:
        """Start the gateway in the form that is wanted, and wait for it."""
        option = ["--set", f"callgate_config={self.config}"]
        # mitmweb says the port that it was asked for, so it has to be a real one.
        with socket.create_server(("127.0.0.1", 0)) as free:
            web = ["--no-web-open-browser", "--web-port", str(free.getsockname()[1])]
        command = {
            "serve": [str(BIN / "callgate"), "serve", "--config", str(self.config)],
            "mitmweb": [str(BIN / "mitmweb"), "-s", str(ROOT / "addons" / "gateway.py"), *option, *web],
        }[self.form]
        gateway, log = self.start("gateway", command)
        announced = self.folder / "state" / "gateway.json"

        def ready() -> str:
            if gateway.poll() is not None:
                raise RuntimeError(f"the gateway ended: {log.read_text()[-2000:]}")
            return announced.read_text() if announced.exists() else ""

        self.proxy = json.loads(wait_for(ready, "the gateway"))["proxy"]

    def close(self) -> None:
        """End every process that was started here."""
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(30)

    def environ(self, token: str) -> dict[str, str]:
        """What a runner exports, and nothing else about AWS."""
        keep = {name: os.environ[name] for name in ("PATH", "HOME", "TERM", "LANG") if name in os.environ}
        return {
            **keep,
            **KEYS,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_PAGER": "",
            "HTTPS_PROXY": f"http://job:{token}@{self.proxy}",
            "AWS_CA_BUNDLE": str(self.ca),
        }

    def boto3(self, service: str, token: str) -> Any:
        """A boto3 client of a runner."""
        session = boto3.session.Session(
            KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        proxies = {"https": f"http://job:{token}@{self.proxy}"}
        return session.client(
            service, verify=str(self.ca), config=Config(proxies=proxies, retries={"mode": "standard"})
        )

    def aws_itself(self, service: str) -> Any:
        """A boto3 client that goes around the gateway, to see what really happened."""
        session = boto3.session.Session(
            KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], region_name=REGION
        )
        return session.client(service, endpoint_url=self.moto)

    def cli(self, token: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The AWS CLI of a runner."""
        return subprocess.run(
            [str(BIN / "aws"), *arguments],
            env=self.environ(token),
            capture_output=True,
            text=True,
            timeout=60,
        )

    def callgate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A `callgate` command of the platform team."""
        return subprocess.run(
            [str(BIN / "callgate"), *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )


def _address(moto: subprocess.Popen[bytes], log: Path) -> str:
    if moto.poll() is not None:
        raise RuntimeError(f"moto ended: {log.read_text()[-2000:]}")
    for line in log.read_text().splitlines():
        if "Running on http://" in line:
            return line.partition("Running on ")[2].split()[0].rstrip("/")
    return ""
