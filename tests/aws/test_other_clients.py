"""Requests of the AWS SDK for JavaScript v3 and of the AWS CLI read as botocore's do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from awscli.clidriver import create_clidriver
from signed import KEY_ID, as_request

from callgate import aws
from callgate.call import HttpRequest, Refusal, to_json
from callgate.cli.requests import items_of

HERE = Path(__file__).resolve().parent
CAPTURED = HERE.parent / "data/aws/js-sdk-v3.jsonl"


def check(captured: Path) -> None:
    """Each line says what was meant and what was sent."""
    with captured.open("rb") as stream:
        items = list(items_of(stream))
    lines = [json.loads(line) for line in captured.read_text().splitlines()]
    assert len(items) == len(lines) > 40
    for said, item in zip(lines, items, strict=True):
        assert not isinstance(item, Refusal), said
        assert isinstance(item, HttpRequest)
        call = aws.read(item)
        assert call.name == f"{said['service']}:{said['operation']}"
        read = to_json(call.parameters)
        assert {name: read.get(name) for name in said["parameters"]} == said["parameters"], call.name


def test_captured_requests_of_the_javascript_sdk_are_read_as_they_were_meant() -> None:
    check(CAPTURED)


@pytest.mark.full
@pytest.mark.timeout(600)
def test_requests_of_the_javascript_sdk_are_read_as_they_were_meant(tmp_path: Path) -> None:
    folder = tmp_path / "js"
    shutil.copytree(HERE / "js", folder)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=300)
    sent = subprocess.run(["node", "capture.cjs"], cwd=folder, check=True, capture_output=True, timeout=120)
    (folder / "sent.jsonl").write_bytes(sent.stdout)
    check(folder / "sent.jsonl")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Any, list[HttpRequest]]:
    """The AWS CLI in this process, and the requests that it would have sent."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    made = create_clidriver()
    sent: list[HttpRequest] = []

    def capture(request: Any, **_: Any) -> None:
        sent.append(as_request(request.method, request.url, request.headers.items(), request.body))
        raise ValueError("captured")

    made.session.register("before-send", capture)
    return made, sent


@pytest.mark.parametrize(
    ("command", "name", "parameters"),
    [
        ("sts get-caller-identity", "sts:GetCallerIdentity", {}),
        ("s3api list-objects-v2 --bucket b --prefix p/", "s3:ListObjectsV2", {"Bucket": "b", "Prefix": "p/"}),
        ("s3api delete-object --bucket b --key k", "s3:DeleteObject", {"Bucket": "b", "Key": "k"}),
        ("s3 ls s3://b/p", "s3:ListObjectsV2", {"Bucket": "b", "Delimiter": "/", "Prefix": "p"}),
        (
            "ec2 terminate-instances --instance-ids i-1 i-2",
            "ec2:TerminateInstances",
            {"InstanceIds": ["i-1", "i-2"]},
        ),
        ("iam create-user --user-name u", "iam:CreateUser", {"UserName": "u"}),
        ("dynamodb list-tables --max-items 3", "dynamodb:ListTables", {}),
        ("lambda list-functions", "lambda:ListFunctions", {}),
        ("cloudwatch delete-alarms --alarm-names a", "cloudwatch:DeleteAlarms", {"AlarmNames": ["a"]}),
        ("ssm get-parameter --name /a/b", "ssm:GetParameter", {"Name": "/a/b"}),
        (
            "rds delete-db-cluster --db-cluster-identifier c",
            "rds:DeleteDBCluster",
            {"DBClusterIdentifier": "c"},
        ),
    ],
)
def test_the_command_line_reads_the_same_way(
    driver: tuple[Any, list[HttpRequest]], command: str, name: str, parameters: dict[str, Any]
) -> None:
    made, sent = driver
    made.main(command.split())
    call = aws.read(sent[-1])
    assert (call.name, call.account) == (name, "029608264753")
    assert parameters.items() <= call.parameters.items()


COMMANDS = [
    (
        "ec2 terminate-instances --instance-ids i-1 i-2",
        "ec2:TerminateInstances",
        {"InstanceIds": ["i-1", "i-2"]},
    ),
    (
        "s3api put-object --bucket b --key k --body FILE",
        "s3:PutObject",
        {"Bucket": "b", "Key": "k", "Body": b"hi"},
    ),
    ("dynamodb list-tables --max-items 3", "dynamodb:ListTables", {}),
]


class _Recorder(BaseHTTPRequestHandler):
    """Keeps each request and answers that it is bad, which no client repeats."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[HttpRequest]] = []

    def answer(self) -> None:
        host, port = self.server.server_address[:2]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = tuple(self.headers.items())
        self.seen.append(HttpRequest(self.command, host, self.path, headers, body, port=port, scheme="http"))
        self.send_response(400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PUT = do_POST = answer

    def log_message(self, *_: Any) -> None:
        """Not on the terminal."""


def installed() -> list[str]:
    """The AWS CLI of this environment (v1), and Debian's (v2) where it is installed."""
    own = str(Path(sys.executable).with_name("aws"))
    return [own, *(["/usr/bin/aws"] if Path("/usr/bin/aws").exists() else [])]


@pytest.mark.parametrize("program", installed())
def test_an_installed_command_line_reads_the_same_way(program: str, tmp_path: Path) -> None:
    (tmp_path / "FILE").write_bytes(b"hi")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        **{"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-west-2"},
        **{"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": ""},
    }
    with ThreadingHTTPServer(("127.0.0.1", 0), _Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for command, name, parameters in COMMANDS:
            words = [program, "--endpoint-url", url, *command.split()]
            done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, timeout=60)
            call = aws.read(_Recorder.seen.pop(), aws.Endpoints.parse([f"127.0.0.1:{server.server_port}"]))
            assert (call.name, call.account) == (name, "029608264753"), done.stderr
            assert parameters.items() <= call.parameters.items()
        server.shutdown()
