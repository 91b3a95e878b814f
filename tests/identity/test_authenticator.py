"""From a credential to an identity, and how long it holds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from identity_support import Clock, MemoryJournal, authenticator_of

from callgate.call import Refusal
from local_issuer import SigningKey, github_claims, jwks


def test_a_token_of_a_trusted_issuer_gives_its_workload(
    journal: MemoryJournal, clock: Clock, github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    async def scenario() -> None:
        auth = authenticator_of(journal, clock, github_settings)
        await auth.start()
        identity = await auth.identify(signing_key.token(github_claims(clock.now)), source_ip="10.0.0.1")
        assert identity.principal_id == "github:acme/infra:environment:production"
        assert identity.claims["repository"] == "acme/infra"
        assert identity.expires_at == clock.now + 300
        assert auth.check(identity) == identity
        assert journal.kinds() == ["session.opened"]
        await auth.close()

    asyncio.run(scenario())


def test_an_expired_token_still_says_whose_it_is_but_is_refused_at_the_request(
    journal: MemoryJournal, clock: Clock, github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    async def scenario() -> None:
        auth = authenticator_of(journal, clock, github_settings)
        await auth.start()
        token = signing_key.token(github_claims(clock.now))
        early = await auth.identify(token, source_ip="10.0.0.1")
        clock.now += 300
        late = await auth.identify(token, source_ip="10.0.0.1")
        assert late.principal_id == early.principal_id
        for identity in (early, late):
            with pytest.raises(Refusal) as refused:
                auth.check(identity)
            assert (refused.value.code, refused.value.status) == ("token-expired", 403)
        await auth.close()

    asyncio.run(scenario())


def test_a_token_never_seen_before_it_expired_opens_no_session(
    journal: MemoryJournal, clock: Clock, github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    async def scenario() -> None:
        auth = authenticator_of(journal, clock, github_settings)
        await auth.start()
        identity = await auth.identify(
            signing_key.token(github_claims(clock.now - 1000)), source_ip="10.0.0.1"
        )
        with pytest.raises(Refusal, match="token-expired"):
            auth.check(identity)
        assert journal.kinds() == []
        await auth.close()

    asyncio.run(scenario())


def test_an_identity_shows_no_token(
    journal: MemoryJournal, clock: Clock, github_settings: dict[str, Any], signing_key: SigningKey
) -> None:
    async def scenario() -> None:
        auth = authenticator_of(journal, clock, github_settings)
        await auth.start()
        token = signing_key.token(github_claims(clock.now))
        identity = await auth.identify(token, source_ip="10.0.0.1")
        kept = repr(identity) + repr(identity.claims) + repr([entry.body for entry in journal.entries])
        assert not any(part in kept for part in token.split("."))
        await auth.close()

    asyncio.run(scenario())


def test_a_token_verified_earlier_is_refused_once_its_key_is_withdrawn(
    journal: MemoryJournal,
    clock: Clock,
    github_settings: dict[str, Any],
    signing_key: SigningKey,
    tmp_path: Any,
) -> None:
    async def scenario() -> None:
        auth = authenticator_of(journal, clock, {**github_settings, "max_token_life": "3h"})
        await auth.start()
        token = signing_key.token({**github_claims(clock.now), "exp": int(clock.now) + 3 * 3600})
        await auth.identify(token, source_ip="10.0.0.1")
        (tmp_path / "keys.json").write_bytes(jwks(SigningKey("key-2")))
        clock.now += 3601
        await auth.identify(token, source_ip="10.0.0.1")  # begins to fetch in the background
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        with pytest.raises(Refusal, match="token-key"):
            await auth.identify(token, source_ip="10.0.0.1")
        await auth.close()

    asyncio.run(scenario())
