"""Requests of the AWS SDK for JavaScript v3 and of the AWS CLI read as botocore's do."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

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
