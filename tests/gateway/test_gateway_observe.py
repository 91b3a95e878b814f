"""Observe mode in a running gateway: `rules impact` foretells what enforcing refuses of the same jobs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from support.gateway import Gateway, make_home, running

RULES = """
[[rule]]
id = "readers"
effect = "allow"
access = ["read", "list", "write"]
[[rule]]
id = "no-users"
effect = "deny"
action = ["iam:CreateUser"]
[[rule]]
id = "deletes-wait"
effect = "hold"
action = ["s3:DeleteObject"]
resource = ["arn:aws:s3:::prod/*"]
hold = { by = ["oncall"], within = "60s" }
[[rule]]
id = "secrets-stay"
effect = "mask"
action = ["secretsmanager:GetSecretValue"]
response = ['$.SecretString']
"""
# An attempt of no length ends a held call at once, with its hold open.
SETTINGS = '[approvals]\nattempt = "1ms"\n'


def jobs(gateway: Gateway) -> Counter[str]:
    """What jobs try, and how often each operation was refused."""
    s3, iam, secrets = (gateway.client(name) for name in ("s3", "iam", "secretsmanager"))
    calls: list[Callable[[], Any]] = [
        lambda: s3.create_bucket(Bucket="prod"),
        lambda: s3.put_object(Bucket="prod", Key="a", Body=b"1"),
        lambda: s3.delete_object(Bucket="prod", Key="a"),
        lambda: s3.delete_object(Bucket="prod", Key="b"),
        lambda: iam.create_user(UserName="u"),
        lambda: iam.list_users(),
        lambda: iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument="{}"),
        lambda: secrets.create_secret(Name="db", SecretString="canary"),
        lambda: secrets.get_secret_value(SecretId="db"),
    ]
    refused: Counter[str] = Counter()
    for call in calls:
        try:
            call()
        except ClientError as error:
            if "Callgate" in error.response["Error"]["Message"]:
                refused[error.operation_name] += 1
    return refused


def test_impact_after_observing_is_what_enforcing_refuses(clean_moto: str, tmp_path: Path) -> None:
    home = make_home(tmp_path / "gate", endpoint=clean_moto, rules=RULES, more=SETTINGS)
    with running(home, environ={"CALLGATE_MODE": "observe"}) as gateway:
        assert jobs(gateway) == {}
        assert gateway.client("secretsmanager").get_secret_value(SecretId="db")["SecretString"] == "canary"
        found = json.loads(gateway.callgate("rules", "impact", "--json").stdout)
    foretold: Counter[str] = Counter()
    for each in found:
        if each["would"] != "mask":
            foretold[each["operation"].partition(":")[2]] += each["count"]
    masked = [each["count"] for each in found if each["would"] == "mask"]
    home = make_home(tmp_path / "enforcing", endpoint=clean_moto, rules=RULES, more=SETTINGS)
    with running(home) as gateway:
        assert jobs(gateway) == foretold == {"DeleteObject": 2, "CreateUser": 1, "PutRolePolicy": 1}
        assert gateway.client("secretsmanager").get_secret_value(SecretId="db")["SecretString"] == "***"
    assert masked == [2]
