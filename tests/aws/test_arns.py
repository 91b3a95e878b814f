"""ARNs filled from templates, parameters and the place of a call."""

from __future__ import annotations

from typing import Any

import pytest

from callgate.aws.arns import UNTOLD, Resource, Scope, Template, is_arn, path, values

HERE = Scope("aws", "eu-west-1", "111111111111")
TABLE = "arn:${Partition}:dynamodb:${Region}:${Account}:table/${TableName}"
TASK = "arn:${Partition}:ecs:${Region}:${Account}:task/${ClusterName}/${TaskId}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Name", ["a"]),
        ("Missing", []),
        ("Empty", []),
        ("Number", ["7"]),
        ("Flag", []),
        ("Blob", []),
        ("List[]", ["x", "y"]),
        ("Items[].Id", ["1", "2"]),
        ("Map[]", ["m"]),
        ("Name.Deeper", []),
        ("=default", ["default"]),
        ("&Name", []),
        ("&Arn", ["arn:aws:s3:::b"]),
    ],
)
def test_values_stand_at_a_path(text: str, found: list[str]) -> None:
    parameters: dict[str, Any] = {
        "Name": "a",
        "Empty": "",
        "Number": 7,
        "Flag": True,
        "Blob": b"x",
        "List": ["x", "y", None],
        "Items": [{"Id": "1"}, {"Id": "2"}, {}],
        "Map": {"k": "m"},
        "Arn": "arn:aws:s3:::b",
    }
    assert values(parameters, path(text)) == found


def test_a_template_is_filled_for_each_value() -> None:
    template = Template.compile(TASK, {"ClusterName": ["cluster"], "TaskId": ["tasks[]"]})
    found, known = template.fill({"cluster": "c", "tasks": ["1", "2"]}, HERE)
    assert [resource.arn[-8:] for resource in found] == ["task/c/1", "task/c/2"]
    assert known == 2


def test_more_combinations_than_anybody_asks_for_are_one_that_is_not_determined() -> None:
    template = Template.compile(TASK, {"ClusterName": ["c[]"], "TaskId": ["t[]"]})
    for size, many in ((30, 930), (40_000, 1)):
        names = [str(number) for number in range(size)]
        found, _ = template.fill({"c": names, "t": [*names, "x"]}, HERE)
        assert len(found) == many
    assert found == [Resource("arn:aws:ecs:eu-west-1:111111111111:task/*/*", False)]


def test_lists_of_equal_length_go_side_by_side() -> None:
    template = Template.compile(TASK, {"ClusterName": ["x[].c"], "TaskId": ["x[].t"]})
    found, _ = template.fill({"x": [{"c": "a", "t": "1"}, {"c": "b", "t": "2"}]}, HERE)
    assert [resource.arn[-8:] for resource in found] == ["task/a/1", "task/b/2"]


def test_a_parameter_with_a_whole_arn_is_the_resource() -> None:
    template = Template.compile(TABLE, {"TableName": ["TableName"]})
    arn = "arn:aws:dynamodb:us-east-1:222222222222:table/t"
    assert template.fill({"TableName": arn}, HERE) == ([Resource(arn)], 1)


def test_a_parent_given_by_its_arn_tells_where_the_resource_is() -> None:
    template = Template.compile(TASK, {"ClusterName": ["cluster"], "TaskId": ["task"]})
    found, _ = template.fill({"cluster": "arn:aws:ecs:us-east-1:222222222222:cluster/c", "task": "1"}, HERE)
    assert found == [Resource("arn:aws:ecs:us-east-1:222222222222:task/c/1")]


def test_what_is_not_told_stays_open_and_what_is_made_does_not() -> None:
    template = Template.compile(TABLE, {"TableName": ["TableName"]})
    assert template.fill({}, HERE) == (
        [Resource("arn:aws:dynamodb:eu-west-1:111111111111:table/*", False)],
        0,
    )
    made = Template.compile(TABLE, {"TableName": None})
    assert made.fill({}, HERE)[0] == [Resource("arn:aws:dynamodb:eu-west-1:111111111111:table/*")]


def test_a_scope_writes_arns_with_and_without_region_and_account() -> None:
    assert HERE.arn("iam", "role/r", region=False).arn == "arn:aws:iam::111111111111:role/r"
    assert HERE.arn("ec2", "image/i", account=False).arn == "arn:aws:ec2:eu-west-1::image/i"
    assert HERE.arn("s3", f"x/{UNTOLD}") == Resource("arn:aws:s3:eu-west-1:111111111111:x/*", False)
    unknown = Scope("aws-cn", None, None).arn("sqs", "q")
    assert unknown == Resource("arn:aws-cn:sqs:*:*:q", False)


@pytest.mark.parametrize(("text", "is_one"), [("arn:aws:s3:::b", True), ("arn:aws:s3", False), (None, False)])
def test_an_arn_is_told_by_its_shape(text: object, is_one: bool) -> None:
    assert is_arn(text) is is_one
