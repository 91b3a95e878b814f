"""Requests that two readers could read apart, or that nobody can read: each is refused with its code."""

from __future__ import annotations

import base64
import codecs
import gzip
import zlib
from dataclasses import replace
from functools import cache
from typing import Any

import brotli
import pytest
import zstandard
from signed import Builder, session

from callgate import aws
from callgate.call import HttpRequest, Refusal

V4 = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAEXAMPLE%2F20260101%2Fus-west-2%2Fs3%2Faws4_request"
    "&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=aa"
)


@cache
def built(service: str, operation: str, **parameters: Any) -> HttpRequest:
    return Builder(service, made=session()).build(operation, parameters)


def iam() -> HttpRequest:
    return built("iam", "ListUsers")


def sts() -> HttpRequest:
    return built("sts", "GetCallerIdentity")


def secret() -> HttpRequest:
    return Builder("secretsmanager", made=session()).build("GetSecretValue", {"SecretId": "a"})


def get(target: str = "/bkt/k", **changes: Any) -> HttpRequest:
    """GetObject in path style, at another target."""
    request = built("s3", "GetObject", Bucket="bkt", Key="k")
    return replace(request, **{"host": "s3.us-west-2.amazonaws.com", "target": target, **changes})


def put() -> HttpRequest:
    return Builder("s3", made=session()).build("PutObject", {"Bucket": "bkt", "Key": "k", "Body": b"hello"})


def acl() -> HttpRequest:
    grant = {"Grantee": {"Type": "Group", "URI": "http://x"}, "Permission": "READ"}
    policy = {"Grants": [grant], "Owner": {"ID": "x"}}
    return Builder("s3", made=session()).build(
        "PutBucketAcl", {"Bucket": "bkt", "AccessControlPolicy": policy}
    )


def function() -> HttpRequest:
    return Builder("lambda", made=session()).build(
        "UpdateFunctionCode", {"FunctionName": "f", "ZipFile": b"x"}
    )


def metrics() -> HttpRequest:
    data = [{"MetricName": "m" * 200, "Value": 1.0}] * 100
    return Builder("cloudwatch", made=session()).build(
        "PutMetricData", {"Namespace": "n", "MetricData": data}
    )


def shards(time: bytes) -> HttpRequest:
    head = b'{"StreamName":"s","ShardId":"x","ShardIteratorType":"AT_TIMESTAMP","Timestamp":'
    return with_body(built("kinesis", "GetShardIterator", StreamName="s"), head + time + b"}")


@cache
def listed() -> HttpRequest:
    parameters = {"Bucket": "bkt", "Key": "k", "ObjectAttributes": ["ETag"]}
    return Builder("s3", made=session()).build("GetObjectAttributes", parameters)


def attributes(text: str) -> HttpRequest:
    return edited(listed(), "x-amz-object-attributes", "ETag", text)


def with_body(request: HttpRequest, body: bytes, **headers: str) -> HttpRequest:
    """`request` with another body, and headers (`content_type`) in place of its own."""
    new = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = [pair for pair in request.headers if pair[0].lower() not in {"content-length", *new}]
    return replace(request, body=body, headers=(*kept, *new.items()))


def with_headers(request: HttpRequest, *headers: tuple[str, str]) -> HttpRequest:
    return replace(request, headers=request.headers + headers)


def without(request: HttpRequest, name: str) -> HttpRequest:
    return replace(request, headers=tuple(pair for pair in request.headers if pair[0].lower() != name))


def edited(request: HttpRequest, name: str, old: str, new: str) -> HttpRequest:
    """`request` with `old` replaced by `new` in the header `name`."""
    changed = ((k, v.replace(old, new)) if k.lower() == name else (k, v) for k, v in request.headers)
    return replace(request, headers=tuple(changed))


def form(text: str, **headers: str) -> HttpRequest:
    return with_body(iam(), text.encode(), **headers)


def json(body: bytes, **headers: str) -> HttpRequest:
    return with_body(secret(), body, **headers)


