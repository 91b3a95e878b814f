"""Sessions: a handle for a token, renewed, moved, revoked, and found again after a restart."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from identity_support import Clock, MemoryJournal, authenticator_of

from callgate.call import Refusal
from callgate.identity import Authenticator
from local_issuer import SigningKey, github_claims

GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
HERE, THERE = "10.0.0.1", "10.0.0.2"


class World:
    """One gateway's identities over a journal that outlives restarts."""

    def __init__(
        self, journal: MemoryJournal, clock: Clock, key: SigningKey, issuer: dict[str, Any], **settings: Any
    ) -> None:
        self.journal, self.clock, self.key = journal, clock, key
        self._issuer, self._settings = issuer, settings
        self._ids = itertools.count()
        self.auth = self._made()

    def _made(self) -> Authenticator:
        return authenticator_of(self.journal, self.clock, self._issuer, **self._settings)

    async def restart(self) -> None:
        await self.auth.close()
        self.auth = self._made()
        await self.auth.start()

    def token(self, **claims: Any) -> str:
        return self.key.token(github_claims(self.clock.now, jti=str(next(self._ids)), **claims))

    def form(self, token: str | None = None, **more: str) -> dict[str, str]:
        said = {"grant_type": GRANT, "subject_token": token or self.token(), "subject_token_type": JWT}
        return {**said, **more}

    async def open(self, **more: str) -> tuple[str, str]:
        answer = await self.auth.exchange(self.form(**more), source_ip=HERE)
        return answer["access_token"], answer["callgate_session"]

    async def refused(self, act: Awaitable[Any]) -> tuple[str, int]:
        with pytest.raises(Refusal) as refused:
            await act
        return refused.value.code, refused.value.status

    def now_refused(self, identity: Any) -> str:
        with pytest.raises(Refusal) as refused:
            self.auth.check(identity)
        assert refused.value.status == 403
        return refused.value.code


@pytest.fixture
def play(
    journal: MemoryJournal, clock: Clock, signing_key: SigningKey, github_settings: dict[str, Any]
) -> Callable[..., None]:
    def run(act: Callable[[World], Awaitable[None]], **settings: Any) -> None:
        async def scenario() -> None:
            world = World(journal, clock, signing_key, github_settings, **settings)
            await world.auth.start()
            try:
                await act(world)
            finally:
                await world.auth.close()

        asyncio.run(scenario())

    return run


def test_a_token_is_exchanged_for_a_handle_in_rfc_8693s_form(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        answer = await world.auth.exchange(world.form(), source_ip=HERE)
        assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 300)
        assert answer["callgate_principal"] == "github:acme/infra:environment:production"
        identity = await world.auth.identify(answer["access_token"], source_ip=HERE)
        assert identity.session == answer["callgate_session"]
        assert world.auth.check(identity) is identity

    play(act)


