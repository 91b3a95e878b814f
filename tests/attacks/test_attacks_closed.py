"""Group C: what fails, hangs, breaks or is changed under a running gateway refuses, and says so."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from local_issuer import SigningKey, local_issuer
from support.gateway import ALLOW_ALL, ROOT, Gateway, Home, make_home, running, wait_for
from support.mitmweb import Web, in_mitmweb
from support.upstream import Recorder, http_answer, recorder
from support.wire import Eyes, Wire, request

RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "no-delete"
effect = "deny"
action = ["dynamodb:DeleteTable"]
"""
)


@pytest.fixture
def far() -> Iterator[Recorder]:
    with recorder(http_answer(body=b'{"TableNames": []}')) as state:
        yield state


def deletes(gateway: Gateway) -> str:
    """What a client that may not delete gets."""
    try:
        gateway.client("dynamodb", read_timeout=8).delete_table(TableName="t")
    except ClientError as error:
        return str(error)
    except BotoCoreError as error:
        return type(error).__name__
    return "deleted"


def health(gateway: Gateway) -> dict[str, Any]:
    """What `/callgate/health` says."""
    try:
        with urllib.request.urlopen(f"http://{gateway.proxy}/callgate/health") as answer:
            said: dict[str, Any] = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            said = json.loads(error.read())
    return said


