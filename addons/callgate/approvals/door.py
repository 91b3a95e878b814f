"""How approvers prove who they are on the admin listener: a personal token, or an OIDC token of their own
issuer.

A runner's credential opens nothing here: personal tokens have a form of their own, and the OIDC verifier
knows no issuer but the approvers'.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

from callgate.approvals.approvers import Person, person_named
from callgate.approvals.settings import ApprovalSettings
from callgate.call import Refusal
from callgate.identity import IdentitySettings
from callgate.identity.fetch import Fetch, fetch
from callgate.identity.verifier import TokenVerifier

TOKEN_PREFIX = "cgp_"
_MAX_TOKEN = 8192


def new_token() -> tuple[str, str]:
    """A fresh personal token of 256 random bits, and the hash that the configuration keeps of it."""
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    return token, token_hash(token)


def token_hash(token: str) -> str:
    """`sha256:…`. One round suffices: a random token cannot be guessed from its hash, as a password could."""
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class Door:
    """Bearer tokens in, people out."""

    def __init__(
        self, settings: ApprovalSettings, *, clock: Callable[[], float] = time.time, fetch: Fetch = fetch
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._verifier: TokenVerifier | None = None
        if settings.oidc:
            self._verifier = TokenVerifier(IdentitySettings(issuer=(settings.oidc,)), fetch, clock)

    def start(self) -> None:
        """Begin to fetch the keys of the approvers' issuer."""
        if self._verifier:
            self._verifier.start()

    async def close(self) -> None:
        """End all fetches."""
        if self._verifier:
            await self._verifier.close()

    async def bearer(self, token: str) -> Person:
        """Whose `token` it is. Raises Refusal (401; 403 for somebody who is known but is no approver)."""
        if not token or len(token) > _MAX_TOKEN:
            raise _unknown()
        if token.startswith(TOKEN_PREFIX):
            return self._personal(token)
        if self._verifier is None or self._settings.oidc is None:
            raise _unknown()
        try:
            verified = await self._verifier.verify(token)
        except Refusal as refusal:
            raise Refusal(refusal.code, refusal.detail, status=401) from None
        if verified.expires_at <= self._clock():
            raise Refusal("token-expired", "The token has expired.", status=401)
        said = verified.claims.get(self._settings.oidc_claim)
        for name, approver in self._settings.approvers.items():
            if approver.oidc_subject is not None and approver.oidc_subject == said:
                return person_named(self._settings, name, via="oidc")
        raise Refusal("not-an-approver", "The token is good, but its holder is no approver.")

    def _personal(self, token: str) -> Person:
        digest = token_hash(token)
        found = None
        for name, approver in self._settings.approvers.items():
            if approver.token_hash and hmac.compare_digest(approver.token_hash, digest):
                found = name
        if found is None:
            raise _unknown()
        return person_named(self._settings, found, via="token")


def _unknown() -> Refusal:
    return Refusal("not-authenticated", "A token of an approver is needed.", status=401)
