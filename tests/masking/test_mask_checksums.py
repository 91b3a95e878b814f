"""Lengths and checksums of changed answers: clients must find them right, or not at all."""

import base64
import hashlib
import json
import zlib
from typing import Any

import pytest
from mask_helpers import answer, json_body, make_call, mask

from callgate.call import Refusal

GET = make_call("s3", "GetObject")
RECEIVE = make_call("sqs", "ReceiveMessage")


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_an_object_gets_checksums_of_what_is_sent() -> None:
    body = b'{"password":"canary","user":"bob"}'
    response = answer(
        body,
        ("ETag", f'"{md5(body)}"'),
        ("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(body).to_bytes(4)).decode()),
        ("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(body).digest()).decode()),
        ("x-amz-checksum-crc64nvme", "stale"),
        ("x-amz-checksum-type", "FULL_OBJECT"),
        ("Content-MD5", "stale"),
        ("x-amz-version-id", "v"),
    )
    masked = mask(GET, response, "$.Body", inside="$.password").response
    assert masked.body == b'{"password":"***","user":"bob"}'
    assert masked.values("etag") == [f'"{md5(masked.body)}"']
    assert masked.values("x-amz-checksum-sha256") == [
        base64.b64encode(hashlib.sha256(masked.body).digest()).decode()
    ]
    assert masked.values("x-amz-checksum-crc32") == [
        base64.b64encode(zlib.crc32(masked.body).to_bytes(4)).decode()
    ]
    assert masked.values("x-amz-checksum-crc64nvme") == []
    assert masked.values("content-md5") != ["stale"]
    assert masked.values("content-length") == [str(len(masked.body))]
    assert masked.values("x-amz-version-id") == ["v"]


def test_an_etag_that_is_a_version_stays() -> None:
    call = make_call("cloudfront", "GetDistributionConfig")
    body = "<DistributionConfig><Comment>canary</Comment></DistributionConfig>"
    masked = mask(call, answer(body, ("ETag", "E2QWRUHEXAMPLE")), "$.DistributionConfig.Comment").response
    assert masked.values("etag") == ["E2QWRUHEXAMPLE"]
    assert b"canary" not in masked.body


def test_a_part_of_a_masked_object_is_refused() -> None:
    response = answer(b'"canary', ("Content-Range", "bytes 0-6/30"), status=206)
    with pytest.raises(Refusal, match="mask-partial"):
        mask(GET, response, "$.Body", inside="$.password", method="GET")
    untouched = mask(GET, response, "$.Metadata", method="GET").response
    assert untouched == response


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304), ("GET", 204)])
def test_answers_without_a_body_keep_their_length(method: str, status: int) -> None:
    response = answer(b"", ("x-amz-meta-pw", "canary"), status=status)
    response = type(response)(status, (*response.headers[:-1], ("Content-Length", "12345")), b"")
    call = make_call("s3", "HeadObject") if method == "HEAD" else GET
    masked = mask(call, response, "$.Metadata.pw", "$.Body", method=method).response
    assert masked.values("content-length") == ["12345"]
    if status == 200:
        assert masked.values("x-amz-meta-pw") == ["***"]


def message(body: str, **attributes: dict[str, str]) -> dict[str, Any]:
    made = {"MessageId": "m", "MD5OfBody": md5(body.encode()), "Body": body}
    if attributes:
        made |= {"MessageAttributes": attributes, "MD5OfMessageAttributes": attribute_sum(attributes)}
    return made


def attribute_sum(attributes: dict[str, dict[str, str]]) -> str:
    data = b""
    for name in sorted(attributes):
        value = attributes[name]
        raw = (
            value["StringValue"].encode()
            if "StringValue" in value
            else base64.b64decode(value["BinaryValue"])
        )
        for part in (name.encode(), value["DataType"].encode()):
            data += len(part).to_bytes(4) + part
        data += (b"\x01" if "StringValue" in value else b"\x02") + len(raw).to_bytes(4) + raw
    return md5(data)


