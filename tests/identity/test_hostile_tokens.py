"""Tokens made to be accepted by somebody: each is refused as one that cannot be verified, at once."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from typing import Any

import pytest
from hostile_tokens import KEY, OTHER, hostile
from identity_support import Clock, MemoryJournal, authenticator_of

from callgate.call import Refusal
from callgate.identity import credential_from
from local_issuer import github_claims, jwks

NOW = 1_800_000_000
HOSTILE = hostile(NOW)


def claims(**members: Any) -> dict[str, Any]:
    return github_claims(NOW, **members)


GOOD = KEY.token(claims())


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    file.write_bytes(jwks(KEY))
    return file


def issuer(keys_file: Path, **members: Any) -> dict[str, Any]:
    return {
        "name": "github",
        "profile": "github",
        "audience": "callgate",
        "keys_file": str(keys_file),
        **members,
    }


def refusal_of(token: str, *issuers: dict[str, Any]) -> Refusal | None:
    """How a token is refused; None if it is accepted."""

    async def scenario() -> Refusal | None:
        clock = Clock()
        clock.now = float(NOW)
        auth = authenticator_of(MemoryJournal(), clock, *issuers)
        await auth.start()
        try:
            await auth.identify(token, source_ip="10.0.0.1")
        except Refusal as refusal:
            return refusal
        finally:
            await auth.close()
        return None

    return asyncio.run(scenario())


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.case("A03", "A04", "A05", "A06", "A09", "A10", "A11")
def test_a_hostile_token_cannot_be_verified(name: str, keys_file: Path) -> None:
    token = HOSTILE[name]
    token = token() if callable(token) else token
    began = time.perf_counter()
    refusal = refusal_of(token, issuer(keys_file))
    assert refusal is not None
    assert refusal.status == 407
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize(
    "token",
    [
        GOOD,
        KEY.token(claims(aud=["callgate"])),
        KEY.token(claims(), typ=None),
        KEY.token(claims(), typ="jwt"),
        KEY.token(claims(), x5t="thumbprint"),
        KEY.token(claims(iat=NOW + 5, nbf=NOW - 600)),
        KEY.token(claims(exp=NOW + 1, iat=NOW - 299)),
    ],
    ids=["usual", "aud as a list", "no typ", "typ in small letters", "x5t", "iat ahead", "nearly expired"],
)
def test_its_honest_neighbours_are_accepted(token: str, keys_file: Path) -> None:
    assert refusal_of(token, issuer(keys_file)) is None


@pytest.mark.case("A08")
def test_a_token_of_one_trusted_issuer_signed_with_the_key_of_another_is_refused(
    keys_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "other.json").write_bytes(jwks(OTHER))
    second = {"name": "second", "audience": "callgate", "url": "https://second.example"}
    issuers = [issuer(keys_file), {**second, "keys_file": str(tmp_path / "other.json")}]
    assert refusal_of(OTHER.token({**claims(), "iss": "https://second.example"}), *issuers) is None
    crossed = refusal_of(OTHER.token(claims()), *issuers)
    assert crossed is not None
    assert crossed.code == "token-signature"


def test_the_detail_of_a_refusal_repeats_nothing_of_the_token(keys_file: Path) -> None:
    canary = "canary-7f3a"
    for token in (
        KEY.token(claims(iss=canary)),
        KEY.token(claims(sub=canary + "\n")),
        KEY.token(claims(), kid=canary),
        KEY.token(claims(repository=canary)),
    ):
        refusal = refusal_of(token, issuer(keys_file))
        assert refusal is not None
        assert canary not in str(refusal)


def basic(text: str | bytes) -> str:
    octets = text if isinstance(text, bytes) else text.encode()
    return "Basic " + base64.b64encode(octets).decode()


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([], "credential-missing"),
        ([basic("a:b"), basic("a:b")], "credential-twice"),
        ([basic("a:tok") + ", " + basic("b:tok")], "credential-malformed"),
        (["Bearer a, Bearer b"], "credential-malformed"),
        (["Basic"], "credential-malformed"),
        (["Basic ???"], "credential-malformed"),
        (["Basic YTpi YTpi"], "credential-malformed"),
        (["Basic YTpi\n"], "credential-malformed"),
        (["Basic YTp"], "credential-malformed"),
        ([basic("nocolon")], "credential-malformed"),
        ([basic(":")], "credential-malformed"),
        ([basic("user:pass word")], "credential-malformed"),
        ([basic("user:tok\r\nX: y")], "credential-malformed"),
        ([basic(b"user:\xff\xfe")], "credential-malformed"),
        ([basic("user:tök")], "credential-malformed"),
        (["Digest username=x"], "credential-malformed"),
        (["Bearer "], "credential-malformed"),
        (["Bearer"], "credential-malformed"),
        ([""], "credential-malformed"),
        (["Bearer " + "x" * 5_000_000], "token-too-large"),
        ([basic("user:" + "x" * 5_000_000)], "token-too-large"),
    ],
)
@pytest.mark.case("A16")
def test_a_malformed_proxy_authorization_holds_no_credential(values: list[str], code: str) -> None:
    with pytest.raises(Refusal) as refused:
        credential_from(values)
    assert (refused.value.code, refused.value.status) == (code, 407)


@pytest.mark.parametrize(
    "value",
    [
        basic("callgate:" + GOOD),
        basic(GOOD + ":"),
        "Bearer " + GOOD,
        "bearer " + GOOD,
        "BASIC " + basic("x:" + GOOD)[6:],
    ],
    ids=["password", "user", "Bearer", "bearer", "BASIC"],
)
def test_a_credential_is_found_as_password_as_user_and_as_bearer(value: str) -> None:
    assert credential_from([value]) == GOOD
