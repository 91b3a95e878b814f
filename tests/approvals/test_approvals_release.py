"""At its release a held call is judged anew; and who may answer it over the admin listener."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from held_calls import DONE, People

from callgate.approvals.door import new_token
from local_issuer import SigningKey, _certificate, jwks, times
from support.gateway import BIN, Gateway, make_home, running, wait_for
from support.upstream import Recorder, recorder

RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]

[[rule]]
id = "delete-needs-a-person"
effect = "hold"
action = ["s3:DeleteObject"]
hold = { by = ["oncall"], count = COUNT, within = "60s" }
"""
FREEZE = """
[[rule]]
id = "freeze"
effect = "deny"
action = ["s3:DeleteObject"]
"""
SSO = SigningKey("sso-key", "ES256")
TOKENS = {name: new_token() for name in ("alice", "bob")}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def upstream_of_module() -> Iterator[Recorder]:
    with recorder(DONE) as state:
        yield state


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, upstream_of_module: Recorder, port: int
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("release")
    certificate = _certificate(folder)
    (folder / "sso.json").write_bytes(jwks(SSO))
    settings = f"""
[admin]
listen = "127.0.0.1:{port}"
certificate = "{certificate}"
key = "{certificate}"
[approvals]
attempt = "20s"
local_groups = []
oidc_claim = "email"
[approvals.groups]
oncall = ["alice", "bob", "carol"]
[approvals.approvers.alice]
token_hash = "{TOKENS["alice"][1]}"
aliases = ["octocat"]
[approvals.approvers.bob]
token_hash = "{TOKENS["bob"][1]}"
[approvals.approvers.carol]
oidc_subject = "carol@acme.example"
[approvals.approvers.dave]
oidc_subject = "dave@acme.example"
[approvals.oidc]
name = "sso"
url = "https://sso.example"
audience = "callgate-approvers"
algorithms = ["ES256"]
keys_file = "{folder / "sso.json"}"
claims = {{ email = "email" }}
"""
    rules = RULES.replace("COUNT", "1")
    home = make_home(folder / "gate", endpoint=upstream_of_module.url, rules=rules, more=settings)
    with running(home) as running_gateway:
        yield running_gateway


