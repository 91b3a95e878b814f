"""Bounds on parameters: what reaches one is read, what goes one past it is refused, in every protocol."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Any

import pytest
from signed import Builder, session

from callgate import aws
from callgate.call import HttpRequest, Refusal


def code(request: HttpRequest, **limits: int) -> str | None:
    """Why `request` is refused under `limits`; None if it is read."""
    try:
        aws.read(request, limits=aws.Limits(**limits))
    except Refusal as refusal:
        return refusal.code
    return None


def built(service: str, operation: str, **parameters: Any) -> HttpRequest:
    return Builder(service, made=session()).build(operation, parameters)


def nested(levels: int) -> Any:
    """An attribute value of DynamoDB with 2 levels for each of `levels`, and one."""
    return {"L": [nested(levels - 1)]} if levels else {"S": "x"}


# The request, the values in it, and its levels.
SHAPES: dict[str, tuple[HttpRequest, int, int]] = {
    # TableName, and Key with k with S
    "json": (built("dynamodb", "GetItem", TableName="t", Key={"k": {"S": "v"}}), 4, 3),
    "json-nested": (built("dynamodb", "PutItem", TableName="t", Item={"k": nested(2)}), 8, 7),
    "cbor": (built("cloudwatch", "ListMetrics", Namespace="n", Dimensions=[{"Name": "d"}]), 4, 3),
    "query": (built("iam", "ListUsers", PathPrefix="/a/", MaxItems=7), 4, 1),
    "ec2": (built("ec2", "DescribeInstances", InstanceIds=["i-1", "i-2"]), 4, 1),
    "rest-json": (built("batch", "ListJobs", jobQueue="q", filters=[{"name": "n", "values": ["v"]}]), 6, 4),
    "rest-xml": (
        built("s3", "DeleteObjects", Bucket="bkt", Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]}),
        5,
        2,
    ),
}


@pytest.mark.parametrize("name", SHAPES)
def test_as_many_values_as_permitted_are_read_and_one_more_is_refused(name: str) -> None:
    request, values, _ = SHAPES[name]
    assert code(request, parameters=values) is None
    assert code(request, parameters=values - 1) == "too-many-parameters"


@pytest.mark.parametrize("name", SHAPES)
def test_as_many_levels_as_permitted_are_read_and_one_more_is_refused(name: str) -> None:
    request, _, levels = SHAPES[name]
    assert code(request, depth=levels) is None
    assert levels == 1 or code(request, depth=levels - 1) == "too-deep"


def test_values_are_counted_and_not_the_commas_in_strings() -> None:
    request = built("dynamodb", "GetItem", TableName="t", Key={"k": {"S": ',[{\\",' * 1000}})
    assert code(request, parameters=4) is None
    assert code(request, parameters=3) == "too-many-parameters"


def test_a_body_decodes_to_as_many_bytes_as_permitted_and_no_more() -> None:
    data = [{"MetricName": "m" * 200, "Value": 1.0}] * 100
    request = built("cloudwatch", "PutMetricData", Namespace="n", MetricData=data)
    assert request.values("content-encoding") == ["gzip"]
    size = len(gzip.decompress(request.body or b""))
    assert code(request, decoded=size) is None
    assert code(request, decoded=size - 1) == "body-too-large"


@pytest.mark.parametrize("item", [b"[],", b"0,", b"{},"])
def test_sixteen_megabytes_of_nothing_are_refused_before_they_are_built(item: bytes) -> None:
    request = built("dynamodb", "ListTables")
    body = b'{"a":[' + item * (16 * 1024 * 1024 // len(item)) + b"0]}"
    headers = tuple(field for field in request.headers if field[0].lower() != "content-length")
    assert code(replace(request, body=body, headers=headers)) == "too-many-parameters"


@pytest.mark.parametrize("end", [b'"' * 8_000_001, b'\\"' * 4_000_000, b'"' + b"\\" * 8_000_001])
def test_strings_that_do_not_end_take_no_longer_than_others(end: bytes) -> None:
    request = built("dynamodb", "ListTables")
    headers = tuple(field for field in request.headers if field[0].lower() != "content-length")
    for commas, expected in ((200_000, "malformed-json"), (200_001, "too-many-parameters")):
        assert code(replace(request, body=b"," * commas + end, headers=headers)) == expected
