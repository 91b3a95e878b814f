"""The way of a call: real boto3 and the real AWS CLI through a real gateway process to moto."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.gateway import Gateway, make_home, running, wait_for

RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]

[[rule]]
id = "no-users"
effect = "deny"
reason = "Workloads use roles."
action = ["iam:CreateUser"]

[[rule]]
id = "no-terminate"
effect = "deny"
action = [
    "ec2:TerminateInstances", "sqs:DeleteQueue", "dynamodb:DeleteTable", "s3:DeleteObject",
    "lambda:DeleteFunction", "cloudwatch:DeleteAlarms", "route53:DeleteHostedZone",
]

[[rule]]
id = "secrets"
effect = "mask"
action = ["secretsmanager:GetSecretValue"]
response = ['$..SecretString', '$..SecretBinary']

[[rule]]
id = "user-arns"
effect = "mask"
action = ["sts:GetCallerIdentity"]
response = ['$.Arn']

[[rule]]
id = "delete-bucket"
effect = "hold"
reason = "Deleting takes a person."
action = ["s3:DeleteBucket"]
hold = { by = ["oncall"], within = "20s" }
"""


@pytest.fixture(scope="module")
def gateway(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("way") / "gate", endpoint=moto, rules=RULES)
    with running(home) as started:
        yield started


def last(gateway: Gateway, name: str) -> dict:
    """The newest terminal entry of the operation, joined with its intent."""

    def found() -> dict | None:
        entries = gateway.entries()
        intents = [each for each in entries if each.get("eventName") == name]
        if not intents:
            return None
        ends = [
            e
            for e in entries
            if e["kind"] in ("call.outcome", "call.refused") and e["callId"] == intents[-1]["callId"]
        ]
        return {**intents[-1], **ends[0]} if ends else None

    return wait_for(found, 10, f"the end of {name}")


@pytest.mark.case("A19")
def test_a_call_is_attributed_to_the_token_and_not_to_the_key(gateway: Gateway) -> None:
    gateway.client("s3").create_bucket(Bucket="attributed")
    call = last(gateway, "CreateBucket")
    assert call["userIdentity"]["principalId"].startswith("github:acme/infra")
    session = next(
        each for each in gateway.entries() if each.get("sessionId") == call["userIdentity"]["sessionId"]
    )
    assert session["claims"]["repository"] == "acme/infra"
    assert call["eventSource"] == "s3.amazonaws.com"
    assert call["result"] == "completed"
    assert call["statusCode"] == 200
    assert {"action": "s3:CreateBucket", "ARN": "arn:aws:s3:::attributed"} in call["resources"]


@pytest.mark.case("D20")
def test_a_plain_put_object_goes_through_with_its_trailing_checksum(gateway: Gateway) -> None:
    s3 = gateway.client("s3")
    s3.create_bucket(Bucket="plain")
    s3.put_object(Bucket="plain", Key="a/b c.txt", Body=b"hello " * 1000)
    assert s3.get_object(Bucket="plain", Key="a/b c.txt")["Body"].read() == b"hello " * 1000
    assert last(gateway, "PutObject")["bytesSent"] >= 6000


@pytest.mark.case("D20")
def test_a_multipart_upload_arrives_whole(gateway: Gateway, tmp_path: Path) -> None:
    s3 = gateway.client("s3")
    s3.create_bucket(Bucket="multipart")
    data = bytes(range(256)) * (12 * 4096)
    (tmp_path / "big").write_bytes(data)
    s3.upload_file(str(tmp_path / "big"), "multipart", "big")
    assert s3.get_object(Bucket="multipart", Key="big")["Body"].read() == data
    assert last(gateway, "CompleteMultipartUpload")["result"] == "completed"


def test_the_aws_cli_syncs_a_folder_with_ten_connections(gateway: Gateway, tmp_path: Path) -> None:
    gateway.client("s3").create_bucket(Bucket="synced")
    folder = tmp_path / "site"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number}.txt").write_text(str(number) * 100)
    gateway.aws("s3", "sync", str(folder), "s3://synced")
    listed = gateway.client("s3").list_objects_v2(Bucket="synced")
    assert listed["KeyCount"] == 60
    back = tmp_path / "back"
    gateway.aws("s3", "sync", "s3://synced", str(back))
    assert sorted(path.name for path in back.iterdir()) == sorted(path.name for path in folder.iterdir())


def test_an_sqs_long_poll_waits_and_returns(gateway: Gateway) -> None:
    sqs = gateway.client("sqs")
    url = sqs.create_queue(QueueName="poll")["QueueUrl"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)
    sqs.send_message(QueueUrl=url, MessageBody="hi")
    assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=2)["Messages"][0]["Body"] == "hi"


