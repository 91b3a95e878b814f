"""Tokens made to be accepted by somebody."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import serialization

from local_issuer import SigningKey, b64, compact, github_claims

KEY = SigningKey("key-1")
OTHER = SigningKey("key-1")
HEADER = {"typ": "JWT", "alg": "RS256", "kid": "key-1"}


def hostile(now: int) -> dict[str, str | Callable[[], str]]:
    """Tokens, or what makes one, by what is wrong with them at `now` (seconds since 1970)."""

    def claims(**members: Any) -> dict[str, Any]:
        return github_claims(now, **members)

    def signed(header: dict[str, Any] | str = HEADER, payload: dict[str, Any] | str | None = None) -> str:
        return KEY.sign(header, claims() if payload is None else payload)

    def hmac_signed(secret: bytes) -> str:
        message = f"{compact({**HEADER, 'alg': 'HS256'})}.{compact(claims())}"
        return f"{message}.{b64(hmac.new(secret, message.encode(), hashlib.sha256).digest())}"

    def with_raw_claim(text: str) -> str:
        """A token whose claims end with `text`, as JSON that a mapping cannot hold."""
        return signed(payload=b64((json.dumps(claims())[:-1] + text + "}").encode()))

    good = KEY.token(claims())
    return {
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
        "two parts": good.rpartition(".")[0],
        "four parts": good + ".AAAA",
        "no parts": "token",
        "only dots": "..",
        "padding": good + "==",
        "a newline at the end": good + "\n",
        "a space in front": " " + good,
        "other bits at the end of the signature": lambda: good[:-1] + _sibling(good[-1]),
        "a header that names alg twice": signed(b64(b'{"alg":"none","alg":"RS256","kid":"key-1"}')),
        "a header nested 100,000 deep": signed(b64(b'{"alg":' + b"[" * 100_000)),
        "a header nested as deep as fits": signed(b64(b'{"alg":' + b"[" * 5_000)),
        "a header in UTF-16": signed(b64(json.dumps(HEADER).encode("utf-16"))),
        "a header that is no object": signed(b64(b'["RS256"]')),
        "claims that are no object": signed(payload=b64(b'"sub"')),
        "claims that are not UTF-8": signed(payload=b64(b'{"sub":"\xff"}')),
        "5 MB": KEY.token(claims(pad="x" * 5_000_000)),
        "a byte more than 8 kB": lambda: _of_length(8193, now),
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
            f"exp {name}": KEY.token(claims(exp=exp))
            for name, exp in {
                "absent": None,
                "as text": str(now + 300),
                "1e30": 1e30,
                "with a fraction": now + 300.5,
                "as a float": float(now + 300),
                "true": True,
                "-1": -1,
                "0": 0,
                "2 to the 70th": 1 << 70,
                "in a list": [now],
                "now": now,
                "a second ago": now - 1,
            }.items()
        },
        **{
            f"iat {name}": KEY.token(claims(iat=iat))
            for name, iat in {
                "absent": None,
                "as text": str(now),
                "with a fraction": now + 0.5,
                "in an hour": now + 3600,
                "an hour ago": now - 3600,
                "true": True,
                "-5": -5,
                "0": 0,
            }.items()
        },
        **{
            f"nbf {name}": KEY.token(claims(nbf=nbf))
            for name, nbf in {
                "in an hour": now + 3600,
                "a word": "now",
                "1.5": 1.5,
                "true": True,
                "-1": -1,
            }.items()
        },
        "a life longer than the cap": KEY.token(claims(exp=now + 901)),
        "iat and exp moved to the future": KEY.token(claims(iat=now + 3600, nbf=now, exp=now + 3700)),
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


def public(encoding: serialization.Encoding, form: serialization.PublicFormat) -> bytes:
    return KEY.private.public_key().public_bytes(encoding, form)


def spki(encoding: serialization.Encoding) -> bytes:
    return public(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def _sibling(letter: str) -> str:
    """The next letter of the alphabet: the same signature bytes, other trailing bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) + 1]


def _of_length(length: int, now: int) -> str:
    for pad in range(length):
        token = KEY.token(github_claims(now, pad="x" * (length * 3 // 4 - 1500 + pad)))
        if len(token) >= length:
            return token
    raise AssertionError
