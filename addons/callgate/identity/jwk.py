"""Public keys out of a JSON Web Key Set (RFC 7517, RFC 7518 section 6, RFC 8037), each with the algorithms it
may verify.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from callgate.identity.jose import base64url, json_object

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

_CURVES: Mapping[str, tuple[ec.EllipticCurve, str]] = {
    "P-256": (ec.SECP256R1(), "ES256"),
    "P-384": (ec.SECP384R1(), "ES384"),
    "P-521": (ec.SECP521R1(), "ES512"),
}
_RSA_ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
ALGORITHMS = _RSA_ALGORITHMS | {"ES256", "ES384", "ES512", "EdDSA"}
"""Every algorithm that an issuer can be configured with: asymmetric ones only."""

_RSA_BITS = range(2048, 8192 + 1)
_MAX_KEYS = 100
MAX_KID = 256


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key; `algorithms` are those it may be used with: its `alg` if it states one, else what its
    type permits.
    """

    kid: str
    algorithms: frozenset[str]
    public: PublicKey


@dataclass(frozen=True, slots=True)
class KeySet:
    """The usable keys of a set by `kid`, and for each `kid` that cannot be used, why."""

    keys: Mapping[str, VerificationKey]
    refused: Mapping[str, str]


def parse_jwks(octets: bytes) -> KeySet:
    """The key set in `octets`. Raises ValueError if it is no key set or holds no usable key.

    A key that is weak, private, meant for something else or whose `kid` is not unique is refused alone, so
    that one odd key does not take down an issuer.
    """
    entries = json_object(octets).get("keys")
    if not isinstance(entries, list) or len(entries) > _MAX_KEYS:
        raise ValueError(f"a key set has a list of up to {_MAX_KEYS} keys")
    keys: dict[str, VerificationKey] = {}
    refused: dict[str, str] = {}
    seen: set[str] = set()
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
            continue
        if kid in seen:
            keys.pop(kid, None)
            refused[kid] = "more than one key has this kid"
            continue
        seen.add(kid)
        try:
            keys[kid] = parse_jwk(entry)
        except ValueError as error:
            refused[kid] = str(error)
    if not keys:
        raise ValueError("; ".join(["the key set has no usable key", *refused.values()]))
    return KeySet(keys, refused)


def parse_jwk(jwk: Mapping[str, Any]) -> VerificationKey:
    """The public key that `jwk` describes. Raises ValueError with the reason if it may not
    verify signatures.
    """
    if "d" in jwk or "k" in jwk:
        raise ValueError("the key is private or symmetric")
    if jwk.get("use", "sig") != "sig":
        raise ValueError("the key's use is not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("the key's key_ops have no verify")
    public, permitted = _public_key(jwk)
    if "alg" in jwk:
        if jwk["alg"] not in permitted:
            raise ValueError("the key's alg does not fit its type")
        permitted = frozenset({jwk["alg"]})
    return VerificationKey(str(jwk.get("kid", "")), permitted, public)


def _public_key(jwk: Mapping[str, Any]) -> tuple[PublicKey, frozenset[str]]:
    try:
        match jwk.get("kty"), jwk.get("crv"):
            case "RSA", _:
                modulus = _number(jwk, "n")
                if modulus.bit_length() not in _RSA_BITS:
                    raise ValueError(f"an RSA key of {modulus.bit_length()} bits")
                return rsa.RSAPublicNumbers(_number(jwk, "e"), modulus).public_key(), _RSA_ALGORITHMS
            case "EC", str(name) if name in _CURVES:
                curve, algorithm = _CURVES[name]
                point = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), curve)
                return point.public_key(), frozenset({algorithm})
            case "OKP", "Ed25519":
                return ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x")), frozenset({"EdDSA"})
    except UnsupportedAlgorithm:
        raise ValueError("the key's type is not supported") from None
    raise ValueError("the key's type is not supported")


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    if not isinstance(value, str):
        raise ValueError(f"the key's {name} is missing")
    return base64url(value)


def _number(jwk: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_octets(jwk, name), "big")
