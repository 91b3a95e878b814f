"""Whatever comes in, the classifier answers with a call or with its refusal, and nothing else.

`scripts/fuzz` looks further, for as long as it is told to.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

import pytest
from fuzzing import ENDPOINTS, HOSTS, NAMES, check, damaged
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from signed import Builder, sample, session

from callgate import aws
from callgate.call import HttpRequest, Refusal

SEEDS = [
    ("s3", "PutObject"),
    ("s3", "PutBucketAcl"),
    ("s3", "DeleteObjects"),
    ("s3control", "CreateJob"),
    ("iam", "TagUser"),
    ("ec2", "RunInstances"),
    ("sqs", "SendMessageBatch"),
    ("dynamodb", "TransactWriteItems"),
    ("cloudwatch", "PutMetricData"),
    ("lambda", "CreateFunction"),
    ("route53", "ChangeResourceRecordSets"),
    ("cloudfront", "CreateDistribution"),
    ("glacier", "UploadArchive"),
    ("lex-runtime", "PostContent"),
    ("servicediscovery", "DiscoverInstances"),
    ("rds", "CreateDBInstance"),
]


@cache
def seeds() -> list[HttpRequest]:
    made = session()
    builders = {service: Builder(service, made=made) for service, _ in SEEDS}
    return [
        builders[service].build(operation, sample(builders[service].model(operation).input_shape))
        for service, operation in SEEDS
    ]


quietly = settings(
    max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@quietly
@given(st.randoms(use_true_random=False), st.sampled_from(ENDPOINTS))
def test_a_damaged_request_is_read_or_refused_and_reads_the_same_in_other_words(
    random: Random, endpoints: aws.Endpoints
) -> None:
    check(damaged(random, seeds()), endpoints, random)


@quietly
@given(
    st.text(max_size=8),
    st.sampled_from(HOSTS) | st.text(max_size=30),
    st.text(max_size=30),
    st.lists(st.tuples(st.sampled_from(NAMES) | st.text(max_size=9), st.text(max_size=20)), max_size=6),
    st.none() | st.binary(max_size=60),
)
def test_noise_is_refused(method: str, host: str, target: str, headers: Any, body: bytes | None) -> None:
    check(HttpRequest(method, host, target, tuple(headers), body), ENDPOINTS[1])


@quietly
@given(st.binary(max_size=40))
@example(b"\xbf\x61a\xbf\xff\xff")
@example(b"\xc1\xc1\x00")
@example(b"\xa1\x61a\xfb\x7f\xf8" + b"\x00" * 6)
@example(b"\x9b" + b"\xff" * 8)
@example(b"\x5f\x41a\xff")
def test_any_cbor_is_read_or_refused(body: bytes) -> None:
    headers = (("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor"))
    target = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    check(HttpRequest("POST", "monitoring.us-west-2.amazonaws.com", target, headers, body), ENDPOINTS[0])


def test_base64_decodes_are_not_lenient() -> None:
    request = Builder("lambda", made=session()).build(
        "UpdateFunctionCode", {"FunctionName": "f", "ZipFile": b"xy"}
    )
    zipped = base64.b64encode(b"xy").rstrip(b"=")
    kept = tuple(pair for pair in request.headers if pair[0].lower() != "content-length")
    with pytest.raises(Refusal, match="malformed-parameter"):
        aws.read(replace(request, headers=kept, body=b'{"ZipFile": "' + zipped + b'"}'))
