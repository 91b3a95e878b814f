"""From a token's text to what it proves: issuer, signature, registered claims, the profile's claims, the
principal.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from callgate.identity.fetch import Fetch
from callgate.identity.jwk import KeySet
from callgate.identity.keys import IssuerKeys
from callgate.identity.profiles.profile import REGISTERED, scalar_or_texts
from callgate.identity.settings import ClaimPath, IdentitySettings, IssuerSettings
from callgate.identity.tokens import (
    check_registered,
    is_text,
    parse_token,
    refuse,
    token_id,
    verify_signature,
)

log = logging.getLogger(__name__)

MAX_CACHED = 8192
"""Verified tokens kept, so that the next use of one costs a hash instead of a signature."""
_MAX_REPORTED = 1000
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token proves, whether or not it has expired. `anchors` must not change when a session is
    renewed.
    """

    issuer: IssuerSettings = field(repr=False)
    subject: str
    principal_id: str
    claims: Mapping[str, Any] = field(repr=False)
    anchors: Mapping[str, Any] = field(repr=False)
    token_id: str
    expires_at: float
    key_set: KeySet = field(repr=False)


class TokenVerifier:
    """Verifies tokens of the configured issuers; `clock` gives seconds since the epoch."""

    def __init__(self, settings: IdentitySettings, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._issuers = {
            issuer.url: (issuer, IssuerKeys(issuer, settings, fetch, clock)) for issuer in settings.issuers
        }
        self._cache: OrderedDict[bytes, Verified] = OrderedDict()
        self._reported: set[tuple[str, str]] = set()

    def start(self) -> None:
        """Begin to fetch every issuer's keys; nobody waits for it."""
        for _, keys in self._issuers.values():
            keys.refresh_soon()

    async def close(self) -> None:
        """End all fetches."""
        await asyncio.gather(*(keys.close() for _, keys in self._issuers.values()))

    async def verify(self, token: str) -> Verified:
        """What `token` proves. Raises Refusal (407) with a `token-…` code, or `issuer-unavailable`."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if cached := self._cached(digest):
            return cached
        parsed = parse_token(token)
        claims = parsed.unverified_claims()
        said = claims.get("iss")
        if not isinstance(said, str) or said not in self._issuers:
            raise refuse("token-issuer", "The token's issuer is not one that this gateway trusts.")
        issuer, keys = self._issuers[said]
        if parsed.algorithm not in issuer.algorithms:
            raise refuse("token-algorithm", "The token's alg is not the one that its issuer and key use.")
        key, key_set = await keys.find(parsed.kid)
        verify_signature(parsed, key, issuer.algorithms)
        subject, expires = check_registered(
            claims,
            audience=issuer.audience,
            max_life=issuer.max_token_life,
            leeway=self._settings.leeway,
            now=self._clock(),
        )
        known = checked_claims(claims, issuer)
        verified = Verified(
            issuer=issuer,
            subject=subject,
            principal_id=principal_id(known, issuer),
            claims=known,
            anchors={name: known[name] for name in issuer.kind.anchors if name in known},
            token_id=token_id(claims, issuer.name, parsed),
            expires_at=float(expires),
            key_set=key_set,
        )
        self._report_unknown(claims, issuer)
        self._cache[digest] = verified
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return verified

    def _cached(self, digest: bytes) -> Verified | None:
        """The earlier result for a token, as long as its issuer still has the keys that it was
        verified with.
        """
        found = self._cache.get(digest)
        if found is None:
            return None
        _, keys = self._issuers[found.issuer.url]
        if keys.current is not found.key_set:
            del self._cache[digest]
            return None
        self._cache.move_to_end(digest)
        return found

    def _report_unknown(self, claims: Mapping[str, Any], issuer: IssuerSettings) -> None:
        profile = issuer.kind
        paths = [*profile.paths.values(), *issuer.claims.values(), *issuer.optional_claims.values()]
        known = REGISTERED | profile.ignored | {path if isinstance(path, str) else path[0] for path in paths}
        for name in claims.keys() - known - profile.required.keys() - profile.optional.keys():
            if (issuer.name, name) not in self._reported and len(self._reported) < _MAX_REPORTED:
                self._reported.add((issuer.name, name))
                log.info("issuer %s: its profile does not know the claim %.64r", issuer.name, name)


def checked_claims(claims: Mapping[str, Any], issuer: IssuerSettings) -> dict[str, Any]:
    """The claims that rules may use, under their names in rules. Raises Refusal (`token-claims`)."""
    profile = issuer.kind
    known: dict[str, Any] = {"sub": claims["sub"]}
    wanted: list[tuple[str, ClaimPath, Callable[[Any], None], bool]] = [
        *((name, profile.paths.get(name, name), check, True) for name, check in profile.required.items()),
        *((name, profile.paths.get(name, name), check, False) for name, check in profile.optional.items()),
        *((name, path, scalar_or_texts, True) for name, path in issuer.claims.items()),
        *((name, path, scalar_or_texts, False) for name, path in issuer.optional_claims.items()),
    ]
    for name, path, check, needed in wanted:
        value = _at(claims, path)
        if value is None or value is _MISSING or value == "":
            if needed:
                raise refuse("token-claims", f"The token has no {name}.")
            continue
        try:
            check(value)
        except ValueError as error:
            raise refuse("token-claims", f"The token's {name} {error}.") from None
        known[name] = value
    for name, values in issuer.require.items():
        if not any(type(value) is type(known.get(name)) and value == known.get(name) for value in values):
            raise refuse("token-claims", f"The token's {name} is not one that this issuer is trusted for.")
    try:
        profile.consistent(known, issuer)
    except ValueError as error:
        raise refuse("token-claims", f"The token's claims do not hold: {error}.") from None
    return known


def principal_id(claims: Mapping[str, Any], issuer: IssuerSettings) -> str:
    """The stable name of the workload, which begins with its issuer's name."""
    name = f"{issuer.name}:{issuer.kind.principal(claims, issuer)}"
    if not is_text(name):
        raise refuse("token-claims", "The token's claims make no usable principal.")
    return name


def _at(claims: Mapping[str, Any], path: ClaimPath) -> Any:
    value: Any = claims
    for step in (path,) if isinstance(path, str) else path:
        value = value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value
