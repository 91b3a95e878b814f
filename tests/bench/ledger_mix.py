"""A mix of calls like the demo's, as the hooks record them: for measuring the ledger."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from callgate.journal import Record

_ACCOUNTS = ["111111111111", "222222222222", "333333333333"]
_KINDS: list[tuple[int, str, str, str]] = [
    # weight, eventSource, eventName, ARN
    (30, "s3.amazonaws.com", "GetObject", "arn:aws:s3:::ci-artifacts/{repo}/build-{n}.tar.gz"),
    (15, "s3.amazonaws.com", "PutObject", "arn:aws:s3:::ci-artifacts/{repo}/build-{n}.tar.gz"),
    (5, "s3.amazonaws.com", "ListObjectsV2", "arn:aws:s3:::ci-artifacts"),
    (1, "s3.amazonaws.com", "DeleteObject", "arn:aws:s3:::ci-artifacts/{repo}/build-{n}.tar.gz"),
    (12, "dynamodb.amazonaws.com", "GetItem", "arn:aws:dynamodb:eu-central-1:{account}:table/deployments"),
    (8, "dynamodb.amazonaws.com", "UpdateItem", "arn:aws:dynamodb:eu-central-1:{account}:table/deployments"),
    (
        6,
        "secretsmanager.amazonaws.com",
        "GetSecretValue",
        "arn:aws:secretsmanager:eu-central-1:{account}:secret:{repo}-{m}",
    ),
    (
        1,
        "secretsmanager.amazonaws.com",
        "PutSecretValue",
        "arn:aws:secretsmanager:eu-central-1:{account}:secret:{repo}-{m}",
    ),
    (10, "sts.amazonaws.com", "GetCallerIdentity", "*"),
    (8, "ec2.amazonaws.com", "DescribeInstances", "*"),
    (8, "sqs.amazonaws.com", "SendMessage", "arn:aws:sqs:eu-central-1:{account}:jobs"),
]
_PEOPLE = ["ada", "barbara", "grace", "katherine"]
_USER_AGENT = (
    "Boto3/1.44.5 md/Botocore#1.44.5 ua/2.1 os/linux#6.1.0 md/arch#x86_64 lang/python#3.13.0"
    " md/pyimpl#CPython m/E,b,e,P,Z cfg/retry-mode#standard Botocore/1.44.5"
)


def calls(count: int, seed: int = 6962) -> Iterator[tuple[Record, ...]]:
    """`count` calls, pairs of intent and outcome or single refusals; their sessions and holds before them."""
    chance = random.Random(seed)
    weights = [kind[0] for kind in _KINDS]
    for n in range(count):
        _, source, name, arn = chance.choices(_KINDS, weights)[0]
        repo = f"acme/service-{chance.randrange(60)}"
        run = n // 40
        account = chance.choice(_ACCOUNTS)
        call_id = f"cg-{chance.getrandbits(96):024x}"
        body: dict[str, Any] = {
            "host": f"{source.split('.')[0]}.eu-central-1.amazonaws.com",
            "sourceIPAddress": f"10.0.{chance.randrange(256)}.{chance.randrange(256)}",
            "userAgent": _USER_AGENT,
            "userIdentity": {
                "principalId": f"github:{repo}:ref:refs/heads/main",
                "sessionId": f"tok-{run * 0x9E3779B97F4A7C15 % 2**96:024x}",
                "accountId": account,
                "accessKeyId": f"ASIA{account[:4]}{chance.randrange(400):08d}AAAA",
            },
            "eventSource": source,
            "eventName": name,
            "awsRegion": "eu-central-1",
            "service": source.split(".")[0],
            "protocol": "rest-xml",
            "requestParameters": {"Bucket": "ci-artifacts", "Key": f"{repo}/build-{n}.tar.gz"},
            "resources": [
                {
                    "action": f"{source.split('.')[0]}:{name}",
                    "ARN": arn.format(repo=repo, n=n % 5000, m=n % 7, account=account),
                }
            ],
            "decision": {
                "effect": "allow",
                "rules": ["ci-own-prefix"],
                "ruleSet": "sha256:3f9a1c20be556677",
            },
        }
        if n % 100 == 3:
            key = f"arn:aws:s3:::ci-artifacts/{repo}/build-{{}}.tar.gz"
            body |= {"eventSource": "s3.amazonaws.com", "service": "s3", "eventName": "DeleteObjects"}
            keys = [key.format(m % 5000) for m in range(n, n + 5)]
            body["resources"] = [{"action": "s3:DeleteObject", "ARN": each} for each in keys]
        if n % 40 == 0:
            yield (_session(body["userIdentity"], repo, run),)
        if n % 20 == 7:
            refusal = {
                "result": "refused",
                "reason": "rule-deny",
                "message": "No.",
                "statusCode": 403,
                "durationMs": 3,
            }
            yield (Record("call.refused", body | refusal, call_id, "end"),)
            continue
        if name == "GetSecretValue":
            body["decision"] |= {"rules": ["iam-decides", "secret-values"], "masks": ["secret-values"]}
        if n % 200 == 9:
            body["holdId"] = f"hold-{n:010x}"
            yield _hold(body, chance.choice(_PEOPLE))
        outcome = {
            "result": "completed",
            "durationMs": chance.randrange(8, 400),
            "bytesSent": chance.randrange(2000),
            "bytesReceived": chance.randrange(20_000),
            "statusCode": 200,
            "requestID": f"{chance.getrandbits(64):016X}" if source.startswith("s3") else _uuid(chance),
            "responseSha256": f"{chance.getrandbits(256):064x}",
        }
        if "masks" in body["decision"]:
            outcome["masked"] = ["$.SecretString"]
        if n % 50 == 11:
            outcome |= {"result": "completed", "statusCode": 404, "errorCode": "NoSuchKey"}
        yield (
            Record("call.intent", body, call_id, "intent"),
            Record("call.outcome", outcome, call_id, "end"),
        )


def _session(identity: dict[str, Any], repo: str, run: int) -> Record:
    claims = {
        "repository": repo,
        "ref": "refs/heads/main",
        "run_id": str(10_000_000_000 + run),
        "workflow": "deploy",
        "environment": "production",
    }
    session = {key: identity[key] for key in ("principalId", "sessionId")}
    return Record(
        "session.opened", {**session, "issuer": "github", "claims": claims}, identity["sessionId"], "opened"
    )


def _hold(body: Mapping[str, Any], person: str) -> tuple[Record, Record]:
    hold = {"holdId": body["holdId"], "principalId": body["userIdentity"]["principalId"], "issuer": "github"}
    asked = {key: body[key] for key in ("service", "eventName", "requestParameters", "resources")}
    terms = {"by": [["oncall"]], "count": 1, "rules": ["prod-needs-a-person"]}
    return (
        Record("hold.opened", {**hold, "asked": asked, "terms": terms}, body["holdId"], "opened"),
        Record(
            "hold.approved",
            {**hold, "state": "approved", "by": person, "via": "cli", "reason": "Planned."},
            body["holdId"],
            "decided",
        ),
    )


def _uuid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128)))
