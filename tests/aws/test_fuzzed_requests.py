"""Whatever comes in, the classifier answers with a call or with its refusal, and nothing else."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from signed import Builder, sample, session

from callgate import aws
from callgate.call import HttpRequest, Refusal, to_json

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
ENDPOINTS = [aws.Endpoints(), aws.Endpoints.parse(["localhost", "front.test/base=s3", "sqs.test=sqs"])]
HOSTS = [
    "localhost", "front.test", "bkt.front.test", "sqs.test", "s3.amazonaws.com", "public.ecr.aws", "", ".",
    "a.b.s3.eu-west-1.amazonaws.com", "abc.execute-api.us-west-2.amazonaws.com", "x.us-west-2.on.aws",
    "123456789012.dkr.ecr.us-west-2.amazonaws.com", "vpce-1-a.s3.us-west-2.vpce.amazonaws.com",
    "search-x-y.us-west-2.es.amazonaws.com", "git-codecommit.us-west-2.amazonaws.com", "amazonaws.com",
]  # fmt: skip
SCRAPS = [
    b"", b"{", b"}", b"[", b'"', b"\\", b"\\u0000", b"%", b"%00", b"&", b"=", b".member.1", b"<", b">", b"</",
    b"<!--", b"\x00", b"\xff", b"\x1f\x8b", b"\xbf", b"\xa1", b"\xd8", b"\xfb", b"\xc1", b"1e999999999", b"-",
    b"null", b"NaN",
    b"9" * 40, b"2024-13-45T99:99:99Z", b"0\r\n\r\n", b"__type", b"AAAA", b"\xc3\xa9",
]  # fmt: skip


@cache
def seeds() -> list[HttpRequest]:
    made = session()
    builders = {service: Builder(service, made=made) for service, _ in SEEDS}
    return [
        builders[service].build(operation, sample(builders[service].model(operation).input_shape))
        for service, operation in SEEDS
    ]


@st.composite
def requests(draw: st.DrawFn) -> HttpRequest:
    """A signed request with a few things cut out, put in, doubled or replaced."""
    request = draw(st.sampled_from(seeds()))
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.sampled_from([*["body", "target", "header"] * 2, "host", "method", "swap"])):
            case "body":
                body = _cut(draw, request.body or b"", draw(st.sampled_from(SCRAPS) | st.binary(max_size=8)))
                kept = tuple(pair for pair in request.headers if pair[0].lower() != "content-length")
                request = replace(request, body=body, headers=kept)
            case "target":
                scraps = st.sampled_from(
                    "/ // ? & = # %2F %41 %zz . .. ; + \\ {x} ?acl &uploadId=1 é".split()
                )
                raw = _cut(
                    draw,
                    request.target.encode(),
                    draw(scraps | st.text(max_size=3)).encode("utf-8", "replace"),
                )
                request = replace(request, target=raw.decode("utf-8", "replace"))
            case "header":
                headers = list(request.headers)
                at = draw(st.integers(0, len(headers) - 1)) if headers else 0
                name, value = headers[at] if headers else ("Host", "x")
                new = draw(
                    st.sampled_from(["", "gzip", "aws-chunked", "é", ",", "\n", "0"]) | st.text(max_size=5)
                )
                how = draw(st.integers(0, 3))
                if how == 0 and headers:
                    del headers[at]
                elif how == 1:
                    headers.append((name, new))
                elif how == 2 and headers:
                    headers[at] = (name, value[: draw(st.integers(0, len(value)))] + new)
                else:
                    headers.append((draw(st.sampled_from(NAMES)), new))
                request = replace(request, headers=tuple(headers))
            case "host":
                request = replace(request, host=draw(st.sampled_from(HOSTS) | st.text(max_size=20)))
            case "method":
                request = replace(
                    request, method=draw(st.sampled_from(["GET", "PUT", "POST", "HEAD", "x", ""]))
                )
            case "swap":
                other = draw(st.sampled_from(seeds()))
                part = draw(st.sampled_from(["host", "target", "headers", "body"]))
                request = replace(request, **{part: getattr(other, part)})
    return request


NAMES = [
    "Content-Encoding", "Content-Type", "Content-Length", "X-Amz-Target", "smithy-protocol", "Host",
    "Authorization",
    "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-copy-source", "X-Amz-Region-Set",
    "x-amz-meta-a",
]  # fmt: skip


def _cut(draw: st.DrawFn, data: bytes, scrap: bytes) -> bytes:
    start = draw(st.integers(0, len(data)))
    return data[:start] + scrap + data[start + draw(st.integers(0, 12)) :]


def check(request: HttpRequest, endpoints: aws.Endpoints) -> None:
    try:
        call = aws.read(request, endpoints)
    except Refusal:
        return
    assert call.needs
    assert len(call.fingerprint) == 64
    to_json(call.parameters)
    assert isinstance(aws.head_suffices(request, endpoints), bool)


# CALLGATE_FUZZ=400000 looks for ten minutes and more, each time elsewhere.
EXAMPLES = int(os.environ.get("CALLGATE_FUZZ", "1500"))
quietly = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=EXAMPLES == 1500,
)


@pytest.mark.timeout(3600)
@quietly
@given(requests(), st.sampled_from(ENDPOINTS))
def test_a_damaged_request_is_read_or_refused(request_: HttpRequest, endpoints: aws.Endpoints) -> None:
    check(request_, endpoints)


@pytest.mark.timeout(3600)
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


@pytest.mark.timeout(3600)
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
