"""Signed requests, damaged and rewritten, for the fuzz tests and for `scripts/fuzz`.

Every choice is drawn from a `Random`, so that hypothesis, a seed or a fuzzer's bytes can make them alike.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import resource
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import quote

from botocore.exceptions import BotoCoreError
from signed import Builder, forced_protocol, line, sample, session

from callgate import aws
from callgate.call import Call, HttpRequest, Refusal, to_json

ENDPOINTS = (
    aws.Endpoints(),
    aws.Endpoints.parse(["localhost", "front.test/base=s3", "sqs.test=sqs", "[::1]:80"]),
)
HOSTS = """
localhost front.test bkt.front.test sqs.test data-localhost ::1 s3.amazonaws.com public.ecr.aws .
amazonaws.com a.b.s3.eu-west-1.amazonaws.com abc.execute-api.us-west-2.amazonaws.com x.us-west-2.on.aws
123456789012.dkr.ecr.us-west-2.amazonaws.com vpce-1-a.s3.us-west-2.vpce.amazonaws.com
search-x-y.us-west-2.es.amazonaws.com git-codecommit.us-west-2.amazonaws.com bkt.s3-accelerate.amazonaws.com
dom-123456789012.d.codeartifact.us-west-2.amazonaws.com abc.mrap.accesspoint.s3-global.amazonaws.com
ssmmessages.us-west-2.amazonaws.com bkt.s3-website-us-west-2.amazonaws.com
s3express-control.us-west-2.amazonaws.com
""".split()
NAMES = """
Content-Encoding Content-Type Content-Length X-Amz-Target smithy-protocol Host Authorization
X-Amz-Region-Set x-amz-content-sha256 x-amz-decoded-content-length x-amz-copy-source x-amz-meta-a
x-amz-object-attributes Range x-amz-tagging x_amz_target X-HTTP-Method-Override x-amz-date If-Modified-Since
x-amz-object-lock-retain-until-date
""".split()
VALUES = [
    "", "gzip", "aws-chunked", "é", ",", "\n", "0", '"', "a,  \"b\"c", "\\", "/a/b", "b/k?versionId=1",
    "null", "application/json", "application/x-www-form-urlencoded", "application/cbor",
    "multipart/form-data; boundary=x", "rpc-v2-cbor", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "DynamoDB_20120810.DeleteItem", "eyJhIjoxfQ==", "Tue, 02 Jan 2024 03:04:05 GMT", "Bearer x",
    "1e999999", "٣", " ", "a\tb",
]  # fmt: skip
SCRAPS = [
    b"", b"{", b"}", b"[", b'"', b"\\", b"\\u0000", b"\\ud800", b"%", b"%00", b"&", b"=", b".member.1",
    b"<", b">", b"</", b"<!--", b"<![CDATA[", b"&#0;", b"\x00", b"\xff", b"\x1f\x8b", b"\xbf", b"\xa1",
    b"\xd8", b"\xfb", b"\xc1", b"1e999999999", b"-", b"null", b"NaN", b"9"*40, b"1e999990",
    b"-1e-999999999", b"2024-13-45T99:99:99Z", b"0\r\n\r\n", b"__type", b"AAAA", b"\xc3\xa9",
    b"\xef\xbb\xbf", b"Action=DeleteUser&", b"&Version=2010-05-08", b"\r\n--x--",
]  # fmt: skip
PATHS = "/ // ? & = # %2F %41 %zz . .. ; + \\ {x} @ : é ?acl &uploadId=1 &Action=A ?X-Amz-Signature=1".split()
ODD: list[Any] = [
    None, True, 0, -1, 1<<63, 1<<64, 10**400, 0.5, 1e300, float("nan"), float("inf"), "", "x", "*",
    "arn:", "é\0", "arn:aws:s3:::b/k", "https://sqs.us-west-2.amazonaws.com/123456789012/q", "AAAA",
    "true", "DELETE FROM t", [], {}, [[]], {"": None}, ["a", 1], "9"*30, "2024-01-02T03:04:05Z",
    "arn:aws:iam::1:role/r",
]  # fmt: skip


FORM = (
    b'--x\r\nContent-Disposition: form-data; name="key"\r\n\r\na/${filename}\r\n'
    b'--x\r\nContent-Disposition: form-data; name="acl"\r\n\r\nprivate\r\n'
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ndata\r\n--x--\r\n'
)
V4 = (
    "AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20260101%2Fus-west-2%2Fs3%2Faws4_request"
    "&X-Amz-Date=20260101T000000Z"
)
S3, ECR = "b.s3.us-west-2.amazonaws.com", "123456789012.dkr.ecr.us-west-2.amazonaws.com"
UPLOAD = (("Content-Type", "multipart/form-data; boundary=x"),)
BY_HAND = [
    HttpRequest("POST", S3, "/", UPLOAD, FORM),
    HttpRequest("GET", S3, f"/k?X-Amz-Algorithm={V4}&X-Amz-SignedHeaders=host&X-Amz-Signature=aa", (), b""),
    HttpRequest("GET", S3, "/k?AWSAccessKeyId=A&Expires=1&Signature=aa", (), b""),
    HttpRequest("POST", ECR, "/v2/a/b/blobs/uploads/?mount=sha256:0&from=c", (), b""),
    HttpRequest("POST", "abc.execute-api.us-west-2.amazonaws.com", "/prod/@connections/c%3D", (), b"data"),
    HttpRequest("POST", "xray.us-west-2.amazonaws.com", "/v1/traces", (), b"{}"),
]


def corpus(services: Iterable[str] | None = None, step: int = 1_000_000) -> list[HttpRequest]:
    """Requests of the services (of all by default) in each of their protocols: one in `step` operations,
    with every parameter set.
    """
    made = session()
    found = list(BY_HAND)
    for service in services or made.get_available_services():
        metadata = made.get_service_model(service).metadata
        for protocol in dict.fromkeys([metadata["protocol"], *metadata.get("protocols", [])]):
            with forced_protocol(made, protocol):
                builder = Builder(service, made=made)
                for operation in builder.client.meta.service_model.operation_names[::step]:
                    try:
                        found.append(builder.build(operation, sample(builder.model(operation).input_shape)))
                    except BotoCoreError:
                        continue
    return found


def damaged(random: Random, seeds: list[HttpRequest]) -> HttpRequest:
    """One of `seeds` with a few things cut out, put in, doubled or replaced."""
    request = random.choice(seeds)
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        request = random.choice(_WAYS)(random, request, seeds)
    return request


def _method(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    return replace(request, method=random.choice(["GET", "PUT", "POST", "HEAD", "DELETE", "PATCH", "x", ""]))


def _host(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    host = random.choice(HOSTS)
    if random.random() < 0.5:
        label = random.choice(
            ["us-west-2", "eu-west-1", "cn-north-1", "s3", "vpce-1.", "a.b", "dualstack", "", "x-"]
        )
        host = _cut(random, request.host.encode(), label.encode()).decode("utf-8", "replace")
    headers = tuple(pair for pair in request.headers if pair[0].lower() != "host")
    return replace(request, host=host, headers=headers)


def _target(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    raw = _cut(random, request.target.encode(), random.choice(PATHS).encode())
    return replace(request, target=raw.decode("utf-8", "replace"))


def _header(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    headers = list(request.headers) or [("Host", request.host)]
    at = random.randrange(len(headers))
    name, value = headers[at]
    new = random.choice(VALUES)
    match random.randrange(5):
        case 0:
            del headers[at]
        case 1:
            headers.append((name, new))
        case 2:
            headers[at] = (
                name,
                _cut(random, value.encode("latin-1", "replace"), new.encode()).decode("latin-1"),
            )
        case 3:
            headers[at] = (name, new)
        case _:
            headers.append((random.choice(NAMES), new))
    return replace(request, headers=tuple(headers))


def _swap(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    part = random.choice(["host", "target", "headers", "body"])
    return replace(request, **{part: getattr(random.choice(seeds), part)})


def _bytes(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    body = request.body or b""
    scrap = random.choice(SCRAPS)
    match random.randrange(4):
        case 0:
            scrap = body[random.randint(0, len(body)) :][: random.randint(0, 40)]
        case 1:
            scrap *= random.choice([2, 150, 5000])
    return with_body(request, _cut(random, body, scrap))


def _coding(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    body = request.body or b""
    if random.random() < 0.5:
        return with_body(request, gzip.compress(body, 1), ("Content-Encoding", "gzip"))
    size = random.choice([1, 7, 65536])
    parts = [body[at : at + size] for at in range(0, min(len(body), 400 * size), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return with_body(request, chunks + b"0\r\n\r\n", ("Content-Encoding", "aws-chunked"))


def _tree(random: Random, request: HttpRequest, seeds: list[HttpRequest]) -> HttpRequest:
    """A JSON or CBOR body with one node changed; other bodies as bytes."""
    try:
        value = json.loads(request.body or b"")
    except ValueError:
        body = request.body or b""
        if b"=" in body[:40] and b"Version=" in body:
            return with_body(request, _pairs(random, body))
        return _bytes(random, request, seeds)
    made = _changed(random, value)
    return with_body(request, cbor(made) if random.random() < 0.1 else json.dumps(made).encode())


def _pairs(random: Random, body: bytes) -> bytes:
    parts = body.split(b"&")
    at = random.randrange(len(parts))
    key, _, value = parts[at].partition(b"=")
    odd = random.choice(
        [".1", ".member.1", ".entry.1.key", "", ".0", ".2", ".999999", "." * 90, ".a"]
    ).encode()
    match random.randrange(4):
        case 0:
            del parts[at]
        case 1:
            parts.append(key + odd + b"=" + value)
        case 2:
            parts[at] = key + b"=" + quote(str(random.choice(ODD))).encode()
        case _:
            parts.append(parts[at])
    return b"&".join(parts)


def _changed(random: Random, value: Any) -> Any:
    if random.random() < 0.3 or not value or not isinstance(value, dict | list):
        odd = random.choice(ODD)
        for _ in range(random.choice([0, 0, 0, 1, 120])):
            odd = [odd] if random.random() < 0.5 else {"M": odd}
        return odd
    if isinstance(value, list):
        at = random.randrange(len(value))
        return [*value[:at], _changed(random, value[at]), *value[at + random.randint(0, 1) :]]
    key = random.choice(list(value))
    match random.randrange(6):
        case 0:
            return {name: item for name, item in value.items() if name != key}
        case 1:
            return {**value, random.choice(["", "__type", "*", key.swapcase(), key + "\0"]): value[key]}
        case _:
            return {**value, key: _changed(random, value[key])}


def _cut(random: Random, data: bytes, scrap: bytes) -> bytes:
    start = random.randint(0, len(data))
    return data[:start] + scrap + data[start + random.choice([0, 0, 1, 5, 12]) :]


_WAYS: tuple[Callable[[Random, HttpRequest, list[HttpRequest]], HttpRequest], ...] = (
    *(
        _method,
        _host,
        _target,
        _target,
        _header,
        _header,
        _swap,
        _bytes,
        _bytes,
        _coding,
        _tree,
        _tree,
        _tree,
    ),
)


def with_body(request: HttpRequest, body: bytes, *more: tuple[str, str]) -> HttpRequest:
    """`request` with another body, and no word of the length of the old one."""
    replaced = {"content-length", *(name.lower() for name, _ in more)}
    kept = tuple(pair for pair in request.headers if pair[0].lower() not in replaced)
    return replace(request, headers=kept + more, body=body)


def cbor(value: Any) -> bytes:
    """`value` (JSON) as CBOR."""
    match value:
        case None | bool():
            return bytes([0xF6 if value is None else 0xF5 if value else 0xF4])
        case int() if -(1 << 64) <= value < 1 << 64:
            return _head(0 if value >= 0 else 1, value if value >= 0 else -1 - value)
        case int() | float():
            return b"\xfb" + struct.pack(">d", float(value) if abs(value) < 1e308 else float("inf"))
        case str():
            raw = value.encode("utf-8", "replace")
            return _head(3, len(raw)) + raw
        case list():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case _:
            return _head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def _head(major: int, size: int) -> bytes:
    return bytes([major << 5 | 27]) + struct.pack(">Q", size)


def rewritten(random: Random, request: HttpRequest, call: Call) -> HttpRequest:
    """The same request, written otherwise: headers in another order and case, escapes in lower case, JSON
    with escapes and blanks, pairs of a form in another order.
    """
    headers = [(random.choice([name.lower(), name.upper(), name]), value) for name, value in request.headers]
    random.shuffle(headers)
    target = re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), request.target)
    again = replace(request, headers=tuple(headers), target=target)
    body = request.body or b""
    is_data = call.payload is not None or body in call.parameters.values()
    if is_data or request.values("content-encoding"):
        return again
    if call.protocol in ("json", "rest-json") and body[:1] == b"{":
        value = json.loads(body, parse_float=_Exact, parse_int=_Exact)
        text = json.dumps(value, indent=random.choice([None, 1]), ensure_ascii=False)
        text = re.sub('"\ue000([^"]*)"', r"\1", text)
        if random.random() < 0.5:
            text = re.sub("[^\0-~]", lambda found: json.dumps(found[0])[1:-1], text)
        return with_body(again, text.encode())
    if call.protocol in ("query", "ec2") and body:
        parts = body.split(b"&")
        random.shuffle(parts)
        return with_body(again, b"&".join(parts))
    return again


class _Exact(str):
    """A number as it was written."""

    def __new__(cls, text: str) -> _Exact:
        return super().__new__(cls, f"\ue000{text}")


def check(request: HttpRequest, endpoints: aws.Endpoints, random: Random | None = None) -> Call | None:
    """Reads `request`, which must give a call or its refusal, and a refusal in its protocol's form.

    With `random`, what was read must read the same in other words.
    """
    try:
        suffices = aws.head_suffices(request, endpoints)
        call = aws.read(request, endpoints)
    except Refusal as refusal:
        aws.answer(request, None, refusal, call_id="c", message=refusal.detail)
        return None
    aws.answer(request, call, Refusal("x", "x"), call_id="c", message="é\0")
    assert call.needs
    assert len(call.fingerprint) == 64
    json.dumps(to_json(call.parameters))
    if suffices:
        streamed = aws.read(replace(request, body=None), endpoints)
        assert (streamed.candidates, streamed.needs) == (call.candidates, call.needs)
    if random is not None:
        again = aws.read(rewritten(random, request, call), endpoints)
        assert (again.candidates, again.needs) == (call.candidates, call.needs)
        assert to_json(again.parameters) == to_json(call.parameters)
    return call


def main() -> int:
    """`scripts/fuzz`: damages requests of every service until the time is up; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default 10)")
    parser.add_argument("--seed", type=int, default=0, help="of the random choices (default 0)")
    parser.add_argument("--slow", type=float, default=1.0, help="seconds from which one request is a finding")
    parser.add_argument("services", nargs="*", help="botocore's names (default all)")
    asked = parser.parse_args()
    random = Random(asked.seed)
    seeds = corpus(asked.services)
    print(f"{len(seeds)} requests to start from", file=sys.stderr)
    for request in seeds:
        check(request, ENDPOINTS[0], random)
    done = read = found = 0
    slowest, before = 0.0, _memory()
    end = time.monotonic() + asked.minutes * 60
    while time.monotonic() < end:
        if done % 20_000 == 0:
            # Few at a time: the models of all services do not stay in memory.
            near = random.sample(seeds, min(len(seeds), 16))
        request = damaged(random, near)
        start = time.process_time()
        try:
            read += check(request, random.choice(ENDPOINTS), random) is not None
        except Exception:  # noqa: BLE001 - whatever is not a refusal is what is looked for
            found += 1
            print(line(request), traceback.format_exc(), sep="\n")
        took = time.process_time() - start
        if took > asked.slow:
            found += 1
            print(line(request), f"took {took:.2f} s", sep="\n")
        done, slowest = done + 1, max(slowest, took)
    print(
        f"{done} requests, {read} of them read, {found} findings; "
        f"slowest {slowest:.2f} s, memory grew by {_memory() - before} MB at most"
    )
    return 1 if found else 0


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    sys.exit(main())
