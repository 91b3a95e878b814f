"""Hostile credentials at the proxy port of a real gateway: 407 at once, nothing upstream, all on record."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_hostile_tokens import HOSTILE, KEY, basic, claims

from support.gateway import Gateway, make_home, running
from support.upstream import Recorder, recorder

UPSTREAM_HOST = "sts.us-east-1.amazonaws.com:443"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Recorder]:
    with recorder() as state:
        yield state


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Recorder) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("hostile") / "gate", endpoint=upstream.url, key=KEY)
    home.config.write_text(home.config.read_text().replace('["ES256"]', '["RS256"]'))
    with running(home) as started:
        yield started


def connect(gateway: Gateway, *headers: str, target: str = UPSTREAM_HOST) -> tuple[bytes, float]:
    """The answer to a CONNECT with these headers, and the seconds it took."""
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *headers, "", ""]
    began = time.monotonic()
    with socket.create_connection(gateway.address, timeout=10) as stream:
        stream.sendall("\r\n".join(lines).encode("utf-8", "surrogateescape"))
        return stream.recv(65536), time.monotonic() - began


def test_an_honest_token_opens_a_tunnel(gateway: Gateway, upstream: Recorder) -> None:
    for value in (basic("job:" + KEY.token(claims())), "Bearer " + KEY.token(claims(jti="2"))):
        answer, _ = connect(gateway, f"Proxy-Authorization: {value}")
        assert answer.startswith(b"HTTP/1.1 200")
    assert upstream.accepted == 0


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.case("A02")
def test_a_hostile_token_gets_407_and_reaches_nobody(name: str, gateway: Gateway, upstream: Recorder) -> None:
    token = HOSTILE[name]
    token = token() if callable(token) else token
    answer, seconds = connect(gateway, f"Proxy-Authorization: {basic('job:' + token)}")
    assert answer.startswith(b"HTTP/1.1 407")
    assert seconds < 1
    assert upstream.accepted == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [
            f"Proxy-Authorization: {basic('a:b')}",
            f"Proxy-Authorization: {basic('job:' + KEY.token(claims()))}",
        ],
        [f"Proxy-Authorization: {basic('a:b')}, {basic('job:' + KEY.token(claims()))}"],
        [f"Authorization: {basic('job:' + KEY.token(claims()))}"],
        [f"X-Callgate-Identity: {KEY.token(claims())}"],
        ["Proxy-Authorization: Basic ???"],
        ["Proxy-Authorization: Basic " + base64.b64encode(b"job:\xff\xfe").decode()],
        ["Proxy-Authorization: Negotiate AAAA"],
        ["Proxy-Authorization:"],
        ["Proxy-Authorization: Bearer cgs_" + "A" * 43],
    ],
)
@pytest.mark.case("A01")
def test_a_malformed_or_missing_credential_reaches_nobody(
    headers: list[str], gateway: Gateway, upstream: Recorder
) -> None:
    answer, seconds = connect(gateway, *headers)
    assert answer.split(b" ")[1] in (b"407", b"400")
    assert seconds < 1
    assert upstream.accepted == 0


def test_every_refusal_is_counted_in_the_ledger_and_none_holds_a_credential(
    tmp_path: Path, upstream: Recorder
) -> None:
    home = make_home(tmp_path / "gate", endpoint=upstream.url, key=KEY)
    names = ["no kid", "aud ''", "signed by another key", "alg 'none'", "two parts"]
    tokens = [HOSTILE[name] for name in names if isinstance(HOSTILE[name], str)]
    with running(home) as gateway:
        for token in [*tokens, *tokens]:
            connect(gateway, f"Proxy-Authorization: {basic(f'job:{token}')}")
        gateway.stop()
        refused = gateway.entries("connection.refused")
        assert sum(each.get("count") or 1 for each in refused) == 2 * len(tokens)
        assert {each["statusCode"] for each in refused} == {407}
        kept = (home.folder / "state" / "ledger.db").read_bytes() + gateway.log.read_bytes()
        for token in tokens:
            assert isinstance(token, str)
            assert token.split(".")[1].encode() not in kept
    assert upstream.accepted == 0