@pytest.mark.case("D20")
def test_a_gzipped_put_metric_data_goes_through(gateway: Gateway) -> None:
    data = [{"MetricName": f"m{number}", "Value": float(number)} for number in range(500)]
    gateway.client("cloudwatch").put_metric_data(Namespace="Test", MetricData=data)
    assert last(gateway, "PutMetricData")["result"] == "completed"


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "protocol"),
    [
        ("iam", "create_user", {"UserName": "x"}, "query"),
        ("ec2", "terminate_instances", {"InstanceIds": ["i-1234567890abcdef0"]}, "ec2"),
        ("sqs", "delete_queue", {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/q"}, "json"),
        ("dynamodb", "delete_table", {"TableName": "t"}, "json"),
        ("s3", "delete_object", {"Bucket": "denied-bucket", "Key": "k"}, "rest-xml"),
        ("lambda", "delete_function", {"FunctionName": "f"}, "rest-json"),
        ("cloudwatch", "delete_alarms", {"AlarmNames": ["a"]}, None),
        ("route53", "delete_hosted_zone", {"Id": "Z123"}, "rest-xml"),
    ],
)
@pytest.mark.parametrize("mode", ["standard", "legacy"])
def test_a_denial_is_an_error_that_sdks_understand_and_do_not_retry(
    gateway: Gateway, service: str, operation: str, arguments: dict, protocol: str | None, mode: str
) -> None:
    before = len([each for each in gateway.entries("call.refused")])
    client = gateway.client(service, retries={"mode": mode, "total_max_attempts": 4})
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**arguments)
    error = caught.value.response["Error"]
    assert error["Code"] in ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
    assert "no-users" in error["Message"] or "no-terminate" in error["Message"]
    assert "Ask in #platform." in error["Message"]
    refused = gateway.entries("call.refused")[before:]
    assert len(refused) == 1
    assert refused[0]["callId"] in error["Message"]
    assert refused[0]["reason"] == "rule-deny"
    if protocol:
        assert refused[0]["protocol"] == protocol


def test_what_no_rule_allows_is_refused(moto: str, folder: Path) -> None:
    rules = '[[rule]]\nid = "only-sts"\neffect = "allow"\naction = ["sts:GetCallerIdentity"]\n'
    with running(make_home(folder, endpoint=moto, rules=rules)) as gateway:
        gateway.client("sts").get_caller_identity()
        with pytest.raises(ClientError, match="AccessDenied"):
            gateway.client("dynamodb").list_tables()
        assert [each["reason"] for each in gateway.ended(2) if each["kind"] == "call.refused"] == [
            "no-rule-allows"
        ]


def test_a_secret_comes_back_masked_in_json(gateway: Gateway, moto: str) -> None:
    secrets = gateway.client("secretsmanager")
    secrets.create_secret(Name="masked", SecretString="canary-secret-1")
    assert "canary" not in json.dumps(secrets.get_secret_value(SecretId="masked"), default=str)
    assert "SecretString" in last(gateway, "GetSecretValue")["masked"][0]
    assert "canary" not in json.dumps(gateway.entries())


def test_a_field_comes_back_masked_in_xml(gateway: Gateway) -> None:
    answer = gateway.client("sts").get_caller_identity()
    assert answer["Account"] == "123456789012"
    assert "arn:" not in answer["Arn"]


def test_a_held_call_waits_for_a_person_and_goes_through(gateway: Gateway) -> None:
    s3 = gateway.client("s3")
    s3.create_bucket(Bucket="held")
    done: list[object] = []
    job = threading.Thread(target=lambda: done.append(s3.delete_bucket(Bucket="held")))
    job.start()
    hold = wait_for(lambda: pending(gateway), 10, "the hold")
    assert not done
    gateway.callgate("approvals", "approve", hold, "--reason", "fine")
    job.join(20)
    assert len(done) == 1
    call = last(gateway, "DeleteBucket")
    assert call["holdId"] == hold
    assert call["result"] == "completed"
    kinds = [entry["kind"] for entry in gateway.entries()]
    assert "hold.approved" in kinds
    assert "hold.used" in kinds


def test_a_held_call_that_is_denied_is_refused_and_never_sent(gateway: Gateway) -> None:
    s3 = gateway.client("s3", retries={"mode": "standard", "total_max_attempts": 4})
    s3.create_bucket(Bucket="kept")
    caught: list[ClientError] = []

    def delete() -> None:
        try:
            s3.delete_bucket(Bucket="kept")
        except ClientError as error:
            caught.append(error)

    job = threading.Thread(target=delete)
    job.start()
    hold = wait_for(lambda: pending(gateway), 10, "the hold")
    gateway.callgate("approvals", "deny", hold, "--reason", "not today")
    job.join(20)
    assert caught[0].response["Error"]["Code"] == "AccessDenied"
    assert "kept" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def pending(gateway: Gateway) -> str | None:
    said = json.loads(gateway.callgate("approvals", "list", "--json").stdout)
    holds = said["approvals"] if isinstance(said, dict) else said
    waiting = [hold["id"] for hold in holds if hold["state"] == "pending"]
    return waiting[0] if waiting else None


def test_the_call_id_reaches_cloudtrail_in_the_user_agent(folder: Path, upstream) -> None:  # type: ignore[no-untyped-def]
    with running(make_home(folder, endpoint=upstream.url)) as gateway:
        gateway.client("dynamodb").list_tables()
        call = gateway.ended()[0]
    assert f"callgate/{call['callId']}".encode() in upstream.requests[0]
    assert b"Proxy-Authorization" not in upstream.raw
    assert b"Host: dynamodb.us-east-1.amazonaws.com" in upstream.requests[0]


def test_every_call_has_exactly_one_terminal_entry(gateway: Gateway) -> None:
    ends = [each["callId"] for each in gateway.entries() if each["kind"] in ("call.outcome", "call.refused")]
    assert len(ends) == len(set(ends))
