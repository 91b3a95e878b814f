"""A value of another kind than the model's carries nothing past a mask."""

import json
import random
from typing import Any

import botocore.loaders
import pytest
from kinds import check_values, check_xml
from mask_helpers import KEY, answer, make_call, mask, masks_of

from callgate.aws import service_model
from callgate.call import Refusal
from callgate.masking import stream_masker
from callgate.masking.eventstream import Message


@pytest.mark.parametrize(
    ("service", "operation", "protocol"),
    [
        ("ssm", "GetParameter", "json"),
        ("ssm", "GetParameters", "json"),
        ("secretsmanager", "BatchGetSecretValue", "json"),
        ("dynamodb", "GetItem", "json"),
        ("dynamodb", "Query", "json"),
        ("ecs", "DescribeTaskDefinition", "json"),
        ("lambda", "GetFunctionConfiguration", "rest-json"),
        ("lambda", "GetFunction", "rest-json"),
        ("appsync", "ListApiKeys", "rest-json"),
        ("apigateway", "GetApiKeys", "rest-json"),
        ("cloudwatch", "DescribeAlarms", "smithy-rpc-v2-cbor"),
        ("cloudwatch", "GetMetricData", "smithy-rpc-v2-cbor"),
    ],
)
def test_no_other_kind_carries_a_secret_past_a_mask(service: str, operation: str, protocol: str) -> None:
    assert check_values(service, operation, protocol, 4) > 10


@pytest.mark.parametrize(
    ("service", "operation", "protocol"),
    [
        ("iam", "CreateAccessKey", "query"),
        ("iam", "ListUsers", "query"),
        ("rds", "DescribeDBInstances", "query"),
        ("elasticbeanstalk", "DescribeConfigurationSettings", "query"),
        ("ec2", "DescribeInstances", "ec2"),
        ("ec2", "CreateKeyPair", "ec2"),
        ("s3", "ListObjectsV2", "rest-xml"),
        ("s3", "GetBucketAcl", "rest-xml"),
        ("route53", "ListHostedZones", "rest-xml"),
        ("cloudfront", "GetDistribution", "rest-xml"),
        ("sqs", "ReceiveMessage", "json"),
    ],
)
def test_no_other_element_carries_a_secret_past_a_mask(service: str, operation: str, protocol: str) -> None:
    assert (check_values if protocol == "json" else check_xml)(service, operation, protocol, 4) > 0


XML = ("query", "ec2", "rest-xml")


@pytest.mark.full
@pytest.mark.timeout(900)
def test_nothing_of_another_kind_carries_a_secret_past_a_mask_in_any_service() -> None:
    refused, chance = 0, random.Random(7)
    for service in botocore.loaders.Loader().list_available_services("service-2"):
        model = service_model(service)
        operations = [model.operation_model(name) for name in model.operation_names]
        readable = [
            each.name for each in operations if each.output_shape and not each.has_event_stream_output
        ]
        for name in chance.sample(readable, min(1, len(readable))):
            for protocol in model.metadata.get("protocols") or [model.metadata["protocol"]]:
                refused += (check_xml if protocol in XML else check_values)(service, name, protocol, 3)
    assert refused > 10_000


PARAMETER = make_call("ssm", "GetParameter")
VALUE = "$.Parameter.Value"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"Parameter":[{"Value":"canary"}]}', VALUE),
        ('{"Parameter":[{"Value":"canary"}]}', "$.Parameter.*"),
        ('{"Parameter":"canary"}', VALUE),
        ('{"Parameter":"canary"}', "$..Value"),
        ('{"Parameter":5}', VALUE),
        ('{"Parameter":true}', VALUE),
        ('{"parameter":["canary"]}', VALUE),
        (r'{"P\u0061rameter":["canary"]}', VALUE),
        ('{"Parameter":{"Value":"x"},"Parameter":["canary"]}', VALUE),
        ('{"Parameter":{"Value":"x"},"Parameter":"canary"}', VALUE),
    ],
)
def test_a_structure_that_is_none_is_refused(body: str, path: str) -> None:
    with pytest.raises(Refusal, match=r"mask-unreadable: .* another kind"):
        mask(PARAMETER, answer(body), path)


PARAMETERS = make_call("ssm", "GetParameters")


