"""An issuer's keys: fetched over HTTPS, seldom, bounded, without making anybody else wait."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from identity_support import Clock, MemoryJournal, authenticator_of

from callgate.call import Refusal
from callgate.identity import Authenticator
from callgate.identity.fetch import FetchError, fetch
from local_issuer import LocalIssuer, SigningKey, github_claims, jwks, local_issuer

KEY = SigningKey("key-1")


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[LocalIssuer]:
    with local_issuer(tmp_path, KEY) as running:
        yield running


@pytest.fixture
def settings(issuer: LocalIssuer, tmp_path: Path) -> dict[str, Any]:
    return {
        "name": "github",
        "profile": "github",
        "url": issuer.url,
        "audience": "callgate",
        "ca": str(tmp_path / "ca.pem"),
    }


def scenario(
    clock: Clock, settings: dict[str, Any], act: Callable[[Authenticator], Awaitable[None]], **limits: Any
) -> None:
    async def run() -> None:
        auth = authenticator_of(MemoryJournal(), clock, settings, **limits)
        await auth.start()
        try:
            await act(auth)
        finally:
            await auth.close()

    asyncio.run(run())


async def refusal_of(auth: Authenticator, token: str) -> str:
    with pytest.raises(Refusal) as refused:
        await auth.identify(token, source_ip="10.0.0.1")
    assert refused.value.status == 407
    return refused.value.code


def token_of(issuer: LocalIssuer, clock: Clock, key: SigningKey = KEY, **members: Any) -> str:
    return key.token(github_claims(clock.now, iss=issuer.url, **members))


def test_keys_are_discovered_over_https(issuer: LocalIssuer, settings: dict[str, Any], clock: Clock) -> None:
    async def act(auth: Authenticator) -> None:
        identity = await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")
        assert identity.issuer_url == issuer.url

    scenario(clock, settings, act)
    assert issuer.hits == {"/.well-known/openid-configuration": 1, "/jwks": 1}


def test_keys_come_from_a_jwks_url_with_a_bearer_token_where_the_cluster_wants_one(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock, tmp_path: Path
) -> None:
    seen: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Authorization"])
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        body = jwks(KEY)
        handler.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    issuer.answers["/openid/v1/jwks"] = answer
    (tmp_path / "sa").write_text("cluster-token\n")

    async def act(auth: Authenticator) -> None:
        await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")

    more = {"jwks_url": f"{issuer.url}/openid/v1/jwks", "bearer_file": str(tmp_path / "sa")}
    scenario(clock, settings | more, act)
    assert seen == ["Bearer cluster-token"]


@pytest.mark.case("A07")
def test_a_thousand_unknown_kids_cost_one_fetch_a_cooldown(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    async def act(auth: Authenticator) -> None:
        await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")
        token = github_claims(clock.now, iss=issuer.url)
        for start in (0, 500):
            tokens = [KEY.token(token, kid=f"k{start + at}") for at in range(500)]
            codes = await asyncio.gather(*(refusal_of(auth, each) for each in tokens))
            assert set(codes) == {"token-key"}
        assert issuer.hits["/jwks"] == 1
        clock.now += 30
        await asyncio.gather(*(refusal_of(auth, each) for each in tokens))
        assert issuer.hits["/jwks"] == 2

    scenario(clock, settings, act)


def test_a_new_key_is_found_as_soon_as_a_token_names_it(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    fresh = SigningKey("key-2")

    async def act(auth: Authenticator) -> None:
        await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")
        issuer.keys.append(fresh)
        clock.now += 31
        tokens = [token_of(issuer, clock, fresh, jti=str(at)) for at in range(20)]
        await asyncio.gather(*(auth.identify(each, source_ip="10.0.0.1") for each in tokens))
        assert issuer.hits["/jwks"] == 2

    scenario(clock, settings, act)


def _status(code: int, *headers: tuple[str, str]) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in (*headers, ("Content-Length", "0")):
            handler.send_header(name, value)
        handler.end_headers()

    return answer


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(100 * 1024 * 1024))
    handler.end_headers()
    for _ in range(1600):
        handler.wfile.write(b" " * 65536)


@pytest.mark.parametrize(
    "answer",
    [
        _status(500),
        _status(404),
        _status(204),
        _status(302, ("Location", "/jwks")),
        _endless,
        b"{}",
        b"<html>",
        b'{"keys":[]}',
        lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000),
        lambda handler: handler.wfile.write(b"SSH-2.0\r\n\r\n"),
        lambda handler: None,
    ],
    ids=["500", "404", "204", "302", "100 MB", "no keys", "html", "empty", "long head", "no http", "closed"],
)
@pytest.mark.case("A21")
def test_an_answer_that_is_no_key_set_leaves_the_issuer_unavailable(
    answer: Any, issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    issuer.answers["/.well-known/openid-configuration"] = answer
    issuer.answers["/keys"] = answer

    async def act(auth: Authenticator) -> None:
        assert await refusal_of(auth, token_of(issuer, clock)) == "issuer-unavailable"

    began = time.monotonic()
    scenario(clock, settings, act)
    scenario(clock, settings | {"jwks_url": f"{issuer.url}/keys"}, act)
    assert "/jwks" not in issuer.hits
    assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    "document",
    [
        '{"issuer":"https://other.example","jwks_uri":"URL/jwks"}',
        '{"issuer":"URL/","jwks_uri":"URL/jwks"}',
        '{"issuer":"URL","jwks_uri":"http://localhost:1/jwks"}',
        '{"issuer":"URL","jwks_uri":"file:///etc/passwd"}',
        '{"issuer":"URL","jwks_uri":"https://user@localhost/jwks"}',
        '{"issuer":"URL"}',
        '{"issuer":"URL","issuer":"URL","jwks_uri":"URL/jwks"}',
    ],
)
def test_a_discovery_document_must_be_the_issuers_own_and_lead_to_https(
    document: str, issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    issuer.answers["/.well-known/openid-configuration"] = document.replace("URL", issuer.url).encode()

    async def act(auth: Authenticator) -> None:
        assert await refusal_of(auth, token_of(issuer, clock)) == "issuer-unavailable"

    scenario(clock, settings, act)
    assert "/jwks" not in issuer.hits


@pytest.mark.case("A21")
def test_keys_stay_good_while_the_issuer_is_down_until_their_age_is_reached(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    async def act(auth: Authenticator) -> None:
        await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")
        issuer.answers["/.well-known/openid-configuration"] = _status(503)
        clock.now += 3599 * 2
        late = token_of(issuer, clock)
        assert (await auth.identify(late, source_ip="10.0.0.1")).issuer == "github"
        clock.now += 3
        for token in (late, token_of(issuer, clock, jti="new")):
            assert await refusal_of(auth, token) == "issuer-unavailable"

    scenario(clock, settings, act, keys_refresh="1h", keys_max_age="2h")


def test_old_keys_are_fetched_anew_without_anybody_waiting(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    release = threading.Event()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        release.wait(10)
        _status(500)(handler)

    async def act(auth: Authenticator) -> None:
        await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")
        issuer.answers["/.well-known/openid-configuration"] = slow
        clock.now += 3601
        began = time.monotonic()
        await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")
        assert time.monotonic() - began < 0.5
        release.set()

    scenario(clock, settings, act)


def test_an_issuer_that_does_not_answer_delays_no_other(clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_bytes(jwks(KEY))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://localhost:{silent.getsockname()[1]}"
        down = {"name": "down", "url": url, "audience": "callgate", "ca": None}
        good = {"name": "github", "profile": "github", "audience": "callgate"}
        good["keys_file"] = str(tmp_path / "keys.json")

        async def run() -> None:
            auth = authenticator_of(MemoryJournal(), clock, {k: v for k, v in down.items() if v}, good)
            await auth.start()
            stuck = asyncio.create_task(refusal_of(auth, KEY.token(github_claims(clock.now, iss=url))))
            began = time.monotonic()
            for at in range(50):
                token = KEY.token(github_claims(clock.now, jti=str(at)))
                await auth.identify(token, source_ip="10.0.0.1")
            assert time.monotonic() - began < 1
            assert not stuck.done()
            stuck.cancel()
            await auth.close()

        asyncio.run(run())


def test_an_issuer_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callgate.identity.fetch.TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/jwks"
        with pytest.raises(FetchError, match="no answer within"):
            asyncio.run(fetch(url))


@pytest.mark.case("A21")
def test_keys_are_never_fetched_through_a_proxy(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, address)
        monkeypatch.delenv("NO_PROXY", raising=False)

        async def act(auth: Authenticator) -> None:
            await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")

        scenario(clock, settings, act)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_an_issuer_with_a_certificate_of_nobody_we_trust_is_unavailable(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    async def act(auth: Authenticator) -> None:
        assert await refusal_of(auth, token_of(issuer, clock)) == "issuer-unavailable"

    del settings["ca"]
    scenario(clock, settings, act)
    assert issuer.hits == {}


def test_plain_http_is_for_the_loopback_where_the_settings_say_so(clock: Clock) -> None:
    with local_issuer(None, KEY) as plain:
        settings = {"name": "github", "profile": "github", "url": plain.url, "audience": "callgate"}

        async def act(auth: Authenticator) -> None:
            await auth.identify(token_of(plain, clock), source_ip="10.0.0.1")

        scenario(clock, settings | {"insecure_loopback": True}, act)
        with pytest.raises(ValueError, match="must be https"):
            scenario(clock, settings, act)


def test_after_the_clock_went_back_keys_are_of_unknown_age_and_fetched_anew(
    issuer: LocalIssuer, settings: dict[str, Any], clock: Clock
) -> None:
    async def act(auth: Authenticator) -> None:
        await auth.identify(token_of(issuer, clock), source_ip="10.0.0.1")
        clock.now -= 86_400
        await auth.identify(token_of(issuer, clock, jti="later"), source_ip="10.0.0.1")
        assert issuer.hits["/jwks"] == 2

    scenario(clock, settings, act)
