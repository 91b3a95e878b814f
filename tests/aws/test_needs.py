"""What calls need, operation by operation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.aws import iam
from callgate.aws.needs import needs_of
from callgate.call import Need

DATA = Path(__file__).parent.parent / "data" / "aws"


def needs(name: str, parameters: dict[str, Any], **scope: Any) -> tuple[Need, ...]:
    service, _, operation = name.partition(":")
    here = {"region": "eu-west-1", "partition": "aws", "account": "111111111111"}
    return needs_of(service, operation, parameters, **(here | scope))


def written(need: Need) -> str:
    resource = need.resource.removeprefix("arn:aws:").replace(":eu-west-1:111111111111:", ":@:")
    return f"{need.action} {resource}" + ("" if need.determined else " ?")


def table() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """The cases of tests/data/aws/needs.txt."""
    text = (DATA / "needs.txt").read_text()
    for case in re.findall(r"^(\w.*(?:\n {4}.*)+)", text, re.M):
        head, *expected = case.split("\n    ")
        name, _, parameters = head.partition(" ")
        yield name, json.loads(parameters), expected


CASES = list(table())


@pytest.mark.parametrize(("name", "parameters", "expected"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.case("D14", "D15")
def test_an_operation_needs(name: str, parameters: dict[str, Any], expected: list[str]) -> None:
    assert [written(need) for need in needs(name, parameters)] == expected


def test_the_table_covers_hundreds_of_cases_and_many_services() -> None:
    assert len(CASES) > 300
    assert len({name.partition(":")[0] for name, _, _ in CASES}) > 60


def operations() -> Iterator[tuple[str, str]]:
    loader = Loader()
    for service in loader.list_available_services("service-2"):
        for operation in loader.load_service_model(service, "service-2")["operations"]:
            yield service, operation


def test_every_operation_needs_an_action_that_iam_knows_or_is_listed_as_an_exception() -> None:
    """The exceptions are operations that IAM has no action for, or that its table does not have yet."""
    unknown: dict[str, list[str]] = {}
    for service, operation in operations():
        found = needs(f"{service}:{operation}", {})
        assert found
        if not all(iam.find(need.action) for need in found):
            unknown.setdefault(service, []).append(operation)
    listed = dict(line.split(" ", 1) for line in (DATA / "actions-not-in-iam.txt").read_text().splitlines())
    assert {service: " ".join(names) for service, names in unknown.items()} == listed


def test_an_operation_out_of_the_tables_needs_the_action_of_its_name_on_anything() -> None:
    assert [written(need) for need in needs("s3:BrandNew", {"Bucket": "b"})] == ["s3:BrandNew s3:::b"]
    assert [written(need) for need in needs("sqs:BrandNew", {})] == ["sqs:BrandNew * ?"]
    assert [written(need) for need in needs("cloudwatch:BrandNew", {})] == ["cloudwatch:BrandNew * ?"]
    assert [written(need) for need in needs("unheard-of:Thing", {})] == ["unheard-of:Thing * ?"]


def test_needs_name_their_operation_and_the_access_level_of_their_action() -> None:
    (need,) = needs("rds:DeleteDBInstance", {"DBInstanceIdentifier": "prod"})
    assert need.operation == "rds:DeleteDBInstance"
    assert need.access == "write"
    levels = {
        name: needs(name, {})[0].access
        for name in (
            "s3:ListBuckets",
            "s3:GetObject",
            "ec2:CreateTags",
            "iam:AttachRolePolicy",
            "unheard-of:Thing",
        )
    }
    assert list(levels.values()) == ["list", "read", "tagging", "permissions-management", None]


def test_an_unknown_account_or_region_leaves_a_hole_in_the_arn() -> None:
    (need,) = needs("dynamodb:GetItem", {"TableName": "t"}, account=None)
    assert (need.resource, need.determined) == ("arn:aws:dynamodb:eu-west-1:*:table/t", False)
    (need,) = needs("dynamodb:GetItem", {"TableName": "t"}, region=None)
    assert (need.resource, need.determined) == ("arn:aws:dynamodb:*:111111111111:table/t", False)
    (need,) = needs("s3:GetObject", {"Bucket": "b", "Key": "k"}, account=None, region=None)
    assert (need.resource, need.determined) == ("arn:aws:s3:::b/k", True)


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov", "aws-iso"])
def test_arns_are_of_the_partition_of_the_call(partition: str) -> None:
    for name, parameters in (
        ("s3:GetObject", {"Bucket": "b", "Key": "k"}),
        ("sqs:CreateQueue", {"QueueName": "q"}),
        ("iam:DeleteRole", {"RoleName": "r"}),
        ("apigateway:GetRestApis", {}),
        ("ec2:TerminateInstances", {"InstanceIds": ["i-1"]}),
        ("dynamodb:ExecuteStatement", {"Statement": "DELETE FROM t WHERE a=1"}),
    ):
        assert all(
            n.resource.startswith(f"arn:{partition}:") for n in needs(name, parameters, partition=partition)
        )


def test_a_name_with_wildcards_is_itself_and_no_hole() -> None:
    (need,) = needs("dynamodb:GetItem", {"TableName": "*"})
    assert (need.resource, need.determined) == ("arn:aws:dynamodb:eu-west-1:111111111111:table/*", True)


WORDS = st.sampled_from(
    ["", "a", "arn:", "arn:aws:s3:::b", "arn:a:b:c:d:e:f", "http://[", "*", "a:b:c", "/", "\0"]
)
LEAVES = st.none() | st.booleans() | st.integers() | WORDS | st.binary(max_size=2)
KEYS = sorted({key for _, parameters, _ in CASES for key in parameters})
NESTED = [*KEYS, "Objects", "Values", "Put", "DeleteRequest", "Statement"]
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NESTED), inner, max_size=2),
    max_leaves=4,
)


@given(
    name=st.sampled_from(sorted({case[0] for case in CASES})),
    parameters=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
)
def test_no_parameters_make_it_raise_or_leave_a_call_without_needs(
    name: str, parameters: dict[str, Any]
) -> None:
    assert needs(name, parameters)


@pytest.mark.parametrize("name", sorted({case[0] for case in CASES}))
@given(value=VALUES)
@settings(max_examples=5, deadline=None)
def test_no_value_of_a_parameter_that_it_reads_makes_it_raise(name: str, value: Any) -> None:
    for case, parameters, _ in CASES:
        if case == name:
            for key in parameters:
                assert needs(name, parameters | {key: value})
