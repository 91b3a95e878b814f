"""Real clients over a real gateway, against a server that sends each trap of a rewritten response.

boto3, the AWS CLI and the AWS SDK for JavaScript v3 read the masked answer at the first attempt.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.eventstream import EventStream
from botocore.response import StreamingBody
from synthetic import WHEN, response_of

from callgate.aws import service_model
from callgate.masking.eventstream import STRING, Message
from support.gateway import ACCESS_KEY, BIN, Gateway, make_home, running
from support.upstream import Recorder, http_answer, recorder

HERE = Path(__file__).parent
CANARY = "canary-7f3a9c"
DIGITS = "12345678901234567890123456789012345678"
EPOCH, BYTES = "epoch:0", "bytes:***"
RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]
[[rule]]
id = "masks"
effect = "mask"
operation = [
    "secretsmanager:*", "ssm:*", "dynamodb:*", "s3:GetObject", "sqs:*", "ec2:*", "iam:*", "cloudwatch:*",
    "bedrock-runtime:*",
]
response = [
    '$.SecretString', '$.SecretBinary', '$.VersionStages', '$.CreatedDate', '$.Parameter.Value',
    '$.Item.secret', '$.Item.pin', '$.Body', '$.Messages[*].Body', '$..StringValue', '$..KeyName',
    '$..AccessKeyId', '$..StateUpdatedTimestamp', '$..LastPingDateTime', '$..IsLatestVersion',
    '$..AssociationOverview', '$..delta.text',
]
"""


def as_json(value: Any, **headers: str) -> bytes:
    return http_answer(200, json.dumps(value).encode(), Content_Type="application/x-amz-json-1.1", **headers)


def secret(raw: bytes) -> bytes:
    """Each type has a value of its own that stands for it; SDKs never take a coding off."""
    body = {
        "Name": "db",
        "SecretString": CANARY,
        "SecretBinary": base64.b64encode(CANARY.encode()).decode(),
        "VersionStages": [CANARY, CANARY],
        "CreatedDate": 1.7e9,
    }
    kind = "application/x-amz-json-1.1"
    return http_answer(
        200, gzip.compress(json.dumps(body).encode()), Content_Encoding="gzip", Content_Type=kind
    )


def item(raw: bytes) -> bytes:
    """A checksum that clients check, and digits that a float cannot hold."""
    values = f'"big":{{"N":"{DIGITS}"}},"one":{{"N":"1.0"}},"pin":{{"N":"7777"}},"secret":{{"S":"{CANARY}"}}'
    body = f'{{"ConsumedCapacity":{{"CapacityUnits":1.0}},"Item":{{{values}}}}}'.encode()
    kind = "application/x-amz-json-1.0"
    return http_answer(200, body, x_amz_crc32=str(zlib.crc32(body)), Content_Type=kind)


def stored_object(raw: bytes) -> bytes:
    """Checksums of the old body, one of them of a kind that is not computed anew."""
    body = CANARY.encode()
    sums = {
        "x_amz_checksum_crc32": base64.b64encode(zlib.crc32(body).to_bytes(4)).decode(),
        "x_amz_checksum_sha256": base64.b64encode(hashlib.sha256(body).digest()).decode(),
        "x_amz_checksum_crc64nvme": "AAAAAAAAAAA=",
        "x_amz_checksum_type": "FULL_OBJECT",
    }
    return http_answer(200, body, ETag=f'"{hashlib.md5(body).hexdigest()}"', **sums)


def messages(raw: bytes) -> bytes:
    """MD5 sums of what a message says, of which one that is gone is as bad as a stale one."""
    value = b"".join(len(each).to_bytes(4) + each for each in (b"a", b"String"))
    value += b"\x01" + len(CANARY).to_bytes(4) + CANARY.encode()
    message = {
        "MessageId": "1",
        "ReceiptHandle": "r",
        "Body": CANARY,
        "MD5OfBody": hashlib.md5(CANARY.encode()).hexdigest(),
        "MessageAttributes": {"a": {"DataType": "String", "StringValue": CANARY}},
        "MD5OfMessageAttributes": hashlib.md5(value).hexdigest(),
    }
    return as_json({"Messages": [message]})