@pytest.mark.parametrize(
    ("body", "path", "terms"),
    [
        ('{"Parameters":{"Value":"canary"}}', "$.Parameters[*].Value", {}),
        ('{"Parameters":[["canary"]]}', "$.Parameters[*].Value", {}),
        ('{"Parameters":[{"Value":"x"},"canary"]}', "$.Parameters[*].Value", {}),
        ('{"Parameters":["canary","canary"]}', "$..Value", {"how": "drop"}),
        ('{"Parameters":["canary"]}', "$.Parameters[0].Value", {"inside": "$.password"}),
        ('{"Parameters":[[{"Name":"x","Value":"canary"}]]}', "$.Parameters[?(@.Name=='x')].Value", {}),
        ('{"Parameters":[{"Name":["x"],"Value":"canary"}]}', "$.Parameters[?(@.Name=='x')].Value", {}),
        (
            '{"Parameters":[{"Name":"x","Name":"y","Value":"canary"}]}',
            "$.Parameters[?(@.Name=='x')].Value",
            {},
        ),
        (
            '{"Parameters":[{"Name":"x","name":"y","Value":"canary"}]}',
            "$.Parameters[?(@.Name=='x')].Value",
            {},
        ),
    ],
)
def test_a_list_that_is_none_and_items_in_doubt_are_refused(
    body: str, path: str, terms: dict[str, Any]
) -> None:
    with pytest.raises(Refusal, match="mask-unreadable"):
        mask(PARAMETERS, answer(body), path, **terms)


def test_sensitive_members_are_found_in_no_other_kind() -> None:
    for body in ('{"SecretValues":{"SecretString":"canary"}}', '{"SecretValues":["canary"]}'):
        with pytest.raises(Refusal, match="mask-unreadable"):
            mask(make_call("secretsmanager", "BatchGetSecretValue"), answer(body), sensitive=True)


@pytest.mark.parametrize(
    ("body", "path", "wanted"),
    [
        ('{"Parameter":null}', VALUE, '{"Parameter":null}'),
        ('{"Parameter":{"Value":["canary"]}}', VALUE, '{"Parameter":{"Value":[]}}'),
        ('{"Parameter":{"Name":["n"]}}', VALUE, '{"Parameter":{"Name":["n"]}}'),
        ('{"New":[1,{"Parameter":{"Value":"canary"}}]}', VALUE, '{"New":[1,{"Parameter":{"Value":"***"}}]}'),
        ('{"Parameter":{"New":{"Value":"canary"}}}', VALUE, '{"Parameter":{"New":{"Value":"***"}}}'),
        ('{"Parameter":{"New":"x","ARN":"a"}}', VALUE, '{"Parameter":{"New":"x","ARN":"a"}}'),
    ],
)
def test_null_and_what_no_model_knows_pass_with_the_masks_sought_in_them(
    body: str, path: str, wanted: str
) -> None:
    assert mask(PARAMETER, answer(body), path).response.body == wanted.encode()


def test_a_document_may_be_of_any_kind_and_is_reached_as_the_path_says() -> None:
    call = make_call("bedrock-runtime", "Converse")
    path = "$.output.message.content[*].toolUse.input.a"
    for input_, wanted in (
        ('{"a":"canary","b":{"a":"x"}}', '{"a":"***","b":{"a":"x"}}'),
        ('[{"a":"x"}]', '[{"a":"x"}]'),
        ('"x"', '"x"'),
    ):
        body = '{"output":{"message":{"content":[{"toolUse":{"input":%s}}]}}}'
        assert mask(call, answer(body % input_), path).response.body == (body % wanted).encode()


@pytest.mark.parametrize(
    "payload",
    [{"delta": ["canary"]}, {"delta": "canary"}, ["canary"], {"delta": [{"text": "canary"}]}, "canary"],
)
def test_events_of_another_kind_end_their_stream(payload: Any) -> None:
    head = (("Content-Type", "application/vnd.amazon.eventstream"),)
    call = make_call("bedrock-runtime", "ConverseStream")
    headers = ((":event-type", 7, b"contentBlockDelta"), (":message-type", 7, b"event"))
    masker = stream_masker(masks_of("$.stream.contentBlockDelta.delta.text"), call, 200, head, key=KEY)
    assert masker is not None
    with pytest.raises(Refusal, match="mask-unreadable"):
        masker.feed(Message(headers, json.dumps(payload).encode()).encode())


@pytest.mark.parametrize(
    "alarms",
    [
        b"\x66canary",  # a string
        b"\xa1\x69AlarmName\x66canary",  # a map
        b"\xc1\x81\xa1\x69AlarmName\x66canary",  # behind the tag of a time
        b"\xd8\x20\x81\xa1\x69AlarmName\x66canary",  # behind another tag
        b"\x81\x81\xa1\x69AlarmName\x66canary",  # a list too many
        b"\x81\xc1\xa1\x69AlarmName\x66canary",  # items behind a tag
    ],
)
def test_cbor_of_another_kind_is_refused(alarms: bytes) -> None:
    call = make_call("cloudwatch", "DescribeAlarms", "smithy-rpc-v2-cbor")
    for path in ("$.MetricAlarms[*].AlarmName", "$..AlarmName"):
        with pytest.raises(Refusal, match="mask-unreadable"):
            mask(call, answer(b"\xa1\x6cMetricAlarms" + alarms), path)
