"""Every operation, as botocore builds and signs it, is named and its parameters come back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import MissingDependencyException, NoAuthTokenError
from botocore.model import OperationModel
from signed import ACCOUNT, Builder, as_json, forced_protocol, plain, sample, session

from callgate import aws
from callgate.call import HttpRequest, Refusal

# Requests that botocore does not build without the C runtime or a bearer token.
UNBUILT = (MissingDependencyException, NoAuthTokenError)
# (service, operation or *, parameter): what goes in and does not come out, and why.
EXPLAINED = {
    # botocore takes it to presign a URL; it is not on the wire.
    ("rds", "*", "SourceRegion"),
    ("neptune", "*", "SourceRegion"),
    ("docdb", "*", "SourceRegion"),
    # botocore encodes it on the way, once more than the model says.
    ("ec2", "RunInstances", "UserData"),
    ("autoscaling", "CreateLaunchConfiguration", "UserData"),
    # botocore percent-encodes it; the needs are those of the decoded source.
    ("s3", "CopyObject", "CopySource"),
    ("s3", "UploadPartCopy", "CopySource"),
    # The deprecated twin of PutBucketLifecycleConfiguration: the same bytes, told by the newer name.
    ("s3", "PutBucketLifecycle", "LifecycleConfiguration"),
    ("s3", "PutBucketLifecycle", "ContentMD5"),
}
# A model in which two members have one wire name, so that a request with both is ambiguous.
REFUSED = {("s3", "PutBucketNotification"): "unknown-parameter"}


def protocols_of(made: botocore.session.Session, service: str) -> list[str]:
    metadata = made.get_service_model(service).metadata
    return list(dict.fromkeys([metadata["protocol"], *metadata.get("protocols", [])]))


def check_service(made: botocore.session.Session, service: str, step: int) -> Iterator[str]:
    """Yields one line for each request that was read wrongly, or an empty one for each that was right."""
    for protocol in protocols_of(made, service):
        with forced_protocol(made, protocol):
            builder = Builder(service, made=made)
            names = builder.client.meta.service_model.operation_names
            for operation in names[:: min(step, len(names))]:
                model = builder.model(operation)
                given = sample(model.input_shape)
                try:
                    request = builder.build(operation, copy.deepcopy(given))
                except UNBUILT:
                    continue
                yield _judge(service, operation, protocol, model, given, request)


def _judge(
    service: str,
    operation: str,
    protocol: str,
    model: OperationModel,
    given: dict[str, Any],
    request: HttpRequest,
) -> str:
    name = f"{protocol} {service}:{operation}"
    try:
        call = aws.read(request)
    except Refusal as refusal:
        expected = REFUSED.get((service, operation))
        return "" if refusal.code == expected else f"{name}: {refusal}"
    if (service, operation) not in call.candidates or call.protocol != protocol:
        return f"{name}: read as {call.candidates} in {call.protocol}"
    if call.account != (ACCOUNT if call.access_key_id else None) or call.region is None or not call.needs:
        return f"{name}: account {call.account}, region {call.region}, needs {call.needs}"
    skipped = {key for where, named, key in EXPLAINED if where == service and named in ("*", operation)}
    if (stream := model.get_event_stream_input()) is not None:
        skipped |= {name for name, shape in model.input_shape.members.items() if shape.name == stream.name}
    given = {key: value for key, value in given.items() if key not in skipped}
    got = {key: value for key, value in call.parameters.items() if key not in skipped}
    wrong = differences(given, got, model, same_names=call.service == service)
    return f"{name}: {wrong}" if wrong else ""


def differences(given: Any, got: Any, model: OperationModel, *, same_names: bool) -> list[str]:
    """Parameters that differ, but for tokens and checksums that botocore adds. Twins may be spelt apart."""
    added = {*model.idempotent_members, "ChecksumAlgorithm", "ContentLength", "ContentMD5", "ChecksumMode"}
    expected = plain(given)
    found = {key: value for key, value in got.items() if key in expected or key not in added}
    if not same_names:
        return [] if as_json(expected).lower() == as_json(found).lower() else ["twin"]
    return [key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)]


def test_a_sample_of_all_services_is_read_as_it_was_meant() -> None:
    made = session()
    services = made.get_available_services()
    found = [line for service in services[::5] for line in check_service(made, service, 6)]
    assert len(found) > 600
    assert "\n".join(line for line in found if line) == ""


@pytest.mark.parametrize(
    "service",
    ["s3", "sts", "iam", "ec2", "dynamodb", "sqs", "cloudwatch", "lambda", "route53", "apigateway", "kms"],
)
def test_every_operation_of_much_used_services_is_read_as_it_was_meant(service: str) -> None:
    found = list(check_service(session(), service, 1))
    assert "\n".join(line for line in found if line) == ""


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_every_operation_of_every_service_in_every_protocol_is_read_as_it_was_meant() -> None:
    made = session()
    found = [line for service in made.get_available_services() for line in check_service(made, service, 1)]
    assert len(found) > 21_000
    assert "\n".join(line for line in found if line) == ""


def test_the_shipped_index_is_that_of_the_installed_botocore() -> None:
    from callgate.aws.index import index

    made = session()
    assert index().botocore == botocore.__version__, "run scripts/build-models"
    assert set(index().services) == set(made.get_available_services())
