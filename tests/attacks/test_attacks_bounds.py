"""Every bound is a setting: what reaches it passes, what goes one past it is refused and recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.gateway import ALLOW_ALL, Gateway, make_home, running, wait_for
from support.upstream import Recorder, recorder, sized_item
from support.wire import HOST, Eyes, Wire, request

HEAD, FIELDS, BODY, MASKED, HELD, CONNECTIONS = 2048, 20, 4096, 2048, 1000, 6
LIMITS = f"""
[limits]
head_size = {HEAD}
head_fields = {FIELDS}
request_body = {BODY}
depth = 6
parameters = 12
masked_response = {MASKED}
hold_body = {HELD}
connections = {CONNECTIONS}
[approvals]
attempt = "100ms"
pending_per_principal = 2
"""
RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "mask"
effect = "mask"
action = ["dynamodb:GetItem"]
response = ['$.Item']
[[rule]]
id = "ask"
effect = "hold"
reason = "Ask."
action = ["dynamodb:DeleteTable", "s3:PutObject"]
hold = { by = ["oncall"], count = 1, within = "15m" }
"""
)


@pytest.fixture(scope="module")
def far() -> Iterator[Recorder]:
    with recorder(sized_item) as state:
        yield state


@pytest.fixture(scope="module")
def gate(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("bounds") / "gate", endpoint=far.url, rules=RULES, more=LIMITS)
    with running(home) as started:
        yield started


def ask(gate: Gateway, raw: bytes, host: str = HOST, token: str | None = None) -> tuple[Wire, int]:
    """The connection on which `raw` was sent, and what it got."""
    with Wire(gate) as wire:
        assert wire.connect(f"{host}:443", token=token).status == 200
        wire.tls(host)
        wire.send(raw)
        return wire, wire.read().status


def head_of(size: int) -> bytes:
    raw = request(more="X-A: \r\n")
    return raw.replace(b"X-A: ", b"X-A: " + b"a" * (size + 2 - len(raw)))


def fields_of(count: int) -> bytes:
    spare = count - request().count(b"\r\n") + 2
    return request(more="".join(f"X-{number}: a\r\n" for number in range(spare)))


def nested(levels: int) -> bytes:
    """PutItem with a list in a list …: four levels, and one for each of `levels`."""
    value: Any = {"S": "x"}
    for level in range(levels):
        value = {"M": {"a": value}} if level % 2 else {"L": [value]}
    body = json.dumps({"TableName": "t", "Item": {"k": value}}).encode()
    return request(body, operation="DynamoDB_20120810.PutItem")


def keys(count: int) -> bytes:
    """PutItem with `count` values in all."""
    extra = {f"k{number}": {"S": "x"} for number in range((count - 2) // 2)}
    body = json.dumps({"TableName": "t", "Item": extra}).encode()
    return request(body, operation="DynamoDB_20120810.PutItem")


AT_AND_PAST = {
    "head-size": (head_of(HEAD), head_of(HEAD + 1), "head-too-large"),
    "head-fields": (fields_of(FIELDS), fields_of(FIELDS + 1), "head-too-large"),
    "body": (request(b"{}".ljust(BODY)), request(b"{}".ljust(BODY + 1)), "request-too-large"),
    "body-chunked": (
        request(b"%x\r\n%s\r\n0\r\n\r\n" % (BODY, b"{}".ljust(BODY)), length="Transfer-Encoding: chunked"),
        request(
            b"%x\r\n%s\r\n0\r\n\r\n" % (BODY + 1, b"{}".ljust(BODY + 1)), length="Transfer-Encoding: chunked"
        ),
        "request-too-large",
    ),
    "depth": (nested(1), nested(2), "too-deep"),
    "parameters": (keys(12), keys(14), "too-many-parameters"),
}


@pytest.mark.case("C08")
@pytest.mark.parametrize("name", AT_AND_PAST)
def test_what_reaches_a_bound_passes_and_one_more_is_refused(gate: Gateway, far: Recorder, name: str) -> None:
    at, past, reason = AT_AND_PAST[name]
    before = len(far.requests)
    assert ask(gate, at)[1] == 200
    assert len(far.requests) == before + 1
    eyes = Eyes.open(gate, far)
    wire, status = ask(gate, past)
    assert 400 <= status < 500
    eyes.denied(wire, reason)


@pytest.mark.case("F01")
@pytest.mark.parametrize(("size", "status"), [(MASKED, 200), (MASKED + 1, 502)])
def test_a_masked_response_is_as_long_as_it_may_or_does_not_arrive(
    gate: Gateway, size: int, status: int
) -> None:
    body = json.dumps({"TableName": f"size-{size}", "Key": {"k": {"S": "v"}}}).encode()
    ends = len(gate.ended(0))
    assert ask(gate, request(body, operation="DynamoDB_20120810.GetItem"))[1] == status
    last = gate.ended(ends + 1)[-1]
    assert (last["result"], last.get("reason")) == (
        ("completed", None) if status == 200 else ("blocked", "mask-too-large")
    )


@pytest.mark.parametrize(("size", "reason"), [(HELD, "hold-pending"), (HELD + 1, "hold-unhashed")])
def test_a_body_waits_for_a_person_if_it_is_small_enough(
    gate: Gateway, far: Recorder, size: int, reason: str
) -> None:
    host = "bucket.s3.amazonaws.com"
    raw = request(bytes(size), method="PUT", target="/key", host=host, service="s3")
    raw = raw.replace(
        b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
    )
    eyes = Eyes.open(gate, far)
    wire, _ = ask(gate, raw, host, gate.home.token(run_id=f"9{size}"))
    eyes.denied(wire, reason)


def test_a_principal_has_as_many_pending_holds_as_it_may(gate: Gateway, far: Recorder) -> None:
    token = gate.home.token(repository="acme/many", sub="repo:acme/many:ref:refs/heads/main")
    reasons = []
    for number in range(3):
        body = b'{"TableName":"table-%d"}' % number
        eyes = Eyes.open(gate, far)
        wire, _ = ask(gate, request(body, operation="DynamoDB_20120810.DeleteTable"), token=token)
        reasons.append(eyes.denied(wire)["reason"])
    assert reasons == ["hold-pending", "hold-pending", "hold-too-many"]


def admitted(gate: Gateway) -> Wire | None:
    """A connection with a tunnel, as soon as there is room for one."""
    wire = Wire(gate)
    if wire.connect().status == 200:
        return wire
    wire.socket.close()
    return None


def test_the_gateway_has_as_many_connections_as_it_may(gate: Gateway, far: Recorder) -> None:
    # Connections of the tests before may still be on their way out.
    wires: list[Wire] = [wait_for(lambda: admitted(gate)) for _ in range(CONNECTIONS)]
    eyes = Eyes.open(gate, far)
    try:
        with Wire(gate) as one_more:
            assert one_more.ended()
            eyes.denied(one_more, "too-many-connections")
    finally:
        for each in wires:
            each.socket.close()
    wait_for(lambda: admitted(gate)).socket.close()