def test_neither_token_nor_handle_is_kept(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        token = world.token()
        answer = await world.auth.exchange(world.form(token), source_ip=HERE)
        await world.auth.renew(answer["access_token"], world.form(), source_ip=HERE)
        kept = json.dumps([dict(entry.body) for entry in world.journal.entries]) + repr(world.auth.sessions())
        assert answer["access_token"] not in kept
        assert not any(part in kept for part in token.split("."))

    play(act)


def test_an_hour_of_a_job_with_five_minute_tokens(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, session = await world.open()
        identity = await world.auth.identify(handle, source_ip=HERE)
        for second in range(0, 3600, 20):
            if second % 200 == 180:
                answer = await world.auth.renew(handle, world.form(), source_ip=HERE)
                assert answer["callgate_session"] == session
                assert "access_token" not in answer
            identity = world.auth.check(identity)
            assert identity.session == session
            world.clock.now += 20
        held = identity
        await world.auth.revoke(session, by="uid:0")
        assert world.now_refused(identity) == "session-revoked"
        assert world.now_refused(held) == "session-revoked"
        again = await world.auth.identify(handle, source_ip=HERE)
        assert world.now_refused(again) == "session-revoked"
        renewed = world.auth.renew(handle, world.form(), source_ip=HERE)
        assert await world.refused(renewed) == ("session-revoked", 403)

    play(act)


def test_a_session_that_nobody_renews_expires_with_its_token_and_can_be_revived(
    play: Callable[..., None],
) -> None:
    async def act(world: World) -> None:
        handle, _ = await world.open()
        identity = await world.auth.identify(handle, source_ip=HERE)
        world.clock.now += 300
        assert world.now_refused(identity) == "session-expired"
        await world.auth.renew(handle, world.form(), source_ip=HERE)
        assert world.auth.check(identity).expires_at == world.clock.now + 300

    play(act)


def test_a_session_ends_at_its_cap_however_fresh_the_token(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, _ = await world.open()
        identity = await world.auth.identify(handle, source_ip=HERE)
        world.clock.now += 590
        answer = await world.auth.renew(handle, world.form(), source_ip=HERE)
        assert answer["expires_in"] == 10
        world.clock.now += 10
        assert world.now_refused(identity) == "session-expired"
        renewed = world.auth.renew(handle, world.form(), source_ip=HERE)
        assert await world.refused(renewed) == ("session-capped", 403)

    play(act, session_cap="10m")


@pytest.mark.parametrize(
    "claims",
    [
        {"repository": "acme/other", "sub": "repo:acme/other:environment:production"},
        {"environment": "staging", "sub": "repo:acme/infra:environment:staging"},
        {"repository_id": "75"},
        {"repository_owner_id": "66"},
        {"run_id": "500101"},
        {"sub": "repo:acme/infra:ref:refs/heads/main"},
    ],
)
def test_only_a_token_of_the_same_principal_renews(claims: dict[str, Any], play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, _ = await world.open()
        renewed = world.auth.renew(handle, world.form(world.token(**claims)), source_ip=HERE)
        assert await world.refused(renewed) == ("principal-changed", 403)
        assert world.journal.kinds() == ["session.opened"]

    play(act)


@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        ({"grant_type": "password"}, ("invalid_request", 400)),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, ("invalid_request", 400)),
        ({"subject_token": ""}, ("invalid_request", 400)),
        ({"requested_token_type": JWT}, ("invalid_request", 400)),
        ({"subject_token": "a.b.c"}, ("token-malformed", 401)),
        ({"subject_token": "cgs_something"}, ("token-malformed", 401)),
        ({"callgate_context": "[]"}, ("context-malformed", 400)),
        ({"callgate_context": '{"host":"a","host":"b"}'}, ("context-malformed", 400)),
        ({"callgate_context": '{"host":"' + "x" * 20_000 + '"}'}, ("context-malformed", 400)),
    ],
)
def test_an_exchange_that_is_not_rfc_8693s_opens_nothing(
    form: dict[str, str], refusal: tuple[str, int], play: Callable[..., None]
) -> None:
    async def act(world: World) -> None:
        assert await world.refused(world.auth.exchange({**world.form(), **form}, source_ip=HERE)) == refusal
        assert world.journal.kinds() == []

    play(act)


def test_an_expired_or_revoked_token_opens_nothing(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        token = world.token()
        answer = await world.auth.exchange(world.form(token), source_ip=HERE)
        await world.auth.revoke(answer["callgate_session"], by="uid:0")
        again = world.auth.exchange(world.form(token), source_ip=HERE)
        assert await world.refused(again) == ("token-revoked", 401)
        bare = await world.auth.identify(token, source_ip=HERE)
        assert world.now_refused(bare) == "token-revoked"
        world.clock.now += 300
        late = world.auth.exchange(world.form(token), source_ip=HERE)
        assert await world.refused(late) == ("token-expired", 401)

    play(act)


def test_revoking_the_session_of_a_bare_token_refuses_its_next_request(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        token = world.token()
        identity = await world.auth.identify(token, source_ip=HERE)
        handle, session = await world.open(subject_token=token)
        cut: list[str] = []
        world.auth.on_revoked(cut.append)
        await world.auth.revoke(identity.session, by="uid:0")
        # The session that the same token opened is revoked with it, or its holder would just go on there.
        assert cut == [identity.session, session]
        assert world.now_refused(identity) == "session-revoked"
        assert world.now_refused(await world.auth.identify(token, source_ip=HERE)) == "session-revoked"
        assert world.now_refused(await world.auth.identify(handle, source_ip=HERE)) == "session-revoked"

    play(act)


def test_a_revocation_holds_even_if_it_cannot_be_recorded(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, session = await world.open()
        identity = await world.auth.identify(handle, source_ip=HERE)
        cut: list[str] = []
        world.auth.on_revoked(cut.append)
        world.journal.fails = Refusal("ledger-unavailable", "The disk is full.", status=503)
        assert await world.refused(world.auth.revoke(session, by="uid:0")) == ("ledger-unavailable", 503)
        assert world.now_refused(identity) == "session-revoked"
        assert cut == [session]

    play(act)


def test_what_cannot_be_recorded_is_not_opened(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        world.journal.fails = Refusal("ledger-unavailable", "The disk is full.", status=503)
        for act in (
            world.auth.exchange(world.form(), source_ip=HERE),
            world.auth.identify(world.token(), source_ip=HERE),
        ):
            assert await world.refused(act) == ("ledger-unavailable", 503)
        assert world.auth.sessions() == []
        world.journal.fails = None
        await world.auth.identify(world.token(), source_ip=HERE)

    play(act)


def test_a_renewal_that_races_a_revocation_does_not_revive_the_session(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, session = await world.open()
        identity = await world.auth.identify(handle, source_ip=HERE)
        append = world.journal.append

        async def slow(*records: Any) -> Any:
            if records[0].kind == "session.renewed":
                await world.auth.revoke(session, by="uid:0")
            return await append(*records)

        world.journal.append = slow  # type: ignore[method-assign]
        world.clock.now += 10
        renewed = world.auth.renew(handle, world.form(), source_ip=HERE)
        assert await world.refused(renewed) == ("session-ended", 403)
        assert world.now_refused(identity) == "session-revoked"
        await world.restart()
        assert world.now_refused(await world.auth.identify(handle, source_ip=HERE)) == "session-revoked"

    play(act)


def test_a_renewal_that_was_given_up_halfway_can_be_tried_again(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, _ = await world.open()
        append = world.journal.append

        async def lost(*records: Any) -> Any:
            await append(*records)
            raise TimeoutError

        world.clock.now += 100
        token = world.token()
        world.journal.append = lost  # type: ignore[method-assign]
        bare = world.token()
        with pytest.raises(TimeoutError):
            await world.auth.renew(handle, world.form(token), source_ip=HERE)
        with pytest.raises(TimeoutError):
            await world.auth.identify(bare, source_ip=HERE)
        world.journal.append = append  # type: ignore[method-assign]
        answer = await world.auth.renew(handle, world.form(token), source_ip=HERE)
        assert answer["expires_in"] == 300
        assert world.auth.check(await world.auth.identify(bare, source_ip=HERE))

    play(act)


def test_an_older_token_does_not_shorten_a_session(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        older = world.token()
        world.clock.now += 100
        handle, _ = await world.open()
        for _ in range(5):
            answer = await world.auth.renew(handle, world.form(older), source_ip=HERE)
            assert answer["expires_in"] == 300
        assert world.journal.kinds() == ["session.opened"]

    play(act)


def test_a_closed_session_can_be_revoked_for_its_token(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        token = world.token()
        handle, session = await world.open(subject_token=token)
        await world.auth.close_session(handle, source_ip=HERE)
        await world.auth.revoke(session, by="uid:0")
        await world.restart()
        assert world.now_refused(await world.auth.identify(token, source_ip=HERE)) == "token-revoked"

    play(act)


def test_two_tokens_that_share_a_jti_do_not_share_a_session(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        claims = {"jti": "same"}
        one = world.key.token(github_claims(world.clock.now, **claims))
        other = {"repository": "acme/other", "sub": "repo:acme/other:environment:production"}
        two = world.key.token(github_claims(world.clock.now, **claims, **other))
        first = await world.auth.identify(one, source_ip=HERE)
        second = await world.auth.identify(two, source_ip=HERE)
        assert first.session != second.session
        assert second.principal_id == "github:acme/other:environment:production"
        await world.auth.revoke(first.session, by="uid:0")
        assert world.auth.check(second) == second

    play(act)


def test_sessions_outlive_a_restart(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        context = json.dumps({"host": "runner-7", "command": ["make", "deploy"]})
        handle, session = await world.open(callgate_context=context)
        world.clock.now += 100
        await world.auth.renew(handle, world.form(), source_ip=HERE)
        closed, _ = await world.open()
        await world.auth.close_session(closed, source_ip=HERE)
        revoked, doomed = await world.open()
        await world.auth.revoke(doomed, by="uid:0")
        bare = await world.auth.identify(world.token(), source_ip=HERE)
        before = world.auth.sessions()

        await world.restart()

        assert world.auth.sessions() == before
        identity = await world.auth.identify(handle, source_ip=HERE)
        assert (identity.session, identity.expires_at) == (session, world.clock.now + 300)
        assert identity.unverified_context == {"host": "runner-7", "command": ["make", "deploy"]}
        assert world.auth.check(bare) == bare
        assert world.now_refused(await world.auth.identify(closed, source_ip=HERE)) == "session-closed"
        assert world.now_refused(await world.auth.identify(revoked, source_ip=HERE)) == "session-revoked"
        renewed = world.auth.renew(revoked, world.form(), source_ip=HERE)
        assert await world.refused(renewed) == ("session-revoked", 403)
        assert await world.refused(world.auth.revoke(doomed, by="uid:0")) == ("session-ended", 409)

    play(act)


def test_a_revoked_bare_token_stays_revoked_after_a_restart(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        token = world.token()
        identity = await world.auth.identify(token, source_ip=HERE)
        await world.auth.revoke(identity.session, by="uid:0")
        await world.restart()
        assert world.now_refused(await world.auth.identify(token, source_ip=HERE)) == "session-revoked"

    play(act)


def test_use_from_a_second_address_is_recorded_once(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, session = await world.open()
        for _ in range(3):
            await world.auth.identify(handle, source_ip=THERE)
        token = world.token()
        await world.auth.identify(token, source_ip=HERE)
        await world.auth.identify(token, source_ip=THERE)
        assert world.journal.kinds().count("session.moved") == 2
        moved = next(entry for entry in world.journal.entries if entry.kind == "session.moved")
        assert moved.body["sessionId"] == session
        assert (moved.body["firstSourceIPAddress"], moved.body["sourceIPAddress"]) == (HERE, THERE)

    play(act)


def test_use_from_a_second_address_is_refused_where_the_settings_say_so(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        handle, _ = await world.open()
        token = world.token()
        await world.auth.identify(token, source_ip=HERE)
        for refused in (
            world.auth.identify(handle, source_ip=THERE),
            world.auth.identify(token, source_ip=THERE),
            world.auth.renew(handle, world.form(), source_ip=THERE),
            world.auth.close_session(handle, source_ip=THERE),
        ):
            assert await world.refused(refused) == ("session-moved", 403)
        await world.auth.identify(handle, source_ip=HERE)

    play(act, second_address="refuse")


def test_one_session_is_opened_however_many_connections_begin_with_a_token(play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        token = world.token()
        append = world.journal.append

        async def yielding(*records: Any) -> Any:
            await asyncio.sleep(0)
            return await append(*records)

        world.journal.append = yielding  # type: ignore[method-assign]
        found = await asyncio.gather(*(world.auth.identify(token, source_ip=HERE) for _ in range(20)))
        assert len({identity.session for identity in found}) == 1
        assert world.journal.kinds() == ["session.opened"]

    play(act)


def test_no_more_sessions_are_opened_than_the_limit_and_those_that_ended_make_room(
    play: Callable[..., None],
) -> None:
    async def act(world: World) -> None:
        await asyncio.gather(*(world.open() for _ in range(3)))
        assert await world.refused(world.open()) == ("too-many-sessions", 503)
        token = world.token()
        assert await world.refused(world.auth.identify(token, source_ip=HERE)) == ("too-many-sessions", 503)
        world.clock.now += 601
        await world.open()
        assert len(world.auth.sessions()) == 1

    play(act, max_sessions=3, session_cap="10m")


@pytest.mark.parametrize("handle", ["cgs_", "cgs_unknown", "cgs_" + "x" * 5000, "cgs_ö"])
def test_an_unknown_handle_cannot_be_verified(handle: str, play: Callable[..., None]) -> None:
    async def act(world: World) -> None:
        await world.open()
        assert await world.refused(world.auth.identify(handle, source_ip=HERE)) == ("session-unknown", 407)
        renewed = world.auth.renew(handle, world.form(), source_ip=HERE)
        assert await world.refused(renewed) == ("session-unknown", 401)

    play(act)
