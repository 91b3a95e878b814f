"""Tokens made to be accepted by somebody: each is refused as one that cannot be verified, at once."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from identity_support import Clock, MemoryJournal, authenticator_of

from callgate.call import Refusal
from callgate.identity import credential_from
from local_issuer import SigningKey, b64, compact, github_claims, jwks

KEY = SigningKey("key-1")
OTHER = SigningKey("key-1")
NOW = int(time.time())
HEADER = {"typ": "JWT", "alg": "RS256", "kid": "key-1"}


def claims(**members: Any) -> dict[str, Any]:
    return github_claims(NOW, **members)


def signed(header: dict[str, Any] | str = HEADER, payload: dict[str, Any] | str | None = None) -> str:
    return KEY.sign(header, claims() if payload is None else payload)


def hmac_signed(secret: bytes) -> str:
    message = f"{compact({**HEADER, 'alg': 'HS256'})}.{compact(claims())}"
    return f"{message}.{b64(hmac.new(secret, message.encode(), hashlib.sha256).digest())}"


def public(encoding: serialization.Encoding, form: serialization.PublicFormat) -> bytes:
    return KEY.private.public_key().public_bytes(encoding, form)


def with_raw_claim(text: str) -> str:
    """A token whose claims end with `text`, as JSON that a mapping cannot hold."""
    return signed(payload=b64((json.dumps(claims())[:-1] + text + "}").encode()))


def spki(encoding: serialization.Encoding) -> bytes:
    return public(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


GOOD = KEY.token(claims())
HOSTILE: dict[str, str | Callable[[], str]] = {
    # Algorithms
    **{
        f"alg {alg!r}": KEY.token(claims(), alg=alg)
        for alg in ("none", "None", "nOnE", "NONE", "", 1, True, ["RS256"])
    },
    "alg none without signature": f"{compact({**HEADER, 'alg': 'none'})}.{compact(claims())}.",
    "alg absent": KEY.token(claims(), alg=None),
    "HS256 with the key as PEM": hmac_signed(spki(serialization.Encoding.PEM)),
    "HS256 with the key as DER": hmac_signed(spki(serialization.Encoding.DER)),
    "HS256 with the key as JWK": hmac_signed(json.dumps(KEY.jwk()).encode()),
    "HS256 with an empty secret": hmac_signed(b""),
    **{
        f"{alg} over an RS256 key": KEY.token(claims(), alg=alg)
        for alg in ("PS256", "ES256", "RS512", "EdDSA", "rs256")
    },
    "PS256 really made with the RS256 key": SigningKey("key-1", "PS256", KEY.private).token(claims()),
    # Keys
    "signed by another key": OTHER.token(claims()),
    "no kid": KEY.token(claims(), kid=None),
    **{
        f"kid {kid!r:.30}": KEY.token(claims(), kid=kid)
        for kid in (
            "",
            "../../dev/null",
            "' OR 1=1 --",
            "key-1\0",
            "key-1 ",
            "KEY-1",
            ["key-1"],
            {"a": 1},
            1,
            "k" * 5000,
        )
    },
    "jwk in the header": KEY.token(claims(), jwk=KEY.jwk()),
    "x5c in the header": KEY.token(claims(), x5c=["AAAA"]),
    "jku in the header": KEY.token(claims(), jku="http://127.0.0.1:1/jwks"),
    "x5u in the header": KEY.token(claims(), x5u="http://127.0.0.1:1/x"),
    "crit in the header": KEY.token(claims(), crit=["exp"]),
    "b64 in the header": KEY.token(claims(), b64=False),
    "zip in the header": KEY.token(claims(), zip="DEF"),
    **{f"typ {typ!r}": KEY.token(claims(), typ=typ) for typ in ("at+jwt", "dpop+jwt", "", 1, ["JWT"])},
    # Parts
    "two parts": GOOD.rpartition(".")[0],
    "four parts": GOOD + ".AAAA",
    "no parts": "token",
    "only dots": "..",
    "padding": GOOD + "==",
    "a newline at the end": GOOD + "\n",
    "a space in front": " " + GOOD,
    "other bits at the end of the signature": lambda: GOOD[:-1] + _sibling(GOOD[-1]),
    "a header that names alg twice": signed(b64(b'{"alg":"none","alg":"RS256","kid":"key-1"}')),
    "a header nested 100,000 deep": signed(b64(b'{"alg":' + b"[" * 100_000)),
    "a header nested as deep as fits": signed(b64(b'{"alg":' + b"[" * 5_000)),
    "a header in UTF-16": signed(b64(json.dumps(HEADER).encode("utf-16"))),
    "a header that is no object": signed(b64(b'["RS256"]')),
    "claims that are no object": signed(payload=b64(b'"sub"')),
    "claims that are not UTF-8": signed(payload=b64(b'{"sub":"\xff"}')),
    "5 MB": KEY.token(claims(pad="x" * 5_000_000)),
    "a byte more than 8 kB": lambda: _of_length(8193),
    "sub twice": with_raw_claim(',"sub":"repo:evil/evil"'),
    "aud twice": with_raw_claim(',"aud":"callgate"'),
    "NaN": with_raw_claim(',"pad":NaN'),
    # Issuer
    **{
        f"iss {iss!r}": KEY.token(claims(iss=iss))
        for iss in (
            None,
            "https://token.actions.githubusercontent.com/",
            "https://TOKEN.actions.githubusercontent.com",
            "https://token.actions.githubusercontent.com.evil.example",
            "https://token.actions.githubusercontent.co",
            " https://token.actions.githubusercontent.com",
            "https://token.actions.githubusercontent.com\n",
            ["https://token.actions.githubusercontent.com"],
            {"a": 1},
            1,
        )
    },
    # Audience
    **{
        f"aud {aud!r}": KEY.token(claims(aud=aud))
        for aud in (
            None,
            "",
            "other",
            "callgate2",
            "Callgate",
            "callgate\n",
            ["callgate", "other"],
            ["callgate", "callgate"],
            [],
            [["callgate"]],
            {"callgate": 1},
            True,
        )
    },
    # Times
    **{
        f"exp {exp!r}": KEY.token(claims(exp=exp))
        for exp in (
            None,
            str(NOW + 300),
            1e30,
            NOW + 300.5,
            float(NOW + 300),
            True,
            -1,
            0,
            1 << 70,
            [NOW],
            NOW,
            NOW - 1,
        )
    },
    **{
        f"iat {iat!r}": KEY.token(claims(iat=iat))
        for iat in (None, str(NOW), NOW + 0.5, NOW + 3600, NOW - 3600, True, -5, 0)
    },
    **{f"nbf {nbf!r}": KEY.token(claims(nbf=nbf)) for nbf in (NOW + 3600, "now", 1.5, True, -1)},
    "a life longer than the cap": KEY.token(claims(exp=NOW + 901)),
    "iat and exp moved to the future": KEY.token(claims(iat=NOW + 3600, nbf=NOW, exp=NOW + 3700)),
    # Subject
    **{
        f"sub {sub!r:.40}": KEY.token(claims(sub=sub))
        for sub in (
            None,
            "",
            1,
            ["repo:acme/infra:environment:production"],
            "repo:acme/infra:environment:production\n",
            "repo:acme/infra:environment:production\0",
            "\u202erepo:acme/infra",
            "repo:acme/infra:env\ud800",
            "x" * 2000,
        )
    },
}


def _sibling(letter: str) -> str:
    """The next letter of the alphabet: the same signature bytes, other trailing bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) + 1]


def _of_length(length: int) -> str:
    for pad in range(length):
        token = KEY.token(claims(pad="x" * (length * 3 // 4 - 1500 + pad)))
        if len(token) >= length:
            return token
    raise AssertionError


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
)
def test_a_credential_is_found_as_password_as_user_and_as_bearer(value: str) -> None:
    assert credential_from([value]) == GOOD