@pytest.fixture
def ask(gateway: Gateway, port: int) -> Callable[..., tuple[int, Any]]:
    context = ssl.create_default_context(cafile=str(gateway.home.folder.parent / "ca.pem"))

    def asked(path: str, token: str | None, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://localhost:{port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return asked


@pytest.fixture
def people(gateway: Gateway) -> People:
    return People(gateway.home)


def carol(email: str = "carol@acme.example", **more: Any) -> str:
    claims = {"iss": "https://sso.example", "aud": "callgate-approvers", "sub": "u", "email": email}
    return SSO.token({**claims, **times(300), **more})


def held(gateway: Gateway, people: People, key: str, **claims: Any) -> tuple[Future[Any], dict[str, Any]]:
    client = gateway.client("s3", token=gateway.home.token(**claims))
    call = ThreadPoolExecutor(1).submit(client.delete_object, Bucket="bucket", Key=key)
    return call, people.pending(key.partition("\u202e")[0])


def sent(upstream: Recorder, key: str) -> int:
    return sum(f"/{key} ".encode() in each for each in upstream.requests)


# Release


@pytest.mark.case("A14")
def test_a_token_that_ended_while_its_call_was_held_lets_nothing_pass(
    gateway: Gateway, people: People, ask: Callable[..., Any], upstream_of_module: Recorder
) -> None:
    ends = int(time.time()) + 4
    call, hold = held(gateway, people, "expired-token", exp=ends)
    time.sleep(max(0.0, ends + 0.2 - time.time()))
    assert ask(f"/v1/approvals/{hold['id']}/approve", TOKENS["bob"][0], {})[0] == 200
    with pytest.raises(ClientError, match="token-expired"):
        call.result(30)
    assert sent(upstream_of_module, "expired-token") == 0
    assert people.ask("GET", f"/v1/approvals/{hold['id']}")[1]["state"] == "approved"
    assert [e["kind"] for e in gateway.entries() if e.get("holdId") == hold["id"]].count("hold.used") == 0


def test_rules_that_deny_by_now_let_nothing_pass(
    gateway: Gateway, people: People, ask: Callable[..., Any], upstream_of_module: Recorder
) -> None:
    call, hold = held(gateway, people, "frozen")
    before = len(gateway.entries("rules.loaded"))
    freeze = gateway.home.folder / "rules" / "freeze.toml"
    freeze.write_text(FREEZE)
    os.kill(gateway.process.pid, signal.SIGHUP)
    wait_for(lambda: len(gateway.entries("rules.loaded")) > before, 10, "the new rules")
    try:
        assert ask(f"/v1/approvals/{hold['id']}/approve", TOKENS["bob"][0], {})[0] == 200
        with pytest.raises(ClientError, match="freeze"):
            call.result(30)
        assert sent(upstream_of_module, "frozen") == 0
    finally:
        freeze.unlink()
        os.kill(gateway.process.pid, signal.SIGHUP)
        wait_for(lambda: len(gateway.entries("rules.loaded")) > before + 1, 10, "the old rules")


def test_rules_that_ask_for_more_by_now_ask_again(
    gateway: Gateway, people: People, ask: Callable[..., Any], upstream_of_module: Recorder
) -> None:
    call, hold = held(gateway, people, "stricter")
    before = len(gateway.entries("rules.loaded"))
    gateway.home.rules(RULES.replace("COUNT", "2"))
    os.kill(gateway.process.pid, signal.SIGHUP)
    wait_for(lambda: len(gateway.entries("rules.loaded")) > before, 10, "the new rules")
    try:
        assert ask(f"/v1/approvals/{hold['id']}/approve", TOKENS["bob"][0], {})[0] == 200
        with pytest.raises(ClientError, match="rules-changed"):
            call.result(30)
        assert sent(upstream_of_module, "stricter") == 0
    finally:
        gateway.home.rules(RULES.replace("COUNT", "1"))
        os.kill(gateway.process.pid, signal.SIGHUP)
        wait_for(lambda: len(gateway.entries("rules.loaded")) > before + 1, 10, "the old rules")


# Who may answer


def test_only_another_approver_with_a_credential_of_their_own_may_approve(
    gateway: Gateway, people: People, ask: Callable[..., Any], upstream_of_module: Recorder
) -> None:
    call, hold = held(gateway, people, "who", actor="octocat")
    path = f"/v1/approvals/{hold['id']}/approve"
    assert ask(path, None, {})[0] == 401
    assert ask(path, gateway.home.token(), {})[0] == 401
    assert ask(path, TOKENS["bob"][1], {})[0] == 401
    assert ask(path, carol(aud="callgate"), {})[0] == 401
    assert ask(path, carol(exp=int(time.time()) - 5), {})[0] == 401
    assert ask(path, carol("dave@acme.example"), {}) == (
        403,
        {"error": "not-an-approver", "message": "dave is not in oncall."},
    )
    assert ask(path, TOKENS["alice"][0], {})[1]["error"] == "own-request"
    assert people.answer(hold) == 403
    assert ask(f"/v1/approvals/{hold['id']}", carol())[1]["state"] == "pending"
    assert sent(upstream_of_module, "who") == 0
    status, answer = ask(path, carol(), {"reason": "checked"})
    assert (status, answer["by"], answer["via"]) == (200, "carol", "oidc")
    assert call.result(30)["ResponseMetadata"]["HTTPStatusCode"] == 204
    (approved,) = [e for e in gateway.entries("hold.approved") if e["holdId"] == hold["id"]]
    assert approved["approvals"][0] | {"time": None} == {
        "person": "carol", "groups": ["oncall"], "via": "oidc", "reason": "checked", "time": None,
    }  # fmt: skip
    assert TOKENS["bob"][0] not in Path(gateway.log).read_text()


def test_a_runner_may_not_see_what_is_held_either(gateway: Gateway, ask: Callable[..., Any]) -> None:
    for path in ("/v1/approvals", "/v1/grants", "/v1/events", "/openapi.json", "/v1/me"):
        assert ask(path, gateway.home.token())[0] == 401
        assert ask(path, None)[0] == 401


def test_watch_shows_what_waits_on_a_terminal_and_ends_with_an_interrupt(
    gateway: Gateway, people: People, ask: Callable[..., Any]
) -> None:
    call, hold = held(gateway, people, "watched-\u202ered")
    reader, writer = pty.openpty()
    command = [str(BIN / "callgate"), "approvals", "watch", "--config", str(gateway.home.config)]
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
    with subprocess.Popen(command, stdin=writer, stdout=writer, stderr=writer, env=environ) as watch:
        os.close(writer)
        seen = b""
        while hold["id"].encode() not in seen or b"octocat" not in seen:
            seen += os.read(reader, 65536)
        assert "\u202e".encode() not in seen
        assert b"oncall" in seen
        watch.send_signal(signal.SIGINT)
        try:
            while os.read(reader, 65536):
                pass
        except OSError:
            assert watch.wait(10) == 0
    os.close(reader)
    assert ask(f"/v1/approvals/{hold['id']}/deny", carol(), {"reason": "seen"})[0] == 200
    with pytest.raises(ClientError, match="hold-denied"):
        call.result(30)
