"""User agents as SDKs and tools send them."""

from __future__ import annotations

from typing import Any

import pytest

from callgate.call import HttpRequest
from callgate.identity import unverified_client


def request(*headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest("GET", "s3.amazonaws.com", "/", headers, b"")


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (
            "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.13.0 "
            "md/pyimpl#CPython m/Z,b,e cfg/retry-mode#standard Botocore/1.44.5 app/deploy-tool",
            {"sdk": "Boto3", "sdkVersion": "1.44.5", "retryMode": "standard", "appId": "deploy-tool"},
        ),
        (
            "aws-cli/1.46.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1 md/arch#x86_64 lang/python#3.13.0 "
            "md/pyimpl#CPython cfg/retry-mode#legacy md/installer#source md/command#s3.ls",
            {"sdk": "aws-cli", "sdkVersion": "1.46.5", "retryMode": "legacy", "command": "s3.ls"},
        ),
        (
            "aws-cli/2.15.30 Python/3.11.8 Linux/6.1.79 exec-env/CloudShell exe/x86_64.amzn.2 prompt/off "
            "command/sts.get-caller-identity",
            {
                "sdk": "aws-cli",
                "sdkVersion": "2.15.30",
                "executionEnvironment": "CloudShell",
                "command": "sts.get-caller-identity",
            },
        ),
        (
            "aws-sdk-js/3.700.0 ua/2.1 os/linux#6.1 lang/js md/nodejs#20.11.0 api/sts#3.700.0 m/E,n",
            {"sdk": "aws-sdk-js", "sdkVersion": "3.700.0"},
        ),
        (
            "APN/1.0 HashiCorp/1.0 Terraform/1.9.5 (+https://www.terraform.io) terraform-provider-aws/5.67.0 "
            "aws-sdk-go-v2/1.30.5 ua/2.1 os/linux lang/go#1.23.1 api/s3#1.61.2",
            {"sdk": "aws-sdk-go-v2", "sdkVersion": "1.30.5"},
        ),
        (
            "Boto3/1.17.0 Python/3.8.10 Linux/5.4 exec-env/AWS_Lambda_python3.8 Botocore/1.20.0",
            {"sdk": "Boto3", "sdkVersion": "1.17.0", "executionEnvironment": "AWS_Lambda_python3.8"},
        ),
        ("curl/8.5.0", {}),
        ("", {}),
        ("app/a\x1b[31m md/command#x\u202e", {}),
    ],
)
def test_the_user_agent_tells_sdk_command_and_environment(agent: str, said: dict[str, Any]) -> None:
    assert unverified_client(request(("User-Agent", agent))) == said


def test_the_retry_headers_tell_attempt_and_invocation() -> None:
    headers = (
        ("amz-sdk-request", "attempt=2; max=5"),
        ("amz-sdk-invocation-id", "6a4f0f5e-6c0d-4a1b-9f0e-0d6f5b1f1c11"),
    )
    said = unverified_client(request(*headers))
    assert said == {"attempt": 2, "maxAttempts": 5, "invocationId": "6a4f0f5e-6c0d-4a1b-9f0e-0d6f5b1f1c11"}


@pytest.mark.parametrize("value", ["attempt=x", "", "max=3", "attempt=99999999999"])
def test_retry_headers_that_say_nothing_are_not_recorded(value: str) -> None:
    headers = (("amz-sdk-request", value), ("amz-sdk-invocation-id", "a b\n"))
    assert "maxAttempts" not in unverified_client(request(*headers))
    assert "invocationId" not in unverified_client(request(*headers))


def test_a_long_user_agent_costs_no_time() -> None:
    assert unverified_client(request(("User-Agent", "app/" + "a" * 5_000_000)))["appId"] == "a" * 1020
