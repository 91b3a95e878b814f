"""Every operation, as botocore builds and signs it, is named and its parameters come back."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import botocore.session
import pytest
from botocore.model import OperationModel
from signed import ACCOUNT, Builder, as_json, forced_protocol, plain, sample, session

from callgate import aws
from callgate.aws.index import index
from callgate.call import Call, HttpRequest, Refusal

# What goes in and does not come out, by its reason: (service, operation, parameter).
EXPLAINED = {
    "botocore takes it to presign a URL; it is not on the wire": {
        ("rds", "CopyDBClusterSnapshot", "SourceRegion"),
        ("rds", "CopyDBSnapshot", "SourceRegion"),
        ("rds", "CreateDBCluster", "SourceRegion"),
        ("rds", "CreateDBInstanceReadReplica", "SourceRegion"),
        ("rds", "StartDBInstanceAutomatedBackupsReplication", "SourceRegion"),
        ("docdb", "CopyDBClusterSnapshot", "SourceRegion"),
        ("docdb", "CreateDBCluster", "SourceRegion"),
        ("neptune", "CopyDBClusterSnapshot", "SourceRegion"),
        ("neptune", "CreateDBCluster", "SourceRegion"),
    },
    "botocore writes it as base64, of which its model says nothing": {
        ("autoscaling", "CreateLaunchConfiguration", "UserData"),
        ("ec2", "RunInstances", "UserData"),
    },
    "botocore percent-encodes it; the needs are those of the decoded source": {
        ("s3", "CopyObject", "CopySource"),
        ("s3", "UploadPartCopy", "CopySource"),
    },
    "the same bytes as PutBucketLifecycleConfiguration, which is named first and has it otherwise": {
        ("s3", "PutBucketLifecycle", "ContentMD5"),
        ("s3", "PutBucketLifecycle", "LifecycleConfiguration"),
    },
    "two members of the model have one name on the wire, so that it is refused": {
        ("s3", "PutBucketNotification", "refused as unknown-parameter"),
    },
    "an event stream, which is a body and no parameter": {
        ("bedrock-runtime", "InvokeModelWithBidirectionalStream", "body"),
        ("connecthealth", "StartMedicalScribeListeningSession", "inputStream"),
        ("lexv2-runtime", "StartConversation", "requestEventStream"),
        ("polly", "StartSpeechSynthesisStream", "ActionStream"),
        ("qbusiness", "Chat", "inputStream"),
    },
}
DIFFERENCES = {difference for group in EXPLAINED.values() for difference in group}


@dataclass(frozen=True)
class Reading:
    """How one request was read: what is wrong with it (empty: nothing), and the parameters that differ."""

    service: str
    operation: str
    protocol: str
    wrong: str = ""
    differs: frozenset[str] = frozenset()


def protocols_of(made: botocore.session.Session, service: str) -> list[str]:
    metadata = made.get_service_model(service).metadata
    return list(dict.fromkeys([metadata["protocol"], *metadata.get("protocols", [])]))


def readings(made: botocore.session.Session, service: str, step: int) -> Iterator[Reading]:
    """Every step-th operation of the service in each of its protocols, with every parameter set."""
    for protocol in protocols_of(made, service):
        with forced_protocol(made, protocol):
            builder = Builder(service, made=made)
            names = builder.client.meta.service_model.operation_names
            for operation in names[:: min(step, len(names))]:
                model = builder.model(operation)
                given = sample(model.input_shape)
                request = builder.build(operation, copy.deepcopy(given))
                yield _reading(service, operation, protocol, model, given, request)


def _reading(
    service: str,
    operation: str,
    protocol: str,
    model: OperationModel,
    given: dict[str, Any],
    request: HttpRequest,
) -> Reading:
    def reading(wrong: str = "", *differs: str) -> Reading:
        return Reading(service, operation, protocol, wrong, frozenset(differs))

    try:
        call = aws.read(request)
    except Refusal as refusal:
        return reading("", f"refused as {refusal.code}")
    if (service, operation) not in call.candidates or call.protocol != protocol:
        return reading(f"read as {call.candidates} in {call.protocol}")
    if call.account != (ACCOUNT if call.access_key_id else None) or not call.needs:
        return reading(f"account {call.account}, needs {call.needs}")
    if call.region is None and call.auth not in ("sigv4a", "bearer"):
        return reading("no region")
    return reading("", *differences(given, call, model))


def differences(given: dict[str, Any], call: Call, model: OperationModel) -> list[str]:
    """Parameters that differ, but for the tokens that botocore makes up. Twins may be spelt apart."""
    expected = plain(given)
    found = {
        name: value
        for name, value in call.parameters.items()
        if name in expected or name not in model.idempotent_members
    }
    if call.service != model.service_model.service_name:
        expected, found = ({n.lower(): as_json(v).lower() for n, v in p.items()} for p in (expected, found))
    names = {name.lower(): name for name in given} if call.service != model.service_model.service_name else {}
    return [
        names.get(name, name)
        for name in expected.keys() | found.keys()
        if expected.get(name) != found.get(name)
    ]


def judge(found: list[Reading], *, whole: bool) -> None:
    """Nothing is wrong, and what differs is explained: with `whole` exactly that, else no more."""
    assert [reading for reading in found if reading.wrong] == []
    differing = {(r.service, r.operation, name) for r in found for name in r.differs}
    services = {reading.service for reading in found}
    explained = {difference for difference in DIFFERENCES if difference[0] in services}
    assert differing - explained == set()
    assert not whole or differing == explained


def test_a_sample_of_all_services_is_read_as_it_was_meant() -> None:
    made = session()
    found = [
        reading for service in made.get_available_services()[::5] for reading in readings(made, service, 6)
    ]
    assert len(found) > 600
    judge(found, whole=False)


@pytest.mark.parametrize(
    "service",
    ["s3", "sts", "iam", "ec2", "dynamodb", "sqs", "cloudwatch", "lambda", "route53", "apigateway", "kms"],
)
def test_every_operation_of_much_used_services_is_read_as_it_was_meant(service: str) -> None:
    judge(list(readings(session(), service, 1)), whole=True)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.case("D07")
def test_every_operation_of_every_service_in_every_protocol_is_read_as_it_was_meant() -> None:
    made = session()
    found = [r for service in made.get_available_services() for r in readings(made, service, 1)]
    judge(found, whole=True)
    operations = {(reading.service, reading.operation) for reading in found}
    differing = {(service, operation) for service, operation, _ in DIFFERENCES}
    assert len(operations) == sum(len(service.operations) for service in index().services.values())
    assert len(found) > 21_500
    assert sum((r.service, r.operation) in differing for r in found) <= len(found) / 1000


def test_the_shipped_index_is_that_of_the_installed_botocore() -> None:
    made = session()
    assert index().botocore == botocore.__version__, "run scripts/build-models"
    assert set(index().services) == set(made.get_available_services())