RAW = b'{"SecretId": "a"}'
ACL = b"<AccessControlPolicy"
CASES: list[tuple[str, str, HttpRequest]] = [
    # Which operation: Action
    (
        "action in query and body",
        "ambiguous-action",
        replace(iam(), target="/?Action=DeleteUser&Version=2010-05-08"),
    ),
    ("same action in query and body", "ambiguous-action", replace(iam(), target="/?Action=ListUsers")),
    ("a parameter in the query", "ambiguous-action", replace(iam(), target="/?UserName=x")),
    ("action twice", "ambiguous-action", form("Action=ListUsers&Version=2010-05-08&Action=DeleteUser")),
    ("action in lower case", "ambiguous-action", form("action=ListUsers&Version=2010-05-08")),
    (
        "action in both cases",
        "ambiguous-action",
        form("Action=ListUsers&Version=2010-05-08&ACTION=DeleteUser"),
    ),
    ("no version", "ambiguous-version", form("Action=ListUsers")),
    ("version twice", "ambiguous-version", form("Action=ListUsers&Version=2010-05-08&Version=2010-05-08")),
    ("a version of another service", "unknown-version", form("Action=ListUsers&Version=2011-06-15")),
    ("an unknown action", "unknown-operation", form("Action=ListUserz&Version=2010-05-08")),
    ("an action of another service", "unknown-operation", form("Action=AssumeRole&Version=2010-05-08")),
    ("action with a NUL", "unknown-operation", form("Action=ListUsers%00&Version=2010-05-08")),
    (
        "semicolons as separators",
        "malformed-form",
        form("Action=ListUsers;Action=DeleteUser&Version=2010-05-08"),
    ),
    ("needless escapes in a form", "ambiguous-encoding", form("%41ction=ListUsers&Version=2010-05-08")),
    ("an empty part in a form", "malformed-form", form("&Action=ListUsers&Version=2010-05-08")),
    (
        "raw bytes in a form",
        "malformed-form",
        with_body(iam(), b"Action=ListUsers&Version=2010-05-08&Marker=\xff"),
    ),
    ("a broken escape in a form", "malformed-form", form("Action=ListUsers&Version=2010-05-08&Marker=%f")),
    (
        "a form of another charset",
        "unknown-charset",
        form(
            "Action=ListUsers&Version=2010-05-08",
            content_type="application/x-www-form-urlencoded; charset=utf-7",
        ),
    ),
    (
        "a form sent as JSON",
        "unknown-operation",
        form("Action=ListUsers&Version=2010-05-08", content_type="application/json"),
    ),
    (
        "a form sent as multipart",
        "unknown-operation",
        form("Action=ListUsers&Version=2010-05-08", content_type="multipart/form-data; boundary=x"),
    ),
    (
        "action in the query with a body behind",
        "ambiguous-action",
        with_body(
            replace(iam(), target="/?Action=ListUsers&Version=2010-05-08"), b"{}", content_type="text/plain"
        ),
    ),
    ("an unknown parameter", "unknown-parameter", form("Action=ListUsers&Version=2010-05-08&Foo=1")),
    (
        "a parameter twice",
        "duplicate-parameter",
        form("Action=ListUsers&Version=2010-05-08&Marker=a&Marker=b"),
    ),
    (
        "a list with a gap",
        "malformed-parameter",
        form("Action=TagUser&Version=2010-05-08&UserName=u&Tags.member.2.Key=a&Tags.member.2.Value=b"),
    ),
    (
        "a list index with zeros",
        "malformed-parameter",
        form("Action=TagUser&Version=2010-05-08&UserName=u&Tags.member.01.Key=a&Tags.member.01.Value=b"),
    ),
    (
        "PUT with an action",
        "unknown-method",
        with_body(replace(iam(), method="PUT", target="/?Action=ListUsers&Version=2010-05-08"), b""),
    ),
    # Which operation: X-Amz-Target and Smithy
    (
        "X-Amz-Target twice",
        "duplicate-header",
        with_headers(secret(), ("X-Amz-Target", "secretsmanager.DeleteSecret")),
    ),
    (
        "X-Amz-Target twice, in another case",
        "duplicate-header",
        with_headers(secret(), ("x-amz-target", "secretsmanager.GetSecretValue")),
    ),
    (
        "X_Amz_Target",
        "ambiguous-header",
        with_headers(secret(), ("X_Amz_Target", "secretsmanager.DeleteSecret")),
    ),
    (
        "two targets in one header",
        "malformed-target-header",
        edited(secret(), "x-amz-target", "GetSecretValue", "GetSecretValue, secretsmanager.DeleteSecret"),
    ),
    ("an unknown target", "unknown-operation", edited(secret(), "x-amz-target", "GetSecret", "FetchSecret")),
    (
        "another service's target",
        "unknown-operation",
        edited(secret(), "x-amz-target", "secretsmanager", "DynamoDB_20120810"),
    ),
    ("X-Amz-Target on S3", "ambiguous-protocol", with_headers(get(), ("X-Amz-Target", "a.DeleteObject"))),
    ("X-Amz-Target on a GET", "unknown-method", with_body(replace(secret(), method="GET"), b"")),
    ("X-Amz-Target and a query", "unexpected-query", replace(secret(), target="/?Action=DeleteSecret")),
    (
        "X-Amz-Target and a path",
        "ambiguous-protocol",
        replace(secret(), target="/service/x/operation/DeleteSecret"),
    ),
    (
        "X-Amz-Target and Smithy RPC",
        "ambiguous-protocol",
        with_headers(metrics(), ("smithy-protocol", "rpc-v2-cbor")),
    ),
    (
        "an unknown Smithy protocol",
        "ambiguous-protocol",
        with_headers(metrics(), ("smithy-protocol", "rpc-v3")),
    ),
    # Which operation: REST
    ("two subresources", "ambiguous-operation", get("/bkt/k?acl&tagging")),
    ("a subresource and an upload", "unknown-parameter", get("/bkt/k?acl&uploadId=1")),
    ("an unknown subresource", "unknown-parameter", get("/bkt/k?newthing")),
    ("a subresource in upper case", "unknown-parameter", get("/bkt/k?ACL")),
    ("a subresource with a value", "unknown-parameter", get("/bkt/k?acl=1")),
    ("a subresource, escaped", "ambiguous-encoding", get("/bkt/k?%61cl")),
    ("a query key twice", "duplicate-parameter", get("/bkt/k?versionId=1&versionId=2")),
    ("x-id of another operation", "ambiguous-operation", get("/bkt/k?x-id=DeleteObject")),
    ("half an upload", "unknown-parameter", replace(put(), target="/k?uploadId=x")),
    ("a copy's header on a read", "unknown-parameter", with_headers(get(), ("x-amz-copy-source", "b/k"))),
    ("a method in the query", "unknown-parameter", get("/bkt/k?_method=DELETE")),
    ("a path that no operation has", "unknown-operation", replace(function(), target="/2015-03-31/nothing")),
    ("a method that no operation has", "unknown-operation", replace(function(), method="PATCH")),
    # Methods
    ("a method in lower case", "unknown-method", get(method="get")),
    ("an unknown method", "unknown-method", get(method="BREW")),
    ("OPTIONS", "unknown-operation", get(method="OPTIONS")),
    ("a method override", "override-header", with_headers(get(), ("X-HTTP-Method-Override", "DELETE"))),
    ("a URL override", "override-header", with_headers(get(), ("X-Original-URL", "/other"))),
    # Paths
    ("an escaped letter", "ambiguous-encoding", get("/%73ecret/key")),
    ("an escaped dot segment", "ambiguous-encoding", get("/bkt/%2e%2e/k")),
    ("an escaped slash in a bucket", "malformed-parameter", get("/secret%2Fkey")),
    ("an escaped slash in a key", "ambiguous-path", get("/bkt/a%2Fb")),
    ("a doubled slash before the bucket", "ambiguous-path", get("//bkt/key")),
    ("a doubled slash in a key", "ambiguous-path", get("/bkt//key")),
    ("a dot segment", "ambiguous-path", get("/bkt/../other/key")),
    ("a dot segment at the end", "ambiguous-path", get("/bkt/a/.")),
    ("a backslash", "malformed-target", get("/bkt\\key")),
    ("a semicolon", "malformed-target", get("/bkt;x=y/key")),
    ("a fragment", "malformed-target", get("/bkt/key#x")),
    ("a broken escape", "malformed-target", get("/bkt/%zz")),
    ("bytes that are not UTF-8", "malformed-target", get("/bkt/%FF")),
    ("an overlong slash", "malformed-target", get("/bkt/%C0%AF")),
    ("a NUL", "ambiguous-path", get("/bkt/a%00")),
    ("a line break", "ambiguous-path", get("/bkt/a%0D%0Ab")),
    ("a raw character beyond ASCII", "malformed-target", get("/bkt/é")),
    ("an absolute target", "malformed-target", get("https://s3.us-west-2.amazonaws.com/bkt/k")),
    ("an asterisk", "malformed-target", get("*")),
    ("a plus in the query", "malformed-query", get("/bkt/k?versionId=a+b")),
    ("an empty part in the query", "malformed-query", get("/bkt/k?acl&&")),
    # Hosts and signatures
    ("sts scope on an S3 host", "scope-mismatch", edited(get(), "authorization", "/s3/", "/sts/")),
    ("s3 scope on an STS host", "scope-mismatch", edited(sts(), "authorization", "/sts/", "/s3/")),
    ("another region than the host's", "scope-mismatch", get(host="s3.eu-west-1.amazonaws.com")),
    ("another partition than the host's", "scope-mismatch", get(host="bkt.s3.amazonaws.com.cn")),
    (
        "an unknown region in the scope",
        "unknown-region",
        edited(get(host="s3.amazonaws.com"), "authorization", "us-west-2", "us-west-9"),
    ),
    ("an unknown region in the host", "unknown-host", get(host="s3.us-west-9.amazonaws.com")),
    ("a region of another partition", "unknown-host", get(host="s3.cn-north-1.amazonaws.com")),
    ("an unknown service", "unknown-host", get(host="foobar.us-west-2.amazonaws.com")),
    ("AWS's name in front of another", "unknown-host", get(host="s3.us-west-2.amazonaws.com.evil.com")),
    ("a name that ends like AWS's", "unknown-host", get(host="evilamazonaws.com")),
    ("an address", "unknown-host", get(host="52.216.1.1")),
    ("another port", "unexpected-port", get(port=8443)),
    ("no TLS", "plaintext", get(scheme="http", port=80)),
    ("a Host header of another host", "host-mismatch", with_headers(get(), ("Host", "evil.com"))),
    (
        "a Host header with two hosts",
        "host-mismatch",
        with_headers(get(), ("Host", "s3.us-west-2.amazonaws.com, evil.com")),
    ),
    (
        "two Host headers",
        "duplicate-header",
        with_headers(get(), *[("Host", "s3.us-west-2.amazonaws.com")] * 2),
    ),
    ("signed in header and query", "ambiguous-auth", get("/bkt/k?" + V4)),
    (
        "signed in header and by V2 in the query",
        "ambiguous-auth",
        get("/bkt/k?AWSAccessKeyId=AKIAEXAMPLE&Signature=x&Expires=1"),
    ),
    (
        "signed by V4 and V2 in the query",
        "ambiguous-auth",
        without(get(f"/bkt/k?{V4}&AWSAccessKeyId=AKIAEXAMPLE&Signature=x&Expires=1"), "authorization"),
    ),
    (
        "two credentials in the query",
        "ambiguous-auth",
        without(get(f"/bkt/k?{V4}&X-Amz-Credential=other"), "authorization"),
    ),
    (
        "a query signed in half",
        "malformed-authorization",
        without(get("/bkt/k?X-Amz-Signature=aa"), "authorization"),
    ),
    ("two Authorization headers", "duplicate-header", with_headers(get(), ("authorization", "AWS AKIA:x"))),
    (
        "an Authorization header with an appendix",
        "malformed-authorization",
        edited(get(), "authorization", "SignedHeaders", "Credential=x, SignedHeaders"),
    ),
    (
        "a scope without a region",
        "malformed-authorization",
        edited(get(), "authorization", "/us-west-2/", "/"),
    ),
    (
        "an unknown scheme",
        "malformed-authorization",
        with_headers(without(get(), "authorization"), ("Authorization", "Digest x")),
    ),
    # Content codings
    *(
        (f"coding {name}", "unknown-coding", json(codecs.encode(RAW, name), content_encoding=name))
        for name in ("uu", "quopri", "base64", "hex")
    ),
    ("coding rot13", "unknown-coding", json(RAW, content_encoding="rot13")),
    ("coding x-gzip", "unknown-coding", json(gzip.compress(RAW), content_encoding="x-gzip")),
    ("gzip twice", "unknown-coding", json(gzip.compress(gzip.compress(RAW)), content_encoding="gzip, gzip")),
    (
        "gzip of two members",
        "malformed-coding",
        json(gzip.compress(RAW[:5]) + gzip.compress(RAW[5:]), content_encoding="gzip"),
    ),
    ("truncated gzip", "malformed-coding", json(gzip.compress(RAW)[:-4], content_encoding="gzip")),
    ("gzip with bytes behind", "malformed-coding", json(gzip.compress(RAW) + b"x", content_encoding="gzip")),
    ("gzip that is not", "malformed-coding", json(b"\x1f\x8b\xff", content_encoding="gzip")),
    ("JSON said to be gzip", "ambiguous-coding", json(RAW, content_encoding="gzip")),
    (
        "a form in gzip",
        "ambiguous-coding",
        with_body(iam(), gzip.compress(b"Action=ListUsers&Version=2010-05-08"), content_encoding="gzip"),
    ),
    ("a bomb in gzip", "body-too-large", json(gzip.compress(b" " * 100_000_000), content_encoding="gzip")),
    (
        "a bomb in br",
        "body-too-large",
        json(brotli.compress(b" " * 100_000_000, quality=1), content_encoding="br"),
    ),
    (
        "a bomb in zstd",
        "body-too-large",
        json(zstandard.compress(b" " * 100_000_000), content_encoding="zstd"),
    ),
    (
        "truncated br",
        "malformed-coding",
        json(brotli.compress(bytes(range(256)) * 9)[:-9], content_encoding="br"),
    ),
    (
        "two frames of zstd",
        "malformed-coding",
        json(zstandard.compress(RAW) + zstandard.compress(RAW), content_encoding="zstd"),
    ),
    ("raw deflate", "malformed-coding", json(zlib.compress(RAW)[2:-4], content_encoding="deflate")),
    ("aws-chunked on JSON", "unknown-coding", json(RAW, content_encoding="aws-chunked")),
    ("broken chunks", "malformed-coding", replace(put(), body=b"5\r\nhelloXX0\r\n\r\n")),
    ("an upload shorter than said", "bad-length", edited(put(), "x-amz-decoded-content-length", "5", "6")),
    (
        "Content-Length that is not the body's",
        "bad-length",
        with_headers(without(iam(), "content-length"), ("Content-Length", "3")),
    ),
    # JSON
    ("a key twice", "duplicate-key", json(b'{"SecretId":"a","SecretId":"b"}')),
    ("a key twice, once escaped", "duplicate-key", json(b'{"SecretId":"a","\\u0053ecretId":"b"}')),
    ("a key in another case", "unknown-parameter", json(b'{"SecretId":"a","secretId":"b"}')),
    ("NaN", "malformed-json", json(b'{"SecretId":NaN}')),
    ("a byte order mark", "malformed-json", json(b"\xef\xbb\xbf" + RAW)),
    ("UTF-16", "malformed-json", json(RAW.decode().encode("utf-16"))),
    ("a byte that is not UTF-8", "malformed-json", json(b'{"SecretId":"\xff"}')),
    ("a lone surrogate", "malformed-json", json(b'{"SecretId":"\\ud800"}')),
    ("a comment", "malformed-json", json(b'{"SecretId":"a"/**/}')),
    ("two values", "malformed-json", json(RAW + b"{}")),
    ("a list", "malformed-parameter", json(b"[]")),
    ("null", "malformed-parameter", json(b"null")),
    ("a number for a text", "malformed-parameter", json(b'{"SecretId":1}')),
    ("100,000 brackets", "too-deep", json(b"[" * 100_000 + b"]" * 100_000)),
    ("a number of 5,000 digits", "malformed-json", json(b'{"SecretId":' + b"1" * 5000 + b"}")),
    (
        "JSON sent as a form",
        "wrong-content-type",
        json(RAW, content_type="application/x-www-form-urlencoded"),
    ),
    ("JSON without a type", "wrong-content-type", without(secret(), "content-type")),
    (
        "JSON in another charset",
        "unknown-charset",
        json(RAW, content_type="application/x-amz-json-1.1; charset=utf-7"),
    ),
    (
        "REST JSON sent as a form",
        "wrong-content-type",
        with_body(function(), function().body or b"", content_type="application/x-www-form-urlencoded"),
    ),
    (
        "a path parameter in the body",
        "ambiguous-parameter",
        with_body(function(), b'{"FunctionName":"g","ZipFile":"eA=="}'),
    ),
    ("base64 with blanks", "malformed-parameter", with_body(function(), b'{"ZipFile":"e A=="}')),
    # XML
    (
        "a document type",
        "ambiguous-xml",
        with_body(acl(), b'<!DOCTYPE x [<!ENTITY a "b">]>' + (acl().body or b"")),
    ),
    (
        "a comment within a value",
        "ambiguous-xml",
        with_body(acl(), (acl().body or b"").replace(b"READ", b"RE<!-- -->AD")),
    ),
    ("CDATA", "ambiguous-xml", with_body(acl(), (acl().body or b"").replace(b"READ", b"<![CDATA[READ]]>"))),
    (
        "an element twice",
        "duplicate-parameter",
        with_body(
            acl(), (acl().body or b"").replace(b"<Permission>", b"<Permission>WRITE</Permission><Permission>")
        ),
    ),
    (
        "an unknown element",
        "unknown-parameter",
        with_body(acl(), (acl().body or b"").replace(b"<Permission>", b"<X/><Permission>")),
    ),
    (
        "an element of another namespace",
        "unknown-parameter",
        with_body(
            acl(), (acl().body or b"").replace(b"<Permission>READ</", b'<e:Permission xmlns:e="u">READ</e:')
        ),
    ),
    (
        "an encoding that is not UTF-8",
        "ambiguous-xml",
        with_body(acl(), b'<?xml version="1.0" encoding="utf-7"?>' + (acl().body or b"")),
    ),
    ("XML in UTF-16", "malformed-xml", with_body(acl(), (acl().body or b"").decode().encode("utf-16"))),
    ("half an element", "malformed-xml", with_body(acl(), b"<AccessControlPolicy>")),
    # Numbers and times that take long, and what Python reads more leniently than others
    *(
        (f"a time of {number}", "malformed-parameter", shards(number.encode()))
        for number in ("1e999990", "1e999999", "-1e999999999", "1e18", "-1e12", "9" * 4000)
    ),
    ("a number beyond all decimals", "malformed-json", shards(b"1e9999999999999999999")),
    *(
        (f"the time {time}", "malformed-parameter", with_headers(get(), ("If-Modified-Since", time)))
        for time in (
            "2 Jan 24 03:04 GMT",
            "Tue, 02 Foo 2024 03:04:05 GMT",
            "Tue, 02 Jan 2024 03:04:05",
            "Tue, 02 Jan 2024 25:04:05 GMT",
        )
    ),
    ("digits of another script", "malformed-parameter", get("/bkt/k?partNumber=1%D9%A3")),
    *(
        (f"a list of {text[:9]!r}", "malformed-parameter", attributes(text))
        for text in ("a," + " " * 20_000 + '"x"y', "a" + " " * 20_000 + '"', '"' + "\\" * 20_001)
    ),
    # Headers
    ("metadata twice", "duplicate-header", with_headers(put(), ("x-amz-meta-a", "1"), ("X-Amz-Meta-A", "2"))),
    (
        "a header with a line break",
        "malformed-header",
        with_headers(get(), ("x-amz-expected-bucket-owner", "1\n2")),
    ),
    (
        "a parameter that stands in two headers",
        "duplicate-header",
        with_headers(put(), ("Cache-Control", "no-store"), ("cache-control", "public")),
    ),
    (
        "a line break in a second header",
        "malformed-header",
        with_headers(get(), ("Accept", "a"), ("Accept", "\n")),
    ),
    ("two content types", "duplicate-header", with_headers(secret(), ("content-type", "application/json"))),
]


