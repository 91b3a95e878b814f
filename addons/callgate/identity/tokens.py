"""JSON Web Tokens, read strictly (RFC 7515, RFC 7519, RFC 8725): parse, verify the signature, check the
registered claims.

PyJWT supplies the signature algorithms; its parsing and claim checks are too lenient for this place
(duplicate names, padding, several audiences, tokens without `exp`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import jwt.algorithms

from callgate.call import Refusal
from callgate.identity.jose import base64url, json_object
from callgate.identity.jwk import ALGORITHMS, MAX_KID, VerificationKey

MAX_TOKEN = 8192
"""Bytes. Longer tokens are refused unread."""

MAX_TEXT = 1024
"""Characters in any claim that becomes part of an identity."""

_TYPES = frozenset({"jwt", "jose"})
# Each of these would have the token say how it is to be verified or read.
_REFUSED_HEADERS = ("crit", "b64", "zip", "cty", "jku", "jwk", "x5u", "x5c")
_TIMES = range(1, 1 << 40)
_VERIFIERS = {name: jwt.algorithms.get_default_algorithms()[name] for name in ALGORITHMS}


def refuse(code: str, detail: str) -> Refusal:
    """A refusal of a credential that cannot be verified."""
    return Refusal(code, detail, status=407)


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token in its parts. Nothing here has been verified; `unverified_claims` only choose the issuer to
    ask.
    """

    algorithm: str
    kid: str
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    payload: bytes = field(repr=False)

    def unverified_claims(self) -> dict[str, Any]:
        """The claims. Raises Refusal (`token-malformed`) if the payload is not a JSON object with unique
        names.
        """
        try:
            return json_object(self.payload)
        except ValueError as error:
            raise refuse("token-malformed", f"The token's claims cannot be read: {error}.") from None


def parse_token(token: str) -> UnverifiedToken:
    """The parts of a token in JWS compact form. Raises Refusal (`token-malformed`, `token-too-large`, …)."""
    if len(token) > MAX_TOKEN:
        raise refuse("token-too-large", f"The token is longer than {MAX_TOKEN} bytes.")
    parts = token.split(".")
    if len(parts) != 3:
        raise refuse("token-malformed", "The token does not have three parts.")
    try:
        header = json_object(base64url(parts[0]))
        payload, signature = base64url(parts[1]), base64url(parts[2])
    except ValueError as error:
        raise refuse("token-malformed", f"The token cannot be read: {error}.") from None
    named = [name for name in _REFUSED_HEADERS if name in header]
    if named:
        raise refuse("token-header", f"The token's header has {named[0]}.")
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in _TYPES:
        raise refuse("token-header", "The token's typ is not JWT.")
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise refuse("token-algorithm", "The token's alg is missing or not accepted.")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise refuse("token-key", "The token's kid is missing or not usable.")
    return UnverifiedToken(algorithm, kid, f"{parts[0]}.{parts[1]}".encode(), signature, payload)


def verify_signature(token: UnverifiedToken, key: VerificationKey, algorithms: Collection[str]) -> None:
    """Raises Refusal unless `key` made the signature with one of `algorithms` that the key is
    also meant for.
    """
    if token.algorithm not in algorithms or token.algorithm not in key.algorithms:
        raise refuse("token-algorithm", "The token's alg is not the one that its issuer and key use.")
    if not _VERIFIERS[token.algorithm].verify(token.signing_input, key.public, token.signature):
        raise refuse("token-signature", "The token's signature does not verify.")


def check_registered(
    claims: Mapping[str, Any], *, audience: str, max_life: float, leeway: float, now: float
) -> tuple[str, int]:
    """`sub` and `exp` of verified `claims`, after every registered claim but `iss` was checked.

    `max_life` and `leeway` (for `iat` and `nbf` only) are in seconds. An expired token passes: whether it
    still counts is asked anew at every request. Raises Refusal (`token-audience`, `token-lifetime`,
    `token-not-yet-valid`, `token-claims`).
    """
    heard = claims.get("aud")
    if (heard[0] if isinstance(heard, list) and len(heard) == 1 else heard) != audience:
        raise refuse("token-audience", "The token is not for this gateway alone (aud).")
    issued, expires = _time(claims, "iat"), _time(claims, "exp")
    if not issued < expires <= issued + max_life:
        raise refuse("token-lifetime", f"The token lives longer than {max_life:.0f} s, or not at all.")
    if max(issued, _time(claims, "nbf") if "nbf" in claims else 0) > now + leeway:
        raise refuse("token-not-yet-valid", "The token is not valid yet (iat, nbf).")
    subject = claims.get("sub")
    if not is_text(subject):
        raise refuse("token-claims", "The token's sub is missing, too long or has control characters.")
    return subject, expires


def is_text(value: object) -> TypeGuard[str]:
    """Whether `value` is a string that may become part of an identity: not empty, bounded, printable
    throughout.
    """
    return isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable()


def token_id(claims: Mapping[str, Any], issuer: str, token: UnverifiedToken) -> str:
    """What tells this token from any other: `issuer` (its configured name), `jti` if it has one, and a hash.

    The hash is of what was signed: one token can have several signatures, and an issuer may repeat a `jti`.
    """
    digest = hashlib.sha256(token.signing_input).hexdigest()[:32]
    unique = claims.get("jti")
    if is_text(unique) and len(unique) <= 128:
        return f"{issuer}:{unique}:{digest}"
    return f"{issuer}:{digest}"


def _time(claims: Mapping[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or value not in _TIMES:
        raise refuse("token-claims", f"The token's {name} is missing or not a whole number of seconds.")
    return value
