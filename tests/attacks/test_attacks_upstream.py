"""An upstream that fails or lies at any stage of its answer: nothing leaks, one outcome, the next call
passes.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from support.canary import CANARY
from support.gateway import ALLOW_ALL, Gateway, make_home, running, wait_for
from support.upstream import reset, serving
from support.wire import Wire, request

RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "mask"
effect = "mask"
action = ["dynamodb:GetItem"]
response = ['$.Item']
"""
)
BODY = b'{"Item":{"secret":{"S":"%s"}}}' % CANARY.encode()
TYPE = b"Content-Type: application/x-amz-json-1.0\r\n"
OK = b"HTTP/1.1 200 OK\r\n" + TYPE
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
WHOLE = OK + LENGTH + b"\r\n" + BODY
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%s\r\n" % (len(BODY), BODY)
RESET, CLOSE = b"<reset>", b"<close>"
# What is sent, in place of an answer, and whether the connection is then left open, closed or reset.
BEHAVIOURS: dict[str, tuple[bytes, bytes]] = {
    "whole": (WHOLE, b""),
    "nothing": (b"", CLOSE),
    "nothing-reset": (b"", RESET),
    "half-a-status": (b"HTTP/1.1 2", CLOSE),
    "half-a-head": (OK + b"Content-Le", RESET),
    "head-without-body": (OK + LENGTH + b"\r\n", CLOSE),
    "short-body": (OK + b"Content-Length: 9999\r\n\r\n" + BODY, CLOSE),
    "short-body-reset": (OK + b"Content-Length: 9999\r\n\r\n" + BODY, RESET),
    "cut-chunk": (CHUNKED + CHUNK[:-9], CLOSE),
    "no-last-chunk": (CHUNKED + CHUNK, CLOSE),
    "bad-chunk-size": (CHUNKED + b"xyz\r\n" + BODY, CLOSE),
    "negative-chunk": (CHUNKED + b"-1\r\n" + BODY, CLOSE),
    "chunk-extension": (CHUNKED + CHUNK.replace(b"\r\n", b";a=b\r\n", 1) + b"0\r\n\r\n", b""),
    "trailers": (CHUNKED + CHUNK + b"0\r\nX-Trailer: a\r\n\r\n", b""),
    "until-close": (OK + b"\r\n" + BODY, CLOSE),
    "http10": (WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"), CLOSE),
    "two-lengths": (OK + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY, CLOSE),
    "same-length-twice": (OK + LENGTH + LENGTH + b"\r\n" + BODY, CLOSE),
    "length-and-chunked": (OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", CLOSE),
    "bad-length": (OK + b"Content-Length: nonsense\r\n\r\n" + BODY, CLOSE),
    "negative-length": (OK + b"Content-Length: -1\r\n\r\n" + BODY, CLOSE),
    "plus-length": (OK + b"Content-Length: +34\r\n\r\n" + BODY, CLOSE),
    "huge-length": (OK + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY, CLOSE),
    "unknown-framing": (OK + b"Transfer-Encoding: xchunked\r\n\r\n" + BODY, CLOSE),
    "gzip-framing": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNK + b"0\r\n\r\n", CLOSE),
    "continue-first": (b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE, b""),
    "hints-first": (b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + WHOLE, b""),
    "many-continues": (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + WHOLE, b""),
    "upgrade": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + BODY, b""),
    "204-with-body": (WHOLE.replace(b"200 OK", b"204 No"), CLOSE),
    "304-with-body": (WHOLE.replace(b"200 OK", b"304 No"), CLOSE),
    "two-answers": (WHOLE + WHOLE, b""),
    "folded": (OK + LENGTH + b"X-A: b\r\n c\r\n\r\n" + BODY, b""),
    "bare-lf": (WHOLE.replace(b"\r\n", b"\n"), b""),
    "bare-cr": (OK + LENGTH + b"X-A: b\rX-B: c\r\n\r\n" + BODY, b""),
    "nul": (OK + LENGTH + b"X-A: b\x00c\r\n\r\n" + BODY, b""),
    "no-colon": (OK + LENGTH + b"canary\r\n\r\n" + BODY, b""),
    "many-fields": (OK + LENGTH + b"X-A: b\r\n" * 50_000 + b"\r\n" + BODY, b""),
    "endless-field": (OK + b"X-A: " + b"a" * 8_000_000, CLOSE),
    "http09": (BODY, CLOSE),
    "http2": (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18), CLOSE),
    "no-http": (b"220 smtp.example.com ESMTP canary\r\n", CLOSE),
    "status-1": (WHOLE.replace(b"200 OK", b"1 OK"), CLOSE),
    "status-999": (WHOLE.replace(b"200 OK", b"999 OK"), CLOSE),
    "masked-html": (WHOLE.replace(b"application/x-amz-json-1.0", b"text/html"), b""),
    "event-stream": (
        WHOLE.replace(b"application/x-amz-json-1.0", b"application/vnd.amazon.eventstream"),
        b"",
    ),
    "rot13": (WHOLE.replace(TYPE, TYPE + b"Content-Encoding: rot13\r\n"), b""),
    "gzip-that-is-none": (WHOLE.replace(TYPE, TYPE + b"Content-Encoding: gzip\r\n"), b""),
}


