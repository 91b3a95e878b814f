"""Bodies that are kept have bounds together, and none may drip; what was kept comes back, however it ends."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from botocore.exceptions import ClientError

from callgate.call import Refusal
from callgate.hooks import memory
from support.gateway import ALLOW_ALL, Gateway, make_home, running, wait_for
from support.upstream import Recorder, recorder, reset, sized_item
from support.wire import HOST, Eyes, Wire, request

BODY, SESSION = 64 * 1024, 128 * 1024
WHOLE = 2 * SESSION
MB = 1024 * 1024
BUCKET = "bucket.s3.amazonaws.com"
LIMITS = f"""
[limits]
request_body = {BODY}
masked_response = {BODY}
memory = {WHOLE}
session_memory = {SESSION}
[approvals]
attempt = "500ms"
"""
RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "no-delete"
effect = "deny"
action = ["dynamodb:DeleteTable"]
[[rule]]
id = "mask"
effect = "mask"
action = ["dynamodb:GetItem"]
response = ['$.Item']
[[rule]]
id = "ask"
effect = "hold"
reason = "Ask."
action = ["dynamodb:CreateTable"]
resource = ["*/held*"]
hold = { by = ["oncall"], count = 1, within = "15m" }
"""
)


def answer(raw: bytes) -> bytes:
    """No answer, where the table's name says nonsense."""
    if b"nonsense" in raw:
        return b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n"
    return sized_item(raw)


@pytest.fixture(scope="module")
def far() -> Iterator[Recorder]:
    with recorder(answer) as state:
        yield state


@pytest.fixture(scope="module")
def gate(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("memory") / "gate", endpoint=far.url, rules=RULES, more=LIMITS)
    with running(home) as started:
        yield started


def kept(gate: Gateway) -> int:
    return int(gate.health()[1]["memory"]["kept"])


def comes_back(gate: Gateway) -> None:
    wait_for(lambda: kept(gate) == 0, 10, "what was kept")


def tunnel(gate: Gateway, token: str, host: str = HOST) -> Wire:
    wire = Wire(gate)
    assert wire.connect(f"{host}:443", token=token).status == 200
    wire.tls(host)
    return wire


def call(operation: str = "ListTables", size: int = BODY, table: str = "t") -> bytes:
    """A request with a body of `size` bytes."""
    body: dict[str, object] = {} if operation == "ListTables" else {"TableName": table}
    if operation == "GetItem":
        body["Key"] = {"k": {"S": "v"}}
    raw = json.dumps(body).encode().ljust(size)
    return request(raw, operation=f"DynamoDB_20120810.{operation}")


def half(operation: str = "ListTables", size: int = BODY, table: str = "t") -> bytes:
    """A request but for the last byte of its body."""
    return call(operation, size, table)[:-1]


def filled(gate: Gateway, token: str, connections: int = 2) -> list[Wire]:
    """Connections of one session, each with a body but for its last byte."""
    before = kept(gate)
    wires = [tunnel(gate, token) for _ in range(connections)]
    for wire in wires:
        wire.send(half())
    wait_for(lambda: kept(gate) == before + connections * (BODY - 1), 10, "the bodies")
    return wires


def finish(wires: list[Wire]) -> None:
    for wire in wires:
        wire.send(b" ")
        assert wire.read().status == 200
        wire.socket.close()


@pytest.mark.case("C08")
def test_a_session_keeps_as_much_as_it_may_and_no_other_pays_for_it(gate: Gateway, far: Recorder) -> None:
    token = gate.home.token(run_id="1")
    wires = filled(gate, token)
    with tunnel(gate, token) as last, tunnel(gate, gate.home.token(run_id="2")) as other:
        last.send(request(b"{}"))
        assert last.read().status == 200
        other.send(call())
        assert other.read().status == 200
    wait_for(lambda: kept(gate) == 2 * (BODY - 1))
    eyes = Eyes.open(gate, far)
    with tunnel(gate, token) as one_more:
        one_more.send(request(b"{ }"))
        said = one_more.read()
        assert (said.status, said.reason) == (503, "memory-full")
        assert said.headers["connection"] == "close"
        assert b"ServiceUnavailable" in said.body + said.headers.get("x-amzn-errortype", "").encode()
        eyes.denied(one_more, "memory-full")
    finish(wires)
    comes_back(gate)