@pytest.mark.parametrize(("code", "request_"), [pytest.param(code, r, id=name) for name, code, r in CASES])
@pytest.mark.case("D01", "D02", "D04", "D08", "D09")
def test_it_is_refused_with_its_code(code: str, request_: HttpRequest) -> None:
    with pytest.raises(Refusal) as refused:
        aws.read(request_)
    assert refused.value.code == code
    assert "hello" not in refused.value.detail


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("iam:ListUsers", iam()),
        ("secretsmanager:GetSecretValue", secret()),
        ("s3:GetObject", get()),
        ("s3:GetObject", get("/bkt/k?x-id=GetObject")),
        ("s3:HeadObject", get(method="HEAD")),
        ("s3:GetObject", with_headers(get(), ("Host", "S3.us-west-2.amazonaws.com.:443"))),
        ("s3:PutObject", put()),
        ("s3:PutBucketAcl", acl()),
        (
            "s3:PutBucketAcl",
            with_body(acl(), b'<?xml version="1.0" encoding="UTF-8"?>\n' + (acl().body or b"")),
        ),
        ("cloudwatch:PutMetricData", metrics()),
        ("lambda:UpdateFunctionCode", function()),
        ("secretsmanager:GetSecretValue", json(gzip.compress(RAW), content_encoding="gzip")),
        ("secretsmanager:GetSecretValue", json(zlib.compress(RAW), content_encoding="deflate")),
        ("secretsmanager:GetSecretValue", json(zstandard.compress(RAW), content_encoding="zstd")),
    ],
)
def test_its_honest_neighbour_is_read(name: str, request_: HttpRequest) -> None:
    assert aws.read(request_).name == name