HARMS: dict[str, Callable[[Home], Any]] = {
    "invalid": lambda home: home.rules('[[rule]]\nid = "a"\neffect = "allow"\nactoin = ["*:*"]\n'),
    "truncated": lambda home: home.rules(RULES[: len(RULES) // 2 + 20]),
    "deleted": lambda home: (home.folder / "rules" / "test.toml").unlink(),
    "folder-deleted": lambda home: shutil.rmtree(home.folder / "rules"),
    "emptied": lambda home: home.rules(""),
    "no-text": lambda home: (home.folder / "rules" / "test.toml").write_bytes(b"\xff\xfe\x00"),
    "config-deleted": lambda home: home.config.unlink(),
    "config-broken": lambda home: home.config.write_text("state = "),
}


@pytest.mark.case("C04")
def test_harm_to_rules_or_configuration_opens_nothing(folder: Path, far: Recorder) -> None:
    with running(make_home(folder, endpoint=far.url, rules=RULES)) as gateway:

        def reloads(act: Callable[[Home], Any]) -> None:
            before = len(gateway.entries("rules.rejected") + gateway.entries("rules.loaded"))
            act(gateway.home)
            gateway.process.send_signal(signal.SIGHUP)
            wait_for(
                lambda: len(gateway.entries("rules.rejected") + gateway.entries("rules.loaded")) > before,
                10,
                "the reload",
            )

        assert "no-delete" in deletes(gateway)
        for name, harm in HARMS.items():
            if name.startswith("config"):
                harm(gateway.home)
            else:
                reloads(harm)
            assert "AccessDenied" in deletes(gateway), name
            if not name.startswith("config"):
                (folder / "rules").mkdir(exist_ok=True)
                home_again = f"{RULES}# not {name}\n"
                reloads(lambda home, text=home_again: home.rules(text))
                assert "no-delete" in deletes(gateway)
        assert gateway.process.poll() is None
    assert far.accepted == 0


@pytest.mark.case("C04")
def test_a_hook_written_into_a_loaded_script_closes_the_gateway(
    folder: Path, tmp_path: Path, far: Recorder
) -> None:
    script = tmp_path / "gateway.py"
    good = (ROOT / "addons" / "gateway.py").read_text()
    script.write_text(good)
    home = make_home(folder, endpoint=far.url, rules=RULES)
    with running(home, form="mitmdump", script=script) as gateway:
        gateway.client("dynamodb").list_tables()
        script.write_text(good + "\n\ndef request(flow):\n    flow.response = None\n")
        wait_for(lambda: not health(gateway)["ok"], 10, "the alarm")
        with Wire(gateway) as wire:
            assert wire.connect().reason == "foreign-addon"
        assert "request" in health(gateway)["reason"]
        script.write_text(good)
        wait_for(lambda: health(gateway)["ok"], 10, "the all-clear")
        gateway.client("dynamodb").list_tables()
    assert len(far.requests) == 2


@pytest.fixture
def web(folder: Path, far: Recorder) -> Iterator[tuple[Gateway, Web]]:
    with in_mitmweb(make_home(folder, endpoint=far.url, rules=RULES)) as both:
        yield both


def test_unsafe_options_are_refused_live(web: tuple[Gateway, Web], tmp_path: Path, far: Recorder) -> None:
    gateway, person = web
    script = tmp_path / "other.py"
    script.write_text("def response(flow):\n    pass\n")
    changes: list[dict[str, Any]] = [
        {"ignore_hosts": [".*"]},
        {"tcp_hosts": [".*"]},
        {"ssl_insecure": True},
        {"stream_large_bodies": "1"},
        {"save_stream_file": str(tmp_path / "x")},
        {"map_remote": ["|a|b"]},
        {"modify_headers": ["/~q/a/b"]},
        {"rawtcp": True},
        {"http2": True},
        {"websocket": True},
        {"connection_strategy": "eager"},
        {"flow_detail": 4},
        {"scripts": [str(script)]},
        {"mode": ["regular@127.0.0.1:0"]},
        {"mode": ["reverse:https://a"]},
        {"ssl_verify_upstream_trusted_ca": "/dev/null"},
        {"confdir": str(tmp_path)},
        {"proxyauth": "a:b"},
        {"validate_inbound_headers": False},
        {"tcp_timeout": 1},
        {"onboarding": True},
    ]
    took = [change for change in changes if person.status("PUT", "/options", change) == 200]
    assert took == []
    assert "no-delete" in deletes(gateway)
    gateway.client("dynamodb").list_tables()
    assert len(far.requests) == 1


def test_a_replayed_flow_goes_nowhere(web: tuple[Gateway, Web], far: Recorder) -> None:
    gateway, person = web
    gateway.client("dynamodb").list_tables()
    for flow in person.ask("GET", "/flows"):
        person.status("POST", f"/flows/{flow['id']}/replay")
    time.sleep(1)  # nothing is to happen, and nothing says so
    assert len(far.requests) == 1
    assert gateway.process.poll() is None


@pytest.mark.case("C05")
@pytest.mark.parametrize("harm", ["locked", "deleted", "moved"])
def test_without_a_ledger_calls_are_refused_and_health_says_why(
    folder: Path, far: Recorder, harm: str
) -> None:
    with running(make_home(folder, endpoint=far.url, rules=RULES)) as gateway:
        gateway.client("dynamodb").list_tables()
        gateway.ended(1)
        database = folder / "state" / "ledger.db"
        lock = sqlite3.connect(database, isolation_level=None)
        match harm:
            case "locked":
                lock.execute("begin immediate")
            case "deleted":
                database.unlink()
            case "moved":
                database.rename(database.with_suffix(".away"))
        client = gateway.client("dynamodb", read_timeout=30)
        with pytest.raises((ClientError, BotoCoreError)):
            client.list_tables()
        wait_for(lambda: not health(gateway)["ok"], 10, "the alarm")
        assert "ledger" in str(health(gateway)["reason"]).lower()
        lock.close()
    assert len(far.requests) == 1


@pytest.mark.case("A21", "C01")
def test_an_issuer_that_hangs_or_fails_lets_nobody_in_until_it_answers(
    folder: Path, tmp_path: Path, far: Recorder
) -> None:
    key = SigningKey("test-key", "ES256")
    let_go = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        let_go.wait(30)

    def fail(handler: BaseHTTPRequestHandler) -> None:
        handler.send_error(500)

    (tmp_path / "issuer").mkdir()
    with local_issuer(tmp_path / "issuer", key) as issuer:
        more = '[identity]\nkeys_cooldown = "100ms"\n[limits]\nstage = "1s"\n'
        home = make_home(folder, endpoint=far.url, rules=RULES, key=key)
        remote = f'jwks_url = "{issuer.url}/jwks"\nca = "{tmp_path}/issuer/ca.pem"'
        text = home.config.read_text().replace('keys_file = "keys.json"', remote)
        home.config.write_text(text.replace("[[identity.issuer]]", f"{more}[[identity.issuer]]"))
        issuer.answers["/jwks"] = fail
        with running(home) as gateway:
            for answer in (fail, hang):
                issuer.answers["/jwks"] = answer
                eyes = Eyes.open(gateway, far)
                with Wire(gateway) as wire:
                    assert wire.connect().status in (407, 503)
                    eyes.denied(wire, "issuer-unavailable", "gateway-timeout")
            let_go.set()
            del issuer.answers["/jwks"]

            def passes() -> bool:
                with Wire(gateway) as wire:
                    return wire.connect().status == 200

            wait_for(passes, 10, "the keys")
            gateway.client("dynamodb").list_tables()
    assert len(far.requests) == 1


@pytest.mark.case("C01")
def test_an_upstream_that_was_away_is_asked_again(folder: Path) -> None:
    with recorder() as free:
        port = free.port
    with running(make_home(folder, endpoint=free.url, rules=RULES)) as gateway, Wire(gateway) as wire:
        assert wire.connect().status == 200
        wire.tls()
        wire.send(request())
        assert wire.read().status == 502
        with recorder(port=port) as back, Wire(gateway) as again:
            assert again.connect().status == 200
            again.tls()
            again.send(request())
            assert again.read().status == 200
            assert len(back.requests) == 1
        ends = gateway.ended(2)
    assert [(each["result"], each.get("reason")) for each in ends] == [
        ("failed", "upstream-unreachable"),
        ("completed", None),
    ]


@pytest.mark.case("G13")
def test_each_way_to_end_has_exactly_one_terminal_entry(folder: Path, far: Recorder) -> None:
    from base64 import b64encode

    more = "[limits]\nrequest_body = 2048\n"
    with running(make_home(folder, endpoint=far.url, rules=RULES, more=more)) as gateway:
        denied = request(b'{"TableName":"t"}', operation="DynamoDB_20120810.DeleteTable")
        wanted = {
            200: request(),
            400: request(more="Content-Length: 2\r\n"),
            403: denied,
            413: request(b"x" * 4096),
        }
        for status, raw in wanted.items():
            with Wire(gateway) as wire:
                assert wire.connect().status == 200
                wire.tls()
                wire.send(raw)
                got = wire.read().status
                assert got == status or (status == 403 and got == 400)
        with Wire(gateway) as wire:
            wire.send(b"CONNECT x.example.com:443 HTTP/1.1\r\nHost: x.example.com:443\r\n\r\n")
            assert wire.read().status == 407
        with Wire(gateway) as wire:
            credential = b64encode(b"job:x.y.z").decode()
            wire.send(f"CONNECT a.b:443 HTTP/1.1\r\nProxy-Authorization: Basic {credential}\r\n\r\n".encode())
            assert wire.read().status == 407
        ends = gateway.ended(4)
        refused = gateway.entries("connection.refused")
    assert len({each["callId"] for each in ends}) == len(ends) == 4
    assert len(refused) == 2