MESSAGES = [
    message('{"password":"canary"}'),
    message(
        "plain",
        a={"DataType": "String", "StringValue": "canary"},
        b={"DataType": "Binary", "BinaryValue": "Y2E="},
    ),
    message('x "MD5OfBody":"d41d8cd98f00b204e9800998ecf8427e"'),
]


def sums_are_right(messages: list[dict[str, Any]]) -> bool:
    return all(
        each["MD5OfBody"] == md5(each.get("Body", "").encode())
        and each.get("MD5OfMessageAttributes")
        == (attribute_sum(each["MessageAttributes"]) if "MessageAttributes" in each else None)
        for each in messages
    )


@pytest.mark.parametrize(
    "paths",
    [
        ("$.Messages[*].Body",),
        ("$.Messages[0].Body",),
        ("$..StringValue",),
        ("$..BinaryValue",),
        ("$..Body", "$..StringValue", "$..BinaryValue"),
    ],
)
def test_received_messages_get_new_sums(paths: tuple[str, ...]) -> None:
    masked = mask(RECEIVE, answer(json.dumps({"Messages": MESSAGES})), *paths)
    assert masked.masked
    assert sums_are_right(json_body(masked.response)["Messages"])


def test_sums_of_messages_that_were_not_changed_stay() -> None:
    damaged = [dict(MESSAGES[0]), dict(MESSAGES[1]) | {"MD5OfBody": "0" * 32}]
    masked = mask(RECEIVE, answer(json.dumps({"Messages": damaged})), "$.Messages[0].Body")
    assert json_body(masked.response)["Messages"][1] == damaged[1]


def test_messages_may_be_dropped() -> None:
    masked = mask(RECEIVE, answer(json.dumps({"Messages": MESSAGES})), "$.Messages[0]", how="drop").response
    assert json_body(masked)["Messages"] == MESSAGES[1:]


def test_the_former_query_protocol_of_sqs_is_refused() -> None:
    call = make_call("sqs", "ReceiveMessage", "query")
    with pytest.raises(Refusal, match="mask-unsupported"):
        mask(call, answer("<ReceiveMessageResponse><Body>canary</Body></ReceiveMessageResponse>"), "$..Body")


@pytest.mark.parametrize(
    "messages",
    [
        [{"Body": "canary", "MD5OfBody": "0" * 32, "MessageAttributes": {"a": {"DataType": 1}}}],
        [{"Body": "canary", "MD5OfMessageAttributes": "0" * 32, "MessageAttributes": {"a": 1}}],
        [{"Body": "canary", "MD5OfMessageAttributes": "0" * 32, "MessageAttributes": ["a"]}],
        [{"Body": ["canary"], "MD5OfBody": "0" * 32}],
        ["canary"],
        {"a": "canary"},
    ],
)
def test_messages_that_are_none_never_pass(messages: Any) -> None:
    try:
        out = mask(RECEIVE, answer(json.dumps({"Messages": messages})), "$..Body").response.body
    except Refusal as refused:
        out = str(refused).encode()
    assert b"canary" not in out


def test_a_length_stays_what_it_is_though_a_mask_names_it() -> None:
    response = answer(b"0123456789", ("Content-Type", "text/plain"))
    for path in ("$.ContentLength", "$['ContentLength','ContentType']"):
        masked = mask(GET, response, path, method="GET").response
        assert masked.values("content-length") == ["10"]
    sent = make_call("dataexchange", "SendApiAsset")
    masked = mask(sent, response, "$.ResponseHeaders").response
    assert masked.headers == (("Content-Length", "10"),)


def test_filters_may_stand_where_headers_and_bodies_are_members() -> None:
    response = answer(b"canary", ("x-amz-version-id", "v"), ("x-amz-meta-a", "b"))
    assert mask(GET, response, "$..[?(@.Name=='x')]", method="GET").response == response
    owner = make_call("s3", "GetBucketAcl")
    body = "<AccessControlPolicy><Owner><ID>canary</ID></Owner></AccessControlPolicy>"
    assert b"canary" not in mask(owner, answer(body), "$..[?(@.ID=='canary')]").response.body