@pytest.mark.case("D20")
def test_an_upload_in_chunks_is_hashed_as_what_it_decodes_to() -> None:
    call = aws.read(put())
    assert dict(put().headers)["Content-Encoding"] == "aws-chunked"
    assert call.parameters["Body"] == b"hello"
    assert call.payload is not None
    assert call.payload.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def test_compressed_metrics_have_their_parameters() -> None:
    assert dict(metrics().headers)["Content-Encoding"] == "gzip"
    assert len(aws.read(metrics()).parameters["MetricData"]) == 100


def test_only_a_streaming_body_may_stay_unread() -> None:
    assert aws.head_suffices(replace(put(), body=None))
    assert not aws.head_suffices(replace(acl(), body=None))
    assert not aws.head_suffices(replace(iam(), body=None))
    assert not aws.head_suffices(replace(get("/bkt/%73"), body=None))
    call = aws.read(replace(put(), body=None))
    assert call.payload is not None
    assert call.parameters["Body"] == call.payload
    assert call.payload.length == 5
    with pytest.raises(Refusal, match="body-needed"):
        aws.read(replace(acl(), body=None))


def test_base64_of_a_secret_never_shows_in_a_refusal() -> None:
    secret_text = base64.b64encode(b"hunter2").decode()
    with pytest.raises(Refusal) as refused:
        aws.read(json(b'{"SecretId": {"x": "' + secret_text.encode() + b'"}}'))
    assert secret_text not in str(refused.value)
