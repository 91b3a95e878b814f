"""The keys of one issuer, kept fresh: from a file, a JWKS URL or OpenID Connect Discovery 1.0.

One fetch is in flight at most, and at most one starts per cool-down, whatever `kid`s tokens name. While an
issuer is down its keys stay good until a stated age. Nothing here delays another issuer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from callgate.identity.fetch import MAX_ANSWER, Fetch, FetchError
from callgate.identity.jose import json_object
from callgate.identity.jwk import KeySet, VerificationKey, parse_jwks
from callgate.identity.settings import IdentitySettings, IssuerSettings, check_url
from callgate.identity.tokens import refuse

log = logging.getLogger(__name__)


class IssuerKeys:
    """`find` gives the key for a `kid`."""

    def __init__(
        self, issuer: IssuerSettings, limits: IdentitySettings, fetch: Fetch, clock: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._limits = limits
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet | None = None
        self._octets: bytes | None = None
        self._fetched_at = self._tried_at = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    @property
    def current(self) -> KeySet | None:
        """The keys that may be used now; the same object for as long as the issuer publishes the same keys.

        Keys past their refresh age are fetched anew meanwhile.
        """
        age = self._clock() - self._fetched_at
        # A clock that went back makes keys of unknown age.
        if not 0 <= age <= self._limits.keys_refresh:
            self.refresh_soon()
        return self._keys if 0 <= age <= self._limits.keys_max_age else None

    async def find(self, kid: str) -> tuple[VerificationKey, KeySet]:
        """The key `kid`, and the set that it is of. Raises Refusal (`token-key`, or `issuer-unavailable` if
        there are no keys to look in).
        """
        known = self.current
        if known is None or (kid not in known.keys and kid not in known.refused):
            if flight := self.refresh_soon():
                await asyncio.wait([flight])
            known = self.current
        if known is None:
            raise refuse("issuer-unavailable", f"The keys of issuer {self._issuer.name} are not available.")
        if kid in known.refused:
            raise refuse("token-key", f"The token's key is not usable: {known.refused[kid]}.")
        if kid not in known.keys:
            raise refuse("token-key", f"Issuer {self._issuer.name} has no key with the token's kid.")
        return known.keys[kid], known

    def refresh_soon(self) -> asyncio.Task[None] | None:
        """Start a fetch unless one runs or the cool-down does; the task to wait for, if any."""
        if self._flight is None and not 0 <= self._clock() - self._tried_at < self._limits.keys_cooldown:
            self._tried_at = self._clock()
            self._flight = asyncio.create_task(self._load())
        return self._flight

    async def close(self) -> None:
        """Give up the fetch in flight."""
        if self._flight:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    async def _load(self) -> None:
        try:
            octets = await self._read()
            if octets != self._octets:
                self._keys, self._octets = parse_jwks(octets), octets
            self._fetched_at = self._clock()
        except (FetchError, ValueError, OSError) as error:
            log.warning("keys of issuer %s: %s", self._issuer.name, error)
        finally:
            self._flight = None

    async def _read(self) -> bytes:
        issuer = self._issuer
        if issuer.keys_file:
            octets = await asyncio.to_thread(issuer.keys_file.read_bytes)
            if len(octets) > MAX_ANSWER:
                raise ValueError(f"{issuer.keys_file}: larger than {MAX_ANSWER} bytes")
            return octets
        file = issuer.bearer_file
        bearer = (await asyncio.to_thread(file.read_text)).strip() if file else None
        url = issuer.jwks_url or await self._discover(bearer)
        return await self._fetch(url, issuer.ca, bearer if issuer.jwks_url else None)

    async def _discover(self, bearer: str | None) -> str:
        where = self._issuer.url.rstrip("/") + "/.well-known/openid-configuration"
        document = json_object(await self._fetch(where, self._issuer.ca, bearer))
        if document.get("issuer") != self._issuer.url:
            raise ValueError(f"{where}: is about another issuer")
        url = document.get("jwks_uri")
        if not isinstance(url, str):
            raise ValueError(f"{where}: has no jwks_uri")
        check_url(url, "jwks_uri", loopback=self._issuer.insecure_loopback)
        return url