@pytest.mark.case("C08")
def test_all_sessions_together_keep_as_much_as_they_may(gate: Gateway, far: Recorder) -> None:
    wires = [wire for number in "34" for wire in filled(gate, gate.home.token(run_id=number))]
    try:
        eyes = Eyes.open(gate, far)
        with pytest.raises(ClientError, match=r"ServiceUnavailable.*memory-full"):
            gate.client("dynamodb").list_tables(ExclusiveStartTableName="a-name")
        assert far.accepted == eyes.accepted
        # An SDK that comes back finds room as soon as there is some.
        finish(wires[:1])
        gate.client("dynamodb").list_tables(ExclusiveStartTableName="a-name")
    finally:
        for wire in wires:
            wire.socket.close()
    comes_back(gate)


@pytest.mark.case("C08")
def test_who_is_nobody_has_no_more_than_one_session(gate: Gateway, eyes: Eyes) -> None:
    head = b"POST /callgate/token HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % BODY
    wires = [Wire(gate) for _ in range(2)]
    try:
        for wire in wires:
            wire.send(head + bytes(BODY - 1))
        wait_for(lambda: kept(gate) == 2 * (BODY - 1), 10, "the bodies")
        with Wire(gate) as one_more:
            one_more.send(head + bytes(3))
            said = one_more.read()
            assert (said.status, said.reason) == (503, "memory-full")
            eyes.denied(one_more, "memory-full")
        with tunnel(gate, gate.home.token()) as known:
            known.send(call())
            assert known.read().status == 200
    finally:
        for wire in wires:
            wire.socket.close()
    comes_back(gate)


def _read(wire: Wire) -> None:
    wire.send(b" ")
    wire.read()


def _reset(wire: Wire) -> None:
    reset(wire.socket)
    wire.socket.close()


def _cut(wire: Wire) -> None:
    session = wire.gateway.entries("session.opened")[-1]["sessionId"]
    wire.gateway.callgate("sessions", "revoke", session)
    wire.ended()


ENDS: dict[str, tuple[bytes, Callable[[Wire], None]]] = {
    "passed": (half(), _read),
    "denied": (half("DeleteTable"), _read),
    "held-until-it-ends": (half("CreateTable", table="held"), _read),
    "held-and-left": (call("CreateTable", table="held"), lambda wire: wire.socket.close()),
    "masked": (half("GetItem", table=f"size-{BODY}"), _read),
    "masked-too-large": (half("GetItem", table=f"size-{BODY + 1}"), _read),
    "masked-and-not-read": (call("GetItem", table=f"size-{BODY}"), lambda wire: wire.socket.close()),
    "upstream-failed": (half("DescribeTable", table="nonsense"), _read),
    "too-large": (
        request(b"%x\r\n%s\r\n2\r\n" % (BODY - 1, bytes(BODY - 1)), length="Transfer-Encoding: chunked"),
        lambda wire: wire.send(b"  \r\n"),
    ),
    "malformed": (
        request(b"%x\r\n%s\r\n" % (BODY, bytes(BODY)), length="Transfer-Encoding: chunked"),
        lambda wire: wire.send(b"x\r\n"),
    ),
    "trailers": (
        request(b"%x\r\n%s\r\n" % (BODY, bytes(BODY)), length="Transfer-Encoding: chunked"),
        lambda wire: wire.send(b"0\r\nA: b\r\n\r\n"),
    ),
    "left": (half(), lambda wire: wire.socket.close()),
    "reset": (half(), _reset),
    "half-closed": (half(), lambda wire: wire.socket.shutdown(socket.SHUT_WR)),
    "revoked": (half(), _cut),
}


@pytest.mark.case("C08", "E01")
@pytest.mark.parametrize("end", ENDS)
def test_what_was_kept_is_given_back(gate: Gateway, end: str) -> None:
    raw, act = ENDS[end]
    comes_back(gate)
    with tunnel(gate, gate.home.token(run_id=f"7{len(end)}")) as wire:
        wire.send(raw)
        if "and" not in end:
            wait_for(lambda: kept(gate) > BODY / 2, 10, "the body")
        act(wire)
        comes_back(gate)


