"""Thousands of tokens and sessions: what one more request costs, and what memory stays bounded by."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from pathlib import Path
from typing import Any

from identity_support import Clock, MemoryJournal, authenticator_of

from callgate.identity import verifier
from local_issuer import SigningKey, github_claims, jwks

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
KEY = SigningKey("key-1", "EdDSA")
MAX_SECONDS = 0.0003
MAX_BYTES_A_TOKEN = 6_000


class NoJournal(MemoryJournal):
    """Keeps nothing, so that only the sessions' own memory is measured."""

    async def append(self, *records: Any) -> list[Any]:
        return []


def settings(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "keys.json").write_bytes(jwks(KEY))
    own = {"audience": "callgate", "algorithms": ["EdDSA"], "keys_file": str(tmp_path / "keys.json")}
    return {"name": "github", "profile": "github", **own}


def test_five_thousand_tokens_and_two_thousand_sessions(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = Clock()
        auth = authenticator_of(NoJournal(), clock, settings(tmp_path))
        await auth.start()
        tokens = [KEY.token(github_claims(clock.now, jti=str(at), run_id=str(at))) for at in range(5000)]
        await auth.identify(tokens[0], source_ip="10.0.0.1")
        gc.collect()
        tracemalloc.start()
        for token in tokens:
            await auth.identify(token, source_ip="10.0.0.1")
        handles = []
        for token in tokens[:2000]:
            form = {"grant_type": GRANT, "subject_token": token, "subject_token_type": JWT}
            handles.append((await auth.exchange(form, source_ip="10.0.0.1"))["access_token"])
        grown = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert grown < (5000 + 2000) * MAX_BYTES_A_TOKEN

        credentials = [*tokens, *handles]
        spent = []
        for credential in credentials:
            began = time.perf_counter()
            auth.check(await auth.identify(credential, source_ip="10.0.0.1"))
            spent.append(time.perf_counter() - began)
        assert sorted(spent)[len(spent) // 2] < MAX_SECONDS
        print(f"median {sorted(spent)[len(spent) // 2] * 1e6:.1f} µs, {grown / 7000:.0f} bytes each")
        await auth.close()

    asyncio.run(scenario())


def test_the_cache_of_verified_tokens_is_bounded(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(verifier, "MAX_CACHED", 100)

    async def scenario() -> None:
        clock = Clock()
        auth = authenticator_of(NoJournal(), clock, settings(tmp_path))
        await auth.start()
        for at in range(300):
            token = KEY.token(github_claims(clock.now, jti=str(at)))
            await auth.identify(token, source_ip="10.0.0.1")
        assert len(auth._verifier._cache) == 100
        await auth.close()

    asyncio.run(scenario())


def test_sessions_that_nothing_can_refer_to_any_more_are_forgotten_without_waiting_for_the_limit(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        clock = Clock()
        auth = authenticator_of(NoJournal(), clock, settings(tmp_path))
        await auth.start()
        for round_ in range(5):
            for at in range(1000):
                token = KEY.token(github_claims(clock.now, jti=f"{round_}-{at}"))
                await auth.identify(token, source_ip="10.0.0.1")
            clock.now += 400
        assert len(auth.sessions()) <= 2000
        await auth.close()

    asyncio.run(scenario())