# Answers that are passed back as they begin, and end in the middle: the call has failed.
CUT = {
    "short-body",
    "short-body-reset",
    "head-without-body",
    "cut-chunk",
    "no-last-chunk",
    "bad-chunk-size",
    "negative-chunk",
    "huge-length",
}
# Answers that are passed back whole.
PASSED = {"whole", "continue-first", "hints-first", "chunk-extension", "until-close", "http10"}
# Answers of which nothing is passed back.
REFUSED = {
    "folded",
    "bare-cr",
    "nul",
    "many-continues",
    "two-lengths",
    "length-and-chunked",
    "bad-length",
    "negative-length",
    "plus-length",
    "unknown-framing",
    "no-colon",
    "endless-field",
    "http09",
    "http2",
    "no-http",
}


@dataclass
class Liar:
    """Sends what the table's name in a request asks for; `heads` are those that came."""

    port: int = 0
    heads: list[str] = field(default_factory=list)

    def serve(self, stream: socket.socket) -> None:
        raw = b""
        while data := stream.recv(65536):
            raw += data
            if not (found := re.search(rb'"TableName": ?"([\w-]+)".*\}$', raw, re.DOTALL)):
                continue
            raw = b""
            self.heads.append(found[1].decode())
            answer, then = BEHAVIOURS[found[1].decode()]
            stream.sendall(answer)
            if then == RESET:
                reset(stream)
            if then:
                return


@pytest.fixture(scope="module")
def far() -> Iterator[Liar]:
    state = Liar()
    with serving(state.serve) as state.port:
        yield state


@pytest.fixture(scope="module")
def gate(far: Liar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    endpoint = f"http://127.0.0.1:{far.port}"
    home = make_home(tmp_path_factory.mktemp("liar") / "gate", endpoint=endpoint, rules=RULES)
    with running(home) as started:
        yield started


def get(table: str, operation: str = "GetItem") -> bytes:
    body = json.dumps({"TableName": table} | ({"Key": {"k": {"S": "v"}}} if operation == "GetItem" else {}))
    return request(body.encode(), operation=f"DynamoDB_20120810.{operation}")


def everything(wire: Wire) -> bytes:
    """All that comes back until nothing more does for a while."""
    got = b""
    wire.socket.settimeout(5)
    try:
        while data := wire.socket.recv(65536):
            got += data
            if re.match(rb"HTTP/1.1 \d\d\d", got) and _is_whole(got):
                break
    except OSError:
        return got
    return got


def _is_whole(got: bytes) -> bool:
    head, end, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if got[9:12] in (b"204", b"304"):
        return bool(end)
    return bool(end) and ((length is not None and len(body) >= int(length[1])) or body.endswith(b"0\r\n\r\n"))


def outcomes(gate: Gateway, wire: Wire) -> list[dict[str, object]]:
    entries = gate.entries()
    calls = {
        each["callId"] for each in entries if "callId" in each and each.get("sourceIPAddress") == wire.source
    }
    return [each for each in entries if each.get("callId") in calls and each["kind"] != "call.intent"]


@pytest.mark.case("C01", "F01", "F02")
@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("operation", ["GetItem", "DescribeTable"], ids=["masked", "passed"])
def test_whatever_the_upstream_says_nothing_leaks_and_one_outcome_is_recorded(
    gate: Gateway, far: Liar, name: str, operation: str
) -> None:
    with Wire(gate) as wire:
        assert wire.connect().status == 200
        wire.tls()
        wire.send(get(name, operation))
        got = everything(wire)
        # Never is what follows an answer an answer to the next request.
        if name == "two-answers":
            wire.send(get("nothing", operation))
            got += everything(wire)
    assert got.count(b"HTTP/1.1 200") <= 1
    if operation == "GetItem":
        assert b"canary" not in got
    ended = wait_for(lambda: outcomes(gate, wire), 10, "the outcome")
    asked = 2 if name == "two-answers" and got.count(b"HTTP/1.1 ") == 2 else 1
    assert 1 <= len(ended) <= asked
    if name in PASSED:
        assert got[9:12] == b"200"
        assert ended[0]["result"] == "completed"
    if name in REFUSED:
        assert got.startswith(b"HTTP/1.1 502")
        assert b"X-A" not in got
        assert b"mitmproxy" not in got
        assert re.search(rb"(?i)\nx-callgate-reason: [a-z-]+\r\n", got)
    if name in REFUSED or name in CUT:
        assert ended[0]["result"] in ("failed", "blocked")
    with Wire(gate) as after:
        assert after.connect().status == 200
        after.tls()
        after.send(get("whole"))
        assert after.read().status == 200
    assert far.heads.count(name) >= 1
