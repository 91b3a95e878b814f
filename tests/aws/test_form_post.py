"""S3's upload by HTML form, as botocore presigns it and requests encodes it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import requests
from botocore.config import Config
from fuzzing import FORM, UPLOAD
from signed import as_request, session

from callgate import aws
from callgate.call import HttpRequest, Payload, Refusal

KEY = "folder/${filename}"


def post(region: str = "us-west-2", **fields: str) -> HttpRequest:
    client = session().create_client("s3", region, config=Config(signature_version="s3v4"))
    made = client.generate_presigned_post(
        "bkt", KEY, Fields=dict(fields), Conditions=[["starts-with", "$key", ""]]
    )
    form = requests.Request(
        "POST", made["url"], data=made["fields"], files={"file": ("a.txt", b"hello\r\n--x")}
    )
    prepared = form.prepare()
    return as_request("POST", prepared.url, prepared.headers.items(), prepared.body)


def test_a_form_is_an_upload_to_its_key() -> None:
    call = aws.read(post(**{"acl": "public-read", "x-amz-meta-a": "b"}))
    body = Payload(10, hashlib.sha256(b"hello\r\n--x").hexdigest())
    assert (call.name, call.auth, call.account, call.region) == (
        "s3:PostObject",
        "presigned",
        "029608264753",
        "us-west-2",
    )
    assert call.parameters == {
        "Bucket": "bkt",
        "Key": "folder/a.txt",
        "ACL": "public-read",
        "Metadata": {"a": "b"},
        "Body": body,
    }
    assert call.payload == body
    assert ("s3:PutObject", "arn:aws:s3:::bkt/folder/a.txt") in {(n.action, n.resource) for n in call.needs}
    assert ("s3:PutObjectAcl", "arn:aws:s3:::bkt/folder/a.txt") in {
        (n.action, n.resource) for n in call.needs
    }


def test_a_form_without_a_signature_is_anonymous() -> None:
    body = FORM.replace(b"${filename}", b"x")
    call = aws.read(HttpRequest("POST", "bkt.s3.us-west-2.amazonaws.com", "/", UPLOAD, body))
    assert (call.name, call.auth, call.parameters["Key"]) == ("s3:PostObject", "anonymous", "a/x")


def edited(old: bytes, new: bytes) -> HttpRequest:
    request = post()
    body = (request.body or b"").replace(old, new)
    kept = tuple(pair for pair in request.headers if pair[0].lower() != "content-length")
    return replace(request, body=body, headers=kept)


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        ("duplicate-parameter", edited(b'name="policy"', b'name="key"')),
        ("unknown-parameter", edited(b'name="policy"', b'name="policies"')),
        ("malformed-form", edited(b'name="key"', b'name="keys"')),
        ("malformed-form", edited(b'name="file"', b'name="files"')),
        ("malformed-form", edited(b"--\r\n", b"")),
        ("malformed-form", edited(b'name="key"', b'name="key"\r\nContent-Transfer-Encoding: base64')),
        ("ambiguous-auth", edited(b'name="x-amz-signature"', b'name="signature"')),
        ("scope-mismatch", replace(post("eu-west-1"), host="bkt.s3.us-west-2.amazonaws.com")),
        ("ambiguous-auth", replace(post(), headers=(*post().headers, ("Authorization", "AWS AKIA:x")))),
        ("body-needed", replace(post(), body=None)),
    ],
)
def test_a_form_that_could_be_read_in_two_ways_is_refused(code: str, request_: HttpRequest) -> None:
    with pytest.raises(Refusal) as refused:
        aws.read(request_)
    assert refused.value.code == code
