"""What calls need, operation by operation."""

from __future__ import annotations

from typing import Any

import pytest

from callgate.aws.needs import needs_of

HERE = {"region": "eu-west-1", "partition": "aws", "account": "111111111111"}


def needs(name: str, parameters: dict[str, Any], **scope: Any) -> list[tuple[str, str]]:
    """Action and resource of each need, resources shortened to what follows `arn:aws:` where they start so."""
    service, _, operation = name.partition(":")
    return [
        (need.action, need.resource.removeprefix("arn:aws:"))
        for need in needs_of(service, operation, parameters, **(HERE | scope))
    ]


CASES: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    (
        "dynamodb:GetItem",
        {"TableName": "t"},
        [("dynamodb:GetItem", "dynamodb:eu-west-1:111111111111:table/t")],
    ),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), CASES, ids=[case[0] for case in CASES])
def test_an_operation_needs(name: str, parameters: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert needs(name, parameters) == expected
