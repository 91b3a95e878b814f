"""Hostile answers through a real gateway: each arrives masked, or a 502 with a reason does, or its stream is
cut.

How HTTP itself may be broken is tests/attacks/test_attacks_upstream.py; here it is what HTTP carries.
"""

import gzip
import json
import re
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from kinds import encoded

from callgate.masking.eventstream import Message
from support.gateway import ALLOW_ALL, Gateway, make_home, running, wait_for
from support.upstream import read_request, serving
from support.wire import Wire, request

RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "mask"
effect = "mask"
action = ["secretsmanager:*", "ec2:*", "bedrock:*", "s3:*", "cloudwatch:*"]
response = ['$.SecretString', '$..KeyName', '$.Reservations[*].Instances[*].PrivateIpAddress', '$..text',
            '$.MetricAlarms[*].AlarmName', '$.message', '$.Metadata', '$.VersionId']
"""
)
STREAM_TYPE = "Content-Type: application/vnd.amazon.eventstream"
MASKED, CUT, BARE = "masked", "cut", "nothing"

JSON = '{"ARN":"a","SecretString":"canary","Name":"n"}'
XML = (
    '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'
    "<reservationSet><item><instancesSet><item><keyName>canary</keyName><privateIpAddress>canary"
    "</privateIpAddress></item></instancesSet></item></reservationSet></DescribeInstancesResponse>"
)


def of_json(body: str | bytes, *headers: str) -> bytes:
    return http(body, "Content-Type: application/x-amz-json-1.1", *headers)


def of_xml(body: str | bytes, *headers: str) -> bytes:
    return http(body, "Content-Type: text/xml;charset=UTF-8", *headers)


def of_cbor(body: bytes, *headers: str) -> bytes:
    return http(body, "Content-Type: application/cbor", "smithy-protocol: rpc-v2-cbor", *headers)


def http(body: str | bytes, *headers: str, status: int = 200) -> bytes:
    data = body.encode() if isinstance(body, str) else body
    lines = (f"HTTP/1.1 {status} X", *headers, f"Content-Length: {len(data)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end


def event(payload: str | bytes, kind: str = "event", name: str = "contentBlockDelta") -> bytes:
    types = ((":message-type", 7, kind.encode()), (f":{kind}-type", 7, name.encode()))
    return Message(types, payload.encode() if isinstance(payload, str) else payload).encode()


SAID = event('{"contentBlockIndex":0,"delta":{"text":"canary"}}')
PLAIN = event('{"role":"assistant"}', name="messageStart")


def stream(*events: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    head = f"HTTP/1.1 200 X\r\n{STREAM_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head.encode() + chunked(*events, end=end)


def damaged(message: bytes, at: int) -> bytes:
    """`message` with one bit of the byte at `at` changed."""
    changed = bytearray(message)
    changed[at] ^= 1
    return bytes(changed)


def resized(message: bytes, total: int) -> bytes:
    """`message` with another total length, and the sum of its prelude right."""
    prelude = struct.pack(">I", total) + message[4:8]
    return prelude + struct.pack(">I", zlib.crc32(prelude)) + message[12:]


UNREADABLE = "mask-unreadable"
GZIP = "Content-Encoding: gzip"
ZIPPED = gzip.compress(JSON.encode())
OF_JSON: dict[str, tuple[bytes, str]] = {
    "whole": (of_json(JSON), MASKED),
    "chunk by chunk": (
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunked(*(bytes([b]) for b in JSON.encode())),
        MASKED,
    ),
    "bytes behind": (of_json(JSON + "x"), UNREADABLE),
    "two values": (of_json(JSON + JSON), UNREADABLE),
    "a line each": (of_json(JSON + "\n" + JSON), UNREADABLE),
    "a byte order mark": (of_json("\ufeff" + JSON), UNREADABLE),
    "UTF-16": (of_json(JSON.encode("utf-16")), UNREADABLE),
    "UTF-16 said": (of_json(JSON, "Content-Type: application/json; charset=utf-16"), UNREADABLE),
    "UTF-7 said": (of_json(JSON, "Content-Type: application/json; charset=utf-7"), UNREADABLE),
    "no UTF-8": (of_json(JSON.encode().replace(b"canary", b"canary\xff")), UNREADABLE),
    "overlong UTF-8": (of_json(JSON.encode().replace(b"Secret", b"\xc1\x93ecret")), UNREADABLE),
    "NUL between": (of_json(JSON.replace(",", ",\0")), UNREADABLE),
    "single quotes": (of_json(JSON.replace('"', "'")), UNREADABLE),
    "a comment": (of_json(JSON.replace("{", "{/**/")), UNREADABLE),
    "a trailing comma": (of_json(JSON.replace("}", ",}")), UNREADABLE),
    "NaN": (of_json(JSON.replace('"n"', "NaN")), UNREADABLE),
    "not closed": (of_json(JSON[:-1]), UNREADABLE),
    "a raw line break in a string": (of_json(JSON.replace("canary", "canary\n")), UNREADABLE),
    "a lone surrogate": (of_json(JSON.replace("canary", r"\ud800canary")), MASKED),
    "an escaped name": (of_json(JSON.replace("SecretString", r"Secret\u0053tring")), MASKED),
    "a name all of escapes": (
        of_json(JSON.replace("SecretString", "".join(f"\\u{ord(sign):04X}" for sign in "SecretString"))),
        MASKED,
    ),
    "another case": (of_json(JSON.replace("SecretString", "secretstring")), MASKED),
    "twice": (of_json(JSON.replace("{", '{"SecretString":"canary",')), MASKED),
    "twice, once escaped": (of_json(JSON.replace("{", r'{"\u0053ecretString":"canary",')), MASKED),
    "another list": (of_json(JSON.replace('"canary"', '["canary"],"New":{"SecretString":"canary"}')), MASKED),
    "a list": (of_json(f"[{JSON}]"), UNREADABLE),
    "text": (of_json(json.dumps(JSON)), UNREADABLE),
    "nested deep": (of_json('{"New":' + "[" * 200 + JSON + "]" * 200 + "}"), "mask-depth"),
    "nested very deep": (of_json("[" * 200_000), UNREADABLE),
    "a very long number": (of_json(JSON.replace('"n"', "1" * 100_000)), MASKED),
    "gzip": (of_json(ZIPPED, GZIP), MASKED),
    "gzip said twice": (of_json(ZIPPED, *[GZIP] * 2), "mask-coding"),
    "gzip twice": (
        of_json(gzip.compress(ZIPPED), "Content-Encoding: gzip, gzip"),
        "mask-coding",
    ),
    "identity": (of_json(JSON, "Content-Encoding: identity"), MASKED),
    "gzip and identity": (of_json(ZIPPED, "Content-Encoding: gzip, identity"), MASKED),
    "gzip not said": (of_json(ZIPPED), UNREADABLE),
    "gzip cut": (of_json(ZIPPED[:-4], GZIP), "mask-coding"),
    "gzip with more": (of_json(ZIPPED + b"canary", GZIP), "mask-coding"),
    "aws-chunked": (of_json(JSON, "Content-Encoding: aws-chunked"), "mask-coding"),
    "a bomb": (of_json(gzip.compress(bytes(50_000_000)), GZIP), "mask-too-large"),
    "a part": (http(JSON, "Content-Range: bytes 0-45/46", status=206), "mask-partial"),
    "several parts": (
        http(JSON, "Content-Type: multipart/byteranges; boundary=x", status=206),
        "mask-partial",
    ),
    "server-sent events": (http(f"data: {JSON}\n\n", "Content-Type: text/event-stream"), "mask-stream"),
    "an event stream": (http(SAID, STREAM_TYPE), "mask-stream"),
    "an error": (
        http('{"__type":"X","message":"canary"}', "x-amzn-errormessage: canary", status=400),
        MASKED,
    ),
    "an error in HTML": (http("<html>canary", "Content-Type: text/html", status=503), UNREADABLE),
}

ENTITY = '<!DOCTYPE a [<!ENTITY k "canary">]>'
OF_XML: dict[str, tuple[bytes, str]] = {
    "whole": (of_xml(XML), MASKED),
    "a declaration": (of_xml('<?xml version="1.0" encoding="UTF-8"?>\n' + XML), MASKED),
    "bytes behind": (of_xml(XML + "x"), UNREADABLE),
    "an element behind": (of_xml(XML + "<keyName>canary</keyName>"), UNREADABLE),
    "a comment behind": (of_xml(XML + "<!-- canary -->"), UNREADABLE),
    "a byte order mark": (of_xml("\ufeff" + XML), UNREADABLE),
    "UTF-16": (of_xml(XML.encode("utf-16")), UNREADABLE),
    "UTF-16 declared": (of_xml('<?xml version="1.0" encoding="UTF-16"?>' + XML), UNREADABLE),
    "Latin-1 declared": (of_xml("<?xml version='1.0' encoding='latin1'?>" + XML), UNREADABLE),
    "UTF-7 declared": (of_xml("<?xml version='1.0' encoding = 'utf-7'?>" + XML), UNREADABLE),
    "no UTF-8": (of_xml(XML.encode().replace(b"canary", b"canary\xff")), UNREADABLE),
    "an entity": (of_xml(ENTITY + XML.replace("canary", "&k;")), UNREADABLE),
    "an entity nobody asks for": (of_xml(ENTITY + XML), UNREADABLE),
    "an entity that is not declared": (of_xml(XML.replace("canary", "canary&k;")), UNREADABLE),
    "a DOCTYPE elsewhere": (of_xml('<!DOCTYPE a SYSTEM "http://127.0.0.1/canary">' + XML), UNREADABLE),
    "CDATA": (of_xml(XML.replace("canary", "<![CDATA[canary]]>")), MASKED),
    "CDATA with a tag": (of_xml(XML.replace("canary", "<![CDATA[</keyName>canary]]>")), MASKED),
    "split by CDATA": (of_xml(XML.replace("canary", "can<![CDATA[ary]]>")), MASKED),
    "split by a comment": (of_xml(XML.replace("canary", "can<!-- canary -->ary")), MASKED),
    "a comment with a tag": (of_xml(XML.replace("canary", "x<!-- </keyName> -->canary")), MASKED),
    "a comment beside": (of_xml(XML.replace("<keyName>", "<!-- canary --><keyName>")), UNREADABLE),
    "an instruction beside": (of_xml(XML.replace("<keyName>", "<?canary?><keyName>")), UNREADABLE),
    "text beside": (of_xml(XML.replace("<keyName>", "canary<keyName>")), UNREADABLE),
    "references": (of_xml(XML.replace("canary", "&#99;anar&#x79;canary")), MASKED),
    "a prefix": (
        of_xml(re.sub("(</?)keyName", r"\1e:keyName", XML).replace("xmlns=", "xmlns:e='x' xmlns=")),
        MASKED,
    ),
    "another namespace": (of_xml(XML.replace("<keyName>", "<keyName xmlns='urn:x'>")), MASKED),
    "no namespace": (of_xml(re.sub(' xmlns="[^"]*"', "", XML)), MASKED),
    "another case": (of_xml(XML.replace("keyName", "KEYNAME")), MASKED),
    "an attribute": (of_xml(XML.replace("<keyName>", "<keyName a='canary'>")), UNREADABLE),
    "a member as attribute": (
        of_xml(XML.replace("<item><keyName>canary</keyName>", "<item keyName='canary'>")),
        MASKED,
    ),
    "an item too many": (
        of_xml(re.sub("(<keyName>.*</privateIpAddress>)", r"<item>\1</item>", XML)),
        UNREADABLE,
    ),
    "a list too few": (of_xml(re.sub("</?instancesSet>", "", XML)), UNREADABLE),
    "a string for a list": (of_xml(re.sub("<item>.*</item>", "canary", XML)), UNREADABLE),
    "repeated": (of_xml(XML.replace("<keyName>", "<keyName>canary</keyName><keyName>")), MASKED),
    "nested": (of_xml(XML.replace("canary", "<keyName>canary</keyName>", 1)), MASKED),
    "nested deep": (of_xml("<a>" * 500 + XML + "</a>" * 500), "mask-depth"),
    "not closed": (of_xml(XML[:-1]), UNREADABLE),
    "JSON": (of_xml('{"KeyName":"canary"}'), UNREADABLE),
    "gzip": (of_xml(gzip.compress(XML.encode()), GZIP), MASKED),
    "deflate without its head": (
        of_xml(zlib.compress(XML.encode(), wbits=-15), "Content-Encoding: deflate"),
        "mask-coding",
    ),
    "a bomb": (of_xml(gzip.compress(b"<a>" * 9_000_000), GZIP), "mask-too-large"),
}

OF_STREAM: dict[str, tuple[bytes, str]] = {
    "whole": (stream(PLAIN, SAID), MASKED),
    "with a length": (http(PLAIN + SAID, STREAM_TYPE), MASKED),
    "shorter than its length": (
        http(PLAIN + SAID, STREAM_TYPE)[: -len(SAID)],
        CUT,
    ),
    "byte by byte": (stream(*(bytes([byte]) for byte in PLAIN + SAID)), MASKED),
    "an exception": (
        stream(PLAIN, event('{"message":"canary"}', "exception", "throttlingException")),
        MASKED,
    ),
    "an unknown event": (stream(PLAIN, event('{"text":"canary"}', name="brandNew")), MASKED),
    "a bad sum": (stream(PLAIN, damaged(SAID, -1)), CUT),
    "a bad sum of the prelude": (stream(PLAIN, damaged(SAID, 9)), CUT),
    "a changed payload": (stream(PLAIN, damaged(SAID, len(SAID) - 8)), CUT),
    "cut in an event": (stream(PLAIN, SAID[:-9]), CUT),
    "cut in a prelude": (stream(PLAIN, SAID[:5]), CUT),
    "cut in a chunk": (stream(PLAIN, SAID, end=b"ff\r\ncanary"), CUT),
    "a bad chunk": (stream(PLAIN, SAID, end=b"-5\r\ncanary\r\n0\r\n\r\n"), CUT),
    "a trailer": (stream(PLAIN, SAID, end=b"0\r\nx-trailer: canary\r\n\r\n"), CUT),
    "bytes behind": (stream(PLAIN, SAID, b"canary"), CUT),
    "an event too large": (stream(PLAIN, resized(SAID, 20_000_000)), CUT),
    "an event too small": (stream(PLAIN, resized(SAID, 12)), CUT),
    "no JSON": (stream(PLAIN, event("canary")), CUT),
    "another kind": (stream(PLAIN, event('{"delta":["canary"]}')), CUT),
    "two values": (stream(PLAIN, event('{"delta":{}}{"delta":{"text":"canary"}}')), CUT),
    "no UTF-8": (stream(PLAIN, event(b'{"delta":{"text":"canary\xff"}}')), CUT),
    "an unknown kind": (stream(PLAIN, event('{"message":"canary"}', "odd")), CUT),
    "JSON": (http('{"text":"canary"}', "Content-Type: application/json"), "mask-stream"),
    "with a coding": (
        http(gzip.compress(SAID), STREAM_TYPE, GZIP),
        "mask-coding",
    ),
    "an error": (http('{"message":"canary"}', "x-amzn-errortype: ValidationException", status=400), MASKED),
}

ALARMS = encoded({"MetricAlarms": [{"AlarmName": "canary", "ActionsEnabled": True}]})
ALARM = ALARMS[ALARMS.index(b"\xa2") :]
OF_CBOR: dict[str, tuple[bytes, str]] = {
    "whole": (of_cbor(ALARMS), MASKED),
    "of no stated length": (
        of_cbor(b"\xbf\x7f\x66Metric\x66Alarms\xff\x9f" + ALARM + b"\xff\xff"),
        MASKED,
    ),
    "a name in pieces": (of_cbor(ALARMS.replace(b"\x69AlarmName", b"\x7f\x61A\x68larmName\xff")), MASKED),
    "a name of a longer head": (of_cbor(ALARMS.replace(b"\x69AlarmName", b"\x78\x09AlarmName")), MASKED),
    "a value in pieces": (
        of_cbor(ALARMS.replace(b"\x66canary", b"\x7f\x63can\x63ary\x66canary\xff")),
        MASKED,
    ),
    "a value of bytes": (of_cbor(ALARMS.replace(b"\x66canary", b"\x46canary")), MASKED),
    "twice": (of_cbor(ALARMS.replace(b"\xa2", b"\xa3\x69AlarmName\x66canary")), MASKED),
    "another case": (of_cbor(ALARMS.replace(b"AlarmName", b"alarmname")), MASKED),
    "cut": (of_cbor(ALARMS[:-1]), UNREADABLE),
    "bytes behind": (of_cbor(ALARMS + b"\x66canary"), UNREADABLE),
    "two values": (of_cbor(ALARMS + ALARMS), UNREADABLE),
    "a name of bytes": (of_cbor(ALARMS.replace(b"\x69AlarmName", b"\x49AlarmName")), UNREADABLE),
    "no UTF-8": (of_cbor(ALARMS.replace(b"\x66canary", b"\x67canary\xff")), UNREADABLE),
    "a list": (of_cbor(b"\x81" + ALARMS), UNREADABLE),
    "a map for a list": (of_cbor(ALARMS.replace(b"\x81\xa2", b"\xa2")), UNREADABLE),
    "a list too many": (of_cbor(ALARMS.replace(b"\x81\xa2", b"\x81\x81\xa2")), UNREADABLE),
    "behind a tag": (of_cbor(ALARMS.replace(b"\x81\xa2", b"\xc5\x81\xa2")), UNREADABLE),
    "as text": (of_cbor(b"\xa1\x6cMetricAlarms\x66canary"), UNREADABLE),
    "nested deep": (of_cbor(b"\xa1\x63New" + b"\x81" * 200 + ALARMS), "mask-depth"),
    "a length past the end": (
        of_cbor(ALARMS.replace(b"\x66canary", b"\x7b" + b"\xff" * 8 + b"canary")),
        UNREADABLE,
    ),
    "JSON": (of_cbor(b'{"MetricAlarms":[{"AlarmName":"canary"}]}'), UNREADABLE),
    "gzip": (of_cbor(gzip.compress(ALARMS), GZIP), MASKED),
    "an error": (
        http(encoded({"__type": "com.amazonaws#ResourceNotFound", "message": "canary"}), status=404),
        MASKED,
    ),
}

OF_HEAD: dict[str, tuple[bytes, str]] = {
    "once": (http("", "x-amz-meta-a: canary", "x-amz-version-id: canary"), BARE),
    "twice": (http("", *["x-amz-version-id: canary"] * 2, *["x-amz-meta-a: canary"] * 2), BARE),
    "another case": (http("", "X-AMZ-META-A: canary", "X-aMz-VeRsIoN-iD: canary"), BARE),
    "not modified": (http("", "x-amz-version-id: canary", status=304), BARE),
    "an error": (http("", "x-amz-error-message: canary", status=404), BARE),
}

HOSTS = {
    "json": "secretsmanager.us-east-1.amazonaws.com",
    "xml": "ec2.us-east-1.amazonaws.com",
    "stream": "bedrock-runtime.us-east-1.amazonaws.com",
    "cbor": "monitoring.us-east-1.amazonaws.com",
    "head": "b.s3.us-east-1.amazonaws.com",
}
FORM = b"Action=DescribeInstances&Version=2016-11-15"
REQUESTS = {
    "json": request(
        b'{"SecretId":"s"}',
        host=HOSTS["json"],
        service="secretsmanager",
        operation="secretsmanager.GetSecretValue",
    ),
    "xml": request(FORM, host=HOSTS["xml"], service="ec2").replace(
        b"x-amz-json-1.0", b"x-www-form-urlencoded"
    ),
    "stream": request(
        b'{"messages":[]}', host=HOSTS["stream"], service="bedrock", target="/model/m/converse-stream"
    ).replace(b"x-amz-json-1.0", b"json"),
    "cbor": request(
        b"\xa0",
        host=HOSTS["cbor"],
        service="monitoring",
        target="/service/GraniteServiceVersion20100801/operation/DescribeAlarms",
        more="smithy-protocol: rpc-v2-cbor\r\n",
    ).replace(b"x-amz-json-1.0", b"cbor"),
    "head": request(b"", method="HEAD", host=HOSTS["head"], service="s3", target="/k", length=""),
}
for kind in ("xml", "stream", "cbor", "head"):
    REQUESTS[kind] = re.sub(rb"X-Amz-Target:.*?\r\n", b"", REQUESTS[kind])
TABLES = {"json": OF_JSON, "xml": OF_XML, "stream": OF_STREAM, "cbor": OF_CBOR, "head": OF_HEAD}


@dataclass
class Far:
    """Gives the answer that it was told to, and hangs up."""

    port: int = 0
    answer: bytes = b""

    def serve(self, peer: socket.socket) -> None:
        read_request(peer, bytearray(), bytearray())
        peer.sendall(self.answer)


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    state = Far()
    with serving(state.serve) as state.port:
        yield state


@pytest.fixture(scope="module")
def gate(far: Far, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("hostile") / "gate"
    with running(make_home(folder, endpoint=f"http://127.0.0.1:{far.port}", rules=RULES)) as started:
        yield started


def outcomes(gate: Gateway, sources: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The terminal entries of the calls that came from `sources`, under the names of the cases."""

    def ended() -> dict[str, dict[str, Any]] | None:
        callers = {each["callId"]: each["sourceIPAddress"] for each in gate.entries("call.intent")}
        ends = {callers[each["callId"]]: each for each in gate.entries("call.outcome")}
        found = {name: ends[source] for source, name in sources.items() if source in ends}
        return found if len(found) == len(sources) else None

    found: dict[str, dict[str, Any]] = wait_for(ended, 10, "the outcomes")
    return found


