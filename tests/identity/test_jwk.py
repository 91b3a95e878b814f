"""Keys that may not verify anything are not keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from callgate.identity.jwk import parse_jwk, parse_jwks
from local_issuer import SigningKey, jwks

RSA = SigningKey("rsa")
EC = SigningKey("ec", "ES256")


@pytest.mark.parametrize(
    ("key", "members", "reason"),
    [
        (RSA, {"use": "enc"}, "use"),
        (RSA, {"use": None, "key_ops": ["encrypt"]}, "key_ops"),
        (RSA, {"key_ops": "verify"}, "key_ops"),
        (RSA, {"alg": "HS256"}, "alg"),
        (RSA, {"alg": "ES256"}, "alg"),
        (RSA, {"alg": "none"}, "alg"),
        (EC, {"alg": "ES384"}, "alg"),
        (EC, {"crv": "secp256k1"}, "type"),
        (EC, {"crv": ["P-256"]}, "type"),
        (EC, {"kty": "oct", "k": "AAAA"}, "symmetric"),
        (RSA, {"d": "AQAB"}, "private"),
        (RSA, {"n": None}, "n is missing"),
        (RSA, {"n": 5}, "n is missing"),
        (RSA, {"e": "AQ=="}, "base64url"),
        (RSA, {"kty": "rsa"}, "type"),
        (EC, {"x": "AAAA"}, "curve"),
    ],
)
def test_a_key_that_is_weak_or_for_something_else_is_refused(
    key: SigningKey, members: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_jwk(key.jwk(**members))


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_short_rsa_key_is_refused(bits: int) -> None:
    weak = SigningKey("weak", private=rsa.generate_private_key(65537, bits))
    with pytest.raises(ValueError, match=f"{bits} bits"):
        parse_jwk(weak.jwk())


def test_an_rsa_key_with_exponent_one_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (cryptography words it)
        parse_jwk(RSA.jwk(e="AQ"))


def test_a_kid_that_two_keys_have_is_refused_and_the_others_stay() -> None:
    keys = parse_jwks(jwks(RSA, EC, {**SigningKey("x").jwk(), "kid": "ec"}))
    assert set(keys.keys) == {"rsa"}
    assert "more than one" in keys.refused["ec"]


def test_three_keys_of_one_kid_are_refused_too() -> None:
    keys = parse_jwks(jwks(RSA, *({**EC.jwk(), "kid": "same"} for _ in range(3))))
    assert set(keys.keys) == {"rsa"}


def test_a_bad_key_is_refused_alone_and_its_kid_says_why() -> None:
    keys = parse_jwks(jwks(RSA, {**EC.jwk(), "use": "enc"}, {"kid": "odd"}, {"kty": "RSA"}))
    assert set(keys.keys) == {"rsa"}
    assert set(keys.refused) == {"ec", "odd"}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[1]}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        json.dumps({"keys": [RSA.jwk(kid=str(at)) for at in range(101)]}).encode(),
    ],
)
def test_a_document_that_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_jwks(document)
