"""Whatever fails, nothing reaches the upstream and nothing unmasked reaches the client: each hook, each
dependency, raising, hanging and cancelled, in both directions. Each failure is recorded, and passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from support.faults import Faults, faulty
from support.gateway import make_home, wait_for
from support.upstream import Recorder, http_answer, recorder
from support.wire import Answer, Wire, request

HOST = "secretsmanager.us-east-1.amazonaws.com"
RULES = """
[[rule]]
id = "allow"
effect = "allow"
action = ["*:*"]
[[rule]]
id = "mask"
effect = "mask"
action = ["secretsmanager:GetSecretValue"]
response = ['$.SecretString']
"""
BODY = b'{"ARN":"arn:aws:secretsmanager:us-east-1:1:secret:s-AbCdEf","Name":"s","SecretString":"canary"}'
# What is so large is not masked on the event loop.
LARGE = 300 * 1024
BUNDLE = "callgate.hooks.bundle:Bundle."

BEFORE = [
    BUNDLE + "next_layer",
    BUNDLE + "http_connect",
    BUNDLE + "requestheaders",
    BUNDLE + "request",
    BUNDLE + "server_connect",
    "callgate.hooks.connect:identify",
    "callgate.hooks.connect:establish",
    "callgate.hooks.judge:establish",
    "callgate.hooks.judge:at_body",
    "callgate.hooks.judge:admit",
    "callgate.hooks.judge:read",
    "callgate.hooks.judge:judge",
    "callgate.hooks.judge:open_gate",
    "callgate.hooks.judge:resolve_once",
    "callgate.hooks.record:intent",
    "callgate.hooks.next_layer:_choose",
    "callgate.identity.authenticator:Authenticator.identify",
    "callgate.identity.authenticator:Authenticator.check",
    "callgate.aws:read",
    "callgate.hooks.judge:decide",
    "callgate.serve.rules_file:RulesInForce.__call__",
    "callgate.ledger.ledger:Ledger.append",
]
AFTER = [
    BUNDLE + "responseheaders",
    BUNDLE + "response",
    "callgate.hooks.respond:at_head",
    "callgate.hooks.respond:prepare",
    "callgate.hooks.respond:at_body",
    "callgate.hooks.respond:mask_response",
    "callgate.hooks.respond:stream_masker",
    "callgate.ledger.ledger:Ledger.append_soon",
]
# What stands in the place of hooks where nobody else watches them, and whether AWS has been asked when it
# fails. Where all of that fails, the hooks themselves do the work.
ALONE = {
    BUNDLE + "_begin": 0,
    BUNDLE + "_choose": 1,
    BUNDLE + "_release": 1,
    "callgate.hooks.judge:at_body": 0,
    "callgate.hooks.respond:at_head": 1,
    "callgate.hooks.respond:at_body": 1,
}
FALLBACK = [BUNDLE + "_at_once", "callgate.hooks.respond:waits"]
# What awaits, and so can hang.
ASYNC = [
    "callgate.hooks.connect:identify",
    "callgate.hooks.connect:establish",
    "callgate.hooks.judge:at_body",
    "callgate.hooks.judge:admit",
    "callgate.hooks.judge:resolve_once",
    "callgate.identity.authenticator:Authenticator.identify",
    "callgate.ledger.ledger:Ledger.append",
    "callgate.hooks.respond:prepare",
    *(BUNDLE + name for name in ("http_connect", "requestheaders", "request", "response")),
]
# Hooks in which nothing is waited for.
SYNC = [BUNDLE + name for name in ("next_layer", "server_connect", "responseheaders")]
# mitmproxy catches what these raise and goes on; a cancellation of theirs it would wait for.
HOOKS = tuple(target for target in [*BEFORE, *AFTER, *ALONE] if target.startswith(BUNDLE))


def cases(targets: list[str]) -> list[tuple[str, str]]:
    return [
        *((target, "RuntimeError") for target in targets),
        *((target, "CancelledError") for target in targets if target not in SYNC),
        *((target, kind) for target in targets if target in ASYNC for kind in ("hang", "cancel")),
    ]


@pytest.fixture(scope="module")
def far() -> Iterator[Recorder]:
    def answer(raw: bytes) -> bytes:
        size = LARGE if b"large" in raw else 0
        return http_answer(200, BODY + b" " * size, Content_Type="application/x-amz-json-1.1")

    with recorder(answer) as state:
        yield state


def started(far: Recorder, folder: Path, *, watched: str) -> AbstractContextManager[Faults]:
    more = '[limits]\nstage = "500ms"\nhandshake = "1s"\n[approvals]\nattempt = "500ms"\n'
    home = make_home(folder / "gate", endpoint=far.url, rules=RULES, more=more)
    return faulty(home, [*BEFORE, *AFTER, *ALONE, *FALLBACK], watched=watched)


@pytest.fixture(scope="module")
def faults(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    with started(far, tmp_path_factory.mktemp("watched"), watched="live") as running:
        yield running


@pytest.fixture(scope="module")
def alone(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """A gateway that nobody looks into handles most hooks in its layers."""
    with started(far, tmp_path_factory.mktemp("alone"), watched="never") as running:
        yield running


def ask(faults: Faults, secret: str = "small") -> tuple[Wire, Answer]:
    """What a client gets of the secret."""
    body = b'{"SecretId":"%s"}' % secret.encode()
    raw = request(body, host=HOST, service="secretsmanager", operation="secretsmanager.GetSecretValue")
    with Wire(faults.gateway) as wire:
        answer = wire.connect(f"{HOST}:443")
        if answer.status == 200:
            try:
                wire.tls(HOST)
            except OSError:
                return wire, Answer(0, {}, b"")
            wire.send(raw.replace(b"x-amz-json-1.0", b"x-amz-json-1.1"))
            answer = wire.read()
        return wire, answer


def recovers(faults: Faults, far: Recorder) -> None:
    """The next call passes, is masked and recorded."""
    before = len(far.requests)
    wire, answer = ask(faults)
    assert answer.status == 200
    assert b"canary" not in answer.body
    assert len(far.requests) == before + 1
    assert wait_for(lambda: ends(faults, wire), 10, "the entry of the next call")[0]["result"] == "completed"


def ends(faults: Faults, wire: Wire) -> list[dict[str, Any]]:
    """The terminal entries of what `wire` did."""
    entries = faults.gateway.entries()
    calls = {each.get("callId") for each in entries if each.get("sourceIPAddress") == wire.source}
    return [
        each
        for each in entries
        if (each["kind"] in ("call.refused", "call.outcome") and each["callId"] in calls)
        or (each["kind"] == "connection.refused" and each["sourceIPAddress"] == wire.source)
    ]


def judge(faults: Faults, far: Recorder, target: str, kind: str, *, sent: int) -> None:
    before, logged = len(far.requests), len(faults.gateway.log.read_text())
    with faults.of(target, kind):
        wire, answer = ask(faults, "large" if target.endswith("prepare") else "small")
    assert answer.status in (0, 403, 502, 503), answer
    assert b"canary" not in answer.body
    assert len(far.requests) == before + sent
    assert "canary" not in faults.gateway.log.read_text()[logged:]
    recovers(faults, far)
    # A ledger that fails has no entry of it, but an alarm.
    if target.endswith("Ledger.append"):
        assert re.search(r"ALARM|gateway-", faults.gateway.log.read_text()[logged:])
    else:
        assert len(wait_for(lambda: ends(faults, wire), 10, "the entry of the failure")) == 1


@pytest.mark.parametrize(("target", "kind"), cases(BEFORE))
@pytest.mark.case("C01", "C02")
def test_a_failure_before_the_gate_is_open_sends_nothing(
    faults: Faults, far: Recorder, target: str, kind: str
) -> None:
    judge(faults, far, target, kind, sent=0)


@pytest.mark.parametrize(("target", "kind"), cases(AFTER))
@pytest.mark.case("C01", "C02")
def test_a_failure_on_the_way_back_lets_nothing_through(
    faults: Faults, far: Recorder, target: str, kind: str
) -> None:
    judge(faults, far, target, kind, sent=1)


@pytest.mark.case("C01")
@pytest.mark.parametrize(
    ("target", "kind"),
    [
        *((target, "RuntimeError") for target in ALONE),
        *((target, "CancelledError") for target in ALONE if target not in HOOKS),
    ],
)
def test_where_nobody_watches_a_failure_lets_nothing_through(
    alone: Faults, far: Recorder, target: str, kind: str
) -> None:
    judge(alone, far, target, kind, sent=ALONE[target])


@pytest.mark.parametrize("target", FALLBACK)
def test_where_nobody_watches_hooks_do_what_layers_cannot(alone: Faults, far: Recorder, target: str) -> None:
    with alone.of(target, "RuntimeError"):
        recovers(alone, far)


@pytest.mark.case("C01")
@pytest.mark.parametrize("kind", [86_400.0, -86_400.0, "raise"])
def test_a_clock_that_goes_wrong_refuses(faults: Faults, far: Recorder, kind: str | float) -> None:
    before = len(far.requests)
    with faults.of("clock", kind):
        _, answer = ask(faults)
    assert answer.status in (403, 407, 503)
    assert len(far.requests) == before
    recovers(faults, far)