def unchunked(got: bytes) -> bytes:
    """The body of an answer in chunks, which is whole and all that came."""
    left, body = got.partition(b"\r\n\r\n")[2], b""
    while left:
        size, _, left = left.partition(b"\r\n")
        length = int(size, 16)
        assert left[length : length + 2] == b"\r\n"
        body, left = body + left[:length], left[length + 2 :]
        if not length:
            assert not left
            return body
    raise AssertionError("the body has no end")


def check(name: str, answer: bytes, wanted: str, got: bytes, entry: dict[str, Any]) -> None:
    """The client got what is `wanted` of `answer`, and the ledger says so."""
    said = (name, got, entry)
    assert b"canary" not in got, said
    assert "canary" not in json.dumps(entry), said
    if wanted in (MASKED, BARE):
        assert got[9:12] == answer[9:12], said
        assert entry["result"] == "completed", said
        assert entry["masked"], said
        assert b"***" in got or wanted == BARE, said
    elif wanted == CUT:
        assert not got or got.startswith(b"HTTP/1.1 200"), said
        assert b"\r\n0\r\n\r\n" not in got, said
        assert entry["result"] == ("blocked" if entry["reason"].startswith("mask-") else "failed"), said
        assert entry["reason"] in (UNREADABLE, "mask-truncated", "mask-too-large", "upstream-failed"), said
    else:
        assert got.startswith(b"HTTP/1.1 502"), said
        assert f"x-callgate-reason: {wanted}\r\n".encode() in got.lower(), said
        assert (entry["result"], entry["reason"]) == ("blocked", wanted), said


@pytest.mark.case("F01", "F02", "F05")
@pytest.mark.parametrize("kind", TABLES)
def test_hostile_answers_are_masked_or_refused(gate: Gateway, far: Far, kind: str) -> None:
    host = HOSTS[kind]
    asked = REQUESTS[kind].replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    got: dict[str, bytes] = {}
    sources: dict[str, str] = {}
    token = gate.home.token()
    for name, (far.answer, _) in TABLES[kind].items():
        with Wire(gate) as wire:
            assert wire.connect(f"{host}:443", token).status == 200
            wire.tls(host)
            wire.send(asked)
            wire.ended()
            got[name], sources[wire.source] = wire.buffer, name
    entries = outcomes(gate, sources)
    for name, (answer, wanted) in TABLES[kind].items():
        check(name, answer, wanted, got[name], entries[name])
        if kind == "stream" and wanted == MASKED and b"chunked" in got[name]:
            events = EventStreamBuffer()
            events.add_data(unchunked(got[name]))
            assert len(list(events)) == 2, name