def instances(raw: bytes) -> bytes:
    """A namespace that has to stay the default one."""
    inner = f"<item><instanceId>i-1</instanceId><keyName>{CANARY}</keyName></item>"
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>'
        f"<reservationId>r-1</reservationId><instancesSet>{inner}</instancesSet></item></reservationSet>"
        "</DescribeInstancesResponse>"
    )
    return http_answer(200, body.encode(), Content_Type="text/xml;charset=UTF-8")


def access_keys(raw: bytes) -> bytes:
    """The same in the query protocol."""
    inner = f"<member><UserName>u</UserName><AccessKeyId>{CANARY}</AccessKeyId></member>"
    body = (
        '<ListAccessKeysResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListAccessKeysResult>'
        f"<AccessKeyMetadata>{inner}</AccessKeyMetadata><IsTruncated>false</IsTruncated>"
        "</ListAccessKeysResult></ListAccessKeysResponse>"
    )
    return http_answer(200, body.encode(), Content_Type="text/xml")


def alarms(raw: bytes) -> bytes:
    """A time, in the protocol in which the client asked: CBOR's has to keep its tag."""
    value = {"MetricAlarms": [{"AlarmName": "a", "StateUpdatedTimestamp": WHEN}]}
    asked = raw.lower()
    protocol, more = "query", {"Content_Type": "text/xml"}
    if b"smithy-protocol: rpc-v2-cbor" in asked:
        protocol, more = (
            "smithy-rpc-v2-cbor",
            {"smithy_protocol": "rpc-v2-cbor", "Content_Type": "application/cbor"},
        )
    elif b"x-amz-target" in asked:
        protocol, more = "json", {"Content_Type": "application/x-amz-json-1.0"}
    model = service_model("cloudwatch").operation_model("DescribeAlarms")
    return http_answer(200, response_of(model, protocol, value).body, **more)


def fleet(raw: bytes) -> bytes:
    """A boolean, a time and a structure, for none of which `***` would do."""
    one = {
        "InstanceId": "i-1",
        "LastPingDateTime": 1.7e9,
        "IsLatestVersion": True,
        "AssociationOverview": {
            "DetailedStatus": CANARY,
            "InstanceAssociationStatusAggregatedCount": {"x": 3},
        },
    }
    return as_json({"InstanceInformationList": [one]})


def words(raw: bytes, cut: int = 0) -> bytes:
    """An event stream, whose messages carry sums."""
    body = b"".join(
        Message(
            (
                (":message-type", STRING, b"event"),
                (":event-type", STRING, name.encode()),
                (":content-type", STRING, b"application/json"),
            ),
            json.dumps(event).encode(),
        ).encode()
        for name, event in (
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": CANARY}}),
            ("messageStop", {"stopReason": "end_turn"}),
        )
    )
    return http_answer(200, body[: len(body) - cut], Content_Type="application/vnd.amazon.eventstream")


@dataclass(frozen=True)
class Trap:
    """A call, how it is answered, and what clients shall read of it (`{"error": …}`: that they fail).

    `mark`: what its requests can be told by.
    """

    mark: bytes
    service: str
    operation: str
    given: Mapping[str, Any]
    answer: Callable[[bytes], bytes]
    wanted: Mapping[str, Any]
    cli: str | None = None


QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/q"
CONVERSE = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "hello"}]}]}
TRAPS = {
    "types-and-coding": Trap(
        b"secretsmanager.GetSecretValue", "secretsmanager", "GetSecretValue", {"SecretId": "db"}, secret,
        {"Name": "db", "SecretString": "***", "SecretBinary": BYTES, "VersionStages": ["***", "***"],
         "CreatedDate": EPOCH},
        "secretsmanager get-secret-value --secret-id db",
    ),
    "length": Trap(
        b"AmazonSSM.GetParameter", "ssm", "GetParameter", {"Name": "pin"},
        lambda raw: as_json({"Parameter": {"Value": "7"}}),
        {"Parameter": {"Value": "***"}},
        "ssm get-parameter --name pin",
    ),
    "more-types": Trap(
        b"AmazonSSM.DescribeInstanceInformation", "ssm", "DescribeInstanceInformation", {}, fleet,
        {"InstanceInformationList": [{
            "InstanceId": "i-1", "LastPingDateTime": EPOCH, "IsLatestVersion": False,
            "AssociationOverview": {"DetailedStatus": "***", "InstanceAssociationStatusAggregatedCount": {}},
        }]},
        "ssm describe-instance-information",
    ),
    "crc32-and-digits": Trap(
        b"DynamoDB_20120810.GetItem", "dynamodb", "GetItem",
        {"TableName": "t", "Key": {"id": {"S": "1"}}}, item,
        {"Item": {"big": {"N": DIGITS}, "one": {"N": "1.0"}, "pin": {"N": "0"}, "secret": {"S": "***"}}},
        """dynamodb get-item --table-name t --key {"id":{"S":"1"}}""",
    ),
    "checksums": Trap(
        b"GET /k", "s3", "GetObject", {"Bucket": "bucket", "Key": "k"}, stored_object,
        {"Body": BYTES, "ContentLength": 3, "ETag": f'"{hashlib.md5(b"***").hexdigest()}"'},
        "s3api get-object --bucket bucket --key k OUTFILE",
    ),
    "md5-of-messages": Trap(
        b"AmazonSQS.ReceiveMessage", "sqs", "ReceiveMessage", {"QueueUrl": QUEUE}, messages,
        {"Messages": [{"Body": "***", "MessageAttributes": {"a": {"StringValue": "***"}}}]},
        f"sqs receive-message --queue-url {QUEUE}",
    ),
    "namespace": Trap(
        b"Action=DescribeInstances", "ec2", "DescribeInstances", {}, instances,
        {"Reservations": [{"ReservationId": "r-1", "Instances": [{"InstanceId": "i-1", "KeyName": "***"}]}]},
        "ec2 describe-instances",
    ),
    "namespace-of-query": Trap(
        b"Action=ListAccessKeys", "iam", "ListAccessKeys", {"UserName": "u"}, access_keys,
        {"AccessKeyMetadata": [{"UserName": "u", "AccessKeyId": "***"}], "IsTruncated": False},
        "iam list-access-keys --user-name u --no-paginate",
    ),
    "time": Trap(
        b"DescribeAlarms", "cloudwatch", "DescribeAlarms", {}, alarms,
        {"MetricAlarms": [{"AlarmName": "a", "StateUpdatedTimestamp": EPOCH}]},
        "cloudwatch describe-alarms",
    ),
    "event-stream": Trap(
        b"POST /model/m/", "bedrock-runtime", "ConverseStream", CONVERSE, words,
        {"stream": [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "***"}}},
            {"messageStop": {"stopReason": "end_turn"}},
        ]},
    ),
    "cut-event-stream": Trap(
        b"POST /model/cut/", "bedrock-runtime", "ConverseStream", {**CONVERSE, "modelId": "cut"},
        lambda raw: words(raw, 9),
        {"error": ...},
    ),
}  # fmt: skip
JS = {"secretsmanager": "secrets-manager"}


def trapped(raw: bytes) -> bytes:
    """The answer to a raw request."""
    return next(trap.answer(raw) for trap in TRAPS.values() if trap.mark in raw)


@pytest.fixture(scope="module")
def far() -> Iterator[Recorder]:
    with recorder(trapped) as state:
        yield state


@pytest.fixture(scope="module")
def gateway(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("traps") / "gate", endpoint=far.url, rules=RULES)
    with running(home) as started:
        yield started


def plain(value: Any) -> Any:
    """What boto3 gives, as JSON can say it."""
    match value:
        case datetime.datetime():
            return f"epoch:{value.timestamp():.0f}"
        case bytes():
            return "bytes:" + value.decode("latin-1")
        case StreamingBody():
            return plain(value.read())
        case EventStream():
            return [plain(each) for each in value]
        case Mapping():
            return {name: plain(each) for name, each in value.items()}
        case list():
            return [plain(each) for each in value]
    return value


def holds(found: Any, wanted: Any) -> bool:
    """Whether `found` says all that `wanted` does."""
    if wanted is ...:
        return True
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(holds(found.get(name), wanted[name]) for name in wanted)
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(holds, found, wanted))
    if wanted == EPOCH:
        return found in (EPOCH, 0) or str(found).startswith("1970-01-01T00:00:00")
    return bool(found == wanted or (wanted == BYTES and found == base64.b64encode(b"***").decode()))


