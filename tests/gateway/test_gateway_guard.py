"""Whatever fails, nothing reaches the upstream and nothing unmasked reaches the client: each hook, each
dependency.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from support.gateway import Gateway, make_home, running
from support.upstream import Recorder, http_answer, recorder

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
FAULTY = Path(__file__).parent / "faulty_gateway.py"
BODY = b'{"ARN":"arn:aws:secretsmanager:us-east-1:1:secret:s-AbCdEf","Name":"s","SecretString":"canary"}'
BUNDLE = "callgate.hooks.bundle:Bundle."

BEFORE = [
    BUNDLE + "next_layer",
    BUNDLE + "http_connect",
    BUNDLE + "at_once",
    BUNDLE + "_begin",
    BUNDLE + "requestheaders",
    BUNDLE + "request",
    "callgate.hooks.connect:identify",
    "callgate.hooks.connect:establish",
    "callgate.hooks.judge:establish",
    "callgate.hooks.judge:read",
    "callgate.hooks.judge:judge",
    "callgate.hooks.judge:open_gate",
    "callgate.hooks.record:intent",
    "callgate.hooks.next_layer:_choose",
    "callgate.identity.authenticator:Authenticator.identify",
    "callgate.identity.authenticator:Authenticator.check",
    "callgate.aws:read",
    "callgate.hooks.judge:decide",
]
AFTER = [
    BUNDLE + "responseheaders",
    BUNDLE + "_choose",
    BUNDLE + "response",
    "callgate.hooks.respond:at_head",
    "callgate.hooks.respond:at_body",
    "callgate.hooks.respond:mask_response",
    "callgate.hooks.respond:stream_masker",
]
# Where nobody watches flows live, these are not asked.
LIVE = {BUNDLE + "requestheaders", BUNDLE + "responseheaders"}
# A cancellation is not an Exception, and hangs mitmproxy's flow where it is let through.
CANCELLED = {
    "callgate.hooks.connect:identify",
    "callgate.hooks.judge:judge",
    "callgate.hooks.respond:at_body",
}


def cases(targets: list[str]) -> list[tuple[str, str]]:
    return [(target, "RuntimeError") for target in targets] + [
        (target, "CancelledError") for target in targets if target in CANCELLED
    ]


def ask(gateway: Gateway) -> str:
    """What a client gets of the secret: its value, or the error."""
    client = gateway.client("secretsmanager", read_timeout=5, connect_timeout=5)
    try:
        return str(client.get_secret_value(SecretId="s")["SecretString"])
    except (ClientError, BotoCoreError) as error:
        return f"error: {type(error).__name__}: {error}"


def faulty(folder: Path, upstream: Recorder, target: str, error: str) -> Any:
    home = make_home(folder, endpoint=upstream.url, rules=RULES)
    environ = {"CALLGATE_TEST_FAULT": target, "CALLGATE_TEST_RAISE": error}
    return running(home, form="mitmweb" if target in LIVE else "mitmdump", script=FAULTY, environ=environ)


@pytest.fixture
def secret_upstream() -> Any:
    with recorder(http_answer(200, BODY, Content_Type="application/x-amz-json-1.1")) as state:
        yield state


@pytest.mark.parametrize(("target", "error"), cases(BEFORE))
def test_a_failure_before_the_gate_is_open_sends_nothing(
    target: str, error: str, folder: Path, secret_upstream: Recorder
) -> None:
    with faulty(folder, secret_upstream, target, error) as gateway:
        seen = ask(gateway)
    assert seen.startswith("error: ")
    assert "canary" not in seen
    assert secret_upstream.accepted == 0
    if not target.startswith(BUNDLE):  # there it is mitmproxy that logs what it caught
        assert "canary" not in gateway.log.read_text()


@pytest.mark.parametrize(("target", "error"), cases(AFTER))
def test_a_failure_on_the_way_back_lets_nothing_through(
    target: str, error: str, folder: Path, secret_upstream: Recorder
) -> None:
    with faulty(folder, secret_upstream, target, error) as gateway:
        seen = ask(gateway)
    assert seen.startswith("error: ")
    assert "canary" not in seen
    assert len(secret_upstream.requests) == 1
    if not target.startswith(BUNDLE):
        assert "canary" not in gateway.log.read_text()
