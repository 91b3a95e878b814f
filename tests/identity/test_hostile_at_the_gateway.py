"""Hostile credentials at the proxy port of a real gateway: 407 at once, nothing upstream, all on record."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile_tokens import KEY, hostile
from test_hostile_tokens import HOSTILE, basic

from local_issuer import github_claims
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


@pytest.fixture(scope="module")
def tokens() -> dict[str, str | Callable[[], str]]:
    """Made when they are needed: what has expired while it waited would be refused for that alone."""
    return hostile(int(time.time()))


def claims(**members: Any) -> dict[str, Any]:
    return github_claims(time.time(), **members)


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
def test_a_hostile_token_gets_407_and_reaches_nobody(
    name: str, gateway: Gateway, upstream: Recorder, tokens: dict[str, str | Callable[[], str]]
) -> None:
    token = tokens[name]
    token = token() if callable(token) else token
    answer, seconds = connect(gateway, f"Proxy-Authorization: {basic('job:' + token)}")
    assert answer.startswith(b"HTTP/1.1 407")
    assert seconds < 1
    assert upstream.accepted == 0


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["Proxy-Authorization: {other}", "Proxy-Authorization: {good}"],
        ["Proxy-Authorization: {other}, {good}"],
        ["Authorization: {good}"],
        ["X-Callgate-Identity: {token}"],
        ["Proxy-Authorization: Basic ???"],
        ["Proxy-Authorization: {latin}"],
        ["Proxy-Authorization: Negotiate AAAA"],
        ["Proxy-Authorization:"],
        ["Proxy-Authorization: Bearer cgs_" + "A" * 43],
    ],
)
@pytest.mark.case("A01")
def test_a_malformed_or_missing_credential_reaches_nobody(
    headers: list[str], gateway: Gateway, upstream: Recorder
) -> None:
    token = KEY.token(claims())
    parts = {
        "token": token,
        "good": basic("job:" + token),
        "other": basic("a:b"),
        "latin": basic(b"job:\xff\xfe"),
    }
    headers = [header.format(**parts) for header in headers]
    answer, seconds = connect(gateway, *headers)
    assert answer.split(b" ")[1] in (b"407", b"400")
    assert seconds < 1
    assert upstream.accepted == 0


def test_every_refusal_is_counted_in_the_ledger_and_none_holds_a_credential(
    tmp_path: Path, upstream: Recorder, tokens: dict[str, str | Callable[[], str]]
) -> None:
    home = make_home(tmp_path / "gate", endpoint=upstream.url, key=KEY)
    names = ["no kid", "aud ''", "signed by another key", "alg 'none'", "two parts"]
    sent = [tokens[name] for name in names]
    with running(home) as gateway:
        for token in [*sent, *sent]:
            connect(gateway, f"Proxy-Authorization: {basic(f'job:{token}')}")
        gateway.stop()
        refused = gateway.entries("connection.refused")
        assert sum(each.get("count") or 1 for each in refused) == 2 * len(sent)
        assert {each["statusCode"] for each in refused} == {407}
        kept = (home.folder / "state" / "ledger.db").read_bytes() + gateway.log.read_bytes()
        for token in sent:
            assert isinstance(token, str)
            assert token.split(".")[1].encode() not in kept
    assert upstream.accepted == 0