def test_what_a_slow_client_has_not_taken_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_LOOK_SECONDS", 0.0)
    unsent = 70

    async def exchange() -> None:
        nonlocal unsent
        all_of_it = memory.Memory(200, 100)
        share = memory.Share(all_of_it, lambda: unsent)
        share.keep(100)
        share.free()
        await asyncio.sleep(0)
        assert all_of_it.kept == 70
        share.keep(30)
        with pytest.raises(Refusal, match="memory-full"):
            share.keep(1)
        unsent = 0
        while all_of_it.kept > 30:
            await asyncio.sleep(0)
        assert all_of_it.kept == 30
        share.close()
        assert all_of_it.kept == 0
        with pytest.raises(Refusal, match="client-gone"):
            share.keep(1)

    asyncio.run(exchange())


@pytest.fixture(scope="module")
def hasty(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    more = '[limits]\nbody_time = "1s"\n[approvals]\nattempt = "1500ms"\n'
    home = make_home(tmp_path_factory.mktemp("hasty") / "gate", endpoint=far.url, rules=RULES, more=more)
    with running(home) as started:
        yield started


def put(size: int) -> bytes:
    """The head of an upload whose body streams."""
    length = f"Content-Length: {size}"
    head = request(b"", method="PUT", target="/key", host=BUCKET, service="s3", length=length)
    return head.replace(
        b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", b"X-Amz-Content-Sha256: %s\r\n" % (b"0" * 64)
    )


def drip(wire: Wire) -> None:
    """A byte now and then, until an answer comes."""
    wire.socket.settimeout(0.2)
    for _ in range(50):
        wire.send(b" ")
        try:
            wire.buffer += wire.socket.recv(65536)
        except TimeoutError:
            continue
        return


def late(wire: Wire) -> None:
    wire.socket.settimeout(15)
    said = wire.read()
    assert (said.status, said.reason) == (408, "body-timeout")


@pytest.mark.case("C08", "B09")
def test_a_body_that_is_read_whole_has_its_time(hasty: Gateway, far: Recorder) -> None:
    with tunnel(hasty, hasty.home.token()) as drips, tunnel(hasty, hasty.home.token()) as stops:
        # A body of this connection that took its time, and ended.
        drips.send(half())
        time.sleep(0.6)  # the bound is real time
        drips.send(b" ")
        assert drips.read().status == 200
        eyes = Eyes.open(hasty, far)
        for wire in (drips, stops):
            wire.send(half()[:-100])
        time.sleep(0.6)
        assert drips.socket.pending() == 0  # nothing was said when the time of the body before was over
        drip(drips)
        for wire in (drips, stops):
            late(wire)
            eyes.denied(wire, "body-timeout")


@pytest.mark.case("C08", "B09")
def test_a_body_that_streams_goes_on_or_is_broken_off(hasty: Gateway, far: Recorder) -> None:
    before = len(far.requests)
    token = hasty.home.token()
    with tunnel(hasty, token, BUCKET) as drips, tunnel(hasty, token, BUCKET) as stops:
        for wire in (drips, stops):
            wire.send(put(64 * MB) + bytes(MB))
        drip(drips)
        for wire in (drips, stops):
            late(wire)
            ended = wait_for(lambda: Eyes(hasty, far, 0, 0).new(wire.source), 10, "the outcome")  # noqa: B023
            assert [(each["result"], each["reason"]) for each in ended] == [("failed", "body-timeout")]
    assert len(far.requests) == before


def test_a_slow_upload_that_goes_on_arrives(hasty: Gateway, far: Recorder) -> None:
    with tunnel(hasty, hasty.home.token(), BUCKET) as wire:
        wire.send(put(4 * MB))
        for _ in range(4):
            time.sleep(0.6)
            wire.send(bytes(MB))
        assert wire.read().status == 200


def test_who_waits_for_a_person_is_not_late(hasty: Gateway, far: Recorder) -> None:
    eyes = Eyes.open(hasty, far)
    with tunnel(hasty, hasty.home.token()) as wire:
        wire.send(call("CreateTable", table="held"))
        assert wire.read().reason == "hold-pending"
        eyes.denied(wire, "hold-pending")