def check(told: Mapping[str, Any], far: Recorder, before: int) -> None:
    """Every trap was read as it should be, at the first attempt, and nothing of the canary came through."""
    wrong = {name: each for name, each in told.items() if not holds(each, TRAPS[name].wanted)}
    assert wrong == {}, json.dumps(wrong, indent=1)
    assert CANARY not in json.dumps(told)
    sent = [next(name for name, trap in TRAPS.items() if trap.mark in raw) for raw in far.requests[before:]]
    assert sorted(set(sent)) == sorted(told)
    # What fails may be tried again.
    assert all(sent.count(name) == 1 for name in told if "error" not in TRAPS[name].wanted), sent


def test_boto3_reads_every_masked_answer_at_the_first_attempt(gateway: Gateway, far: Recorder) -> None:
    before, told, url = len(far.requests), {}, gateway.proxy_url()
    session = boto3.session.Session(ACCESS_KEY, "secret", region_name="us-east-1")
    config = Config(proxies={"https": url}, retries={"mode": "legacy", "total_max_attempts": 2})
    for name, trap in TRAPS.items():
        client = session.client(trap.service, verify=str(gateway.home.ca), config=config)
        call = client._make_api_call
        try:
            told[name] = plain(call(trap.operation, dict(trap.given)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the trap that wants one tells
            told[name] = {"error": f"{type(error).__name__}: {error}"}
    check(told, far, before)
    ends = gateway.ended(len(far.requests) - before)
    withheld = [end for end in ends if end["result"] != "completed"]
    assert {(end["result"], end["reason"]) for end in withheld} == {("blocked", "mask-truncated")}


# All commands in one process: starting the AWS CLI takes longer than what it does.
CLI = """
import contextlib, io, json, sys
from awscli.clidriver import create_clidriver
told = {}
for name, words in json.load(sys.stdin).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = create_clidriver().main([*words, "--output", "json"])
    told[name] = {"error": status, "said": err.getvalue()} if status else json.loads(out.getvalue())
print(json.dumps(told))
"""


def test_the_aws_cli_reads_every_masked_answer_at_the_first_attempt(
    gateway: Gateway, far: Recorder, tmp_path: Path
) -> None:
    before, body = len(far.requests), tmp_path / "body"
    commands = {
        name: [str(body) if word == "OUTFILE" else word for word in trap.cli.split()]
        for name, trap in TRAPS.items()
        if trap.cli
    }
    environ = {**gateway.environ(), "AWS_MAX_ATTEMPTS": "3", "AWS_CONFIG_FILE": str(tmp_path / "none")}
    done = subprocess.run(
        [sys.executable, "-c", CLI], input=json.dumps(commands), env=environ, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    told["checksums"]["Body"] = plain(body.read_bytes())
    assert done.stderr == ""
    check(told, far, before)


@pytest.mark.full
@pytest.mark.timeout(300)
def test_the_javascript_sdk_reads_every_masked_answer_at_the_first_attempt(
    gateway: Gateway, far: Recorder, tmp_path: Path
) -> None:
    folder = tmp_path / "js"
    shutil.copytree(HERE.parent / "aws" / "js", folder)
    shutil.copy(HERE / "js" / "traps.cjs", folder)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=250)
    calls = [
        {"name": name, "client": "client-" + JS.get(trap.service, trap.service), "command": trap.operation,
         "input": trap.given}
        for name, trap in TRAPS.items()
    ]  # fmt: skip
    environ = {
        **{name: os.environ[name] for name in ("PATH", "HOME")},
        "CALLGATE_GATEWAY": f"http://{gateway.proxy}",
        "CALLGATE_CA": str(gateway.home.ca),
        "CALLGATE_TOKEN": gateway.home.token(),
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "2",
    }
    before = len(far.requests)
    command = [str(BIN / "callgate"), "run", "--", "node", "--no-warnings", str(folder / "traps.cjs")]
    done = subprocess.run(
        command, input=json.dumps(calls), env=environ, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    check(json.loads(done.stdout), far, before)
