"""The facade of this room: from a credential to an Identity, and whether that Identity still holds."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from callgate.call import Refusal
from callgate.identity.context import clean_context, read_context
from callgate.identity.fetch import Fetch, fetch
from callgate.identity.identity import Identity
from callgate.identity.sessions import HANDLE_PREFIX, Session, identity_of, implicit_id, open_session
from callgate.identity.settings import IdentitySettings
from callgate.identity.store import SessionStore
from callgate.identity.tokens import refuse
from callgate.identity.verifier import TokenVerifier, Verified
from callgate.journal import Journal

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
_SUBJECT_TYPES = frozenset(f"urn:ietf:params:oauth:token-type:{kind}" for kind in ("jwt", "id_token"))


class Authenticator:
    """Tokens and session handles in, identities out. All methods run on one event loop and none blocks it."""

    def __init__(
        self,
        settings: IdentitySettings,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.time,
        fetch: Fetch = fetch,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._verifier = TokenVerifier(settings, fetch, clock)
        self._store = SessionStore(journal, limit=settings.max_sessions, clock=clock)
        self._on_revoked: list[Callable[[str], None]] = []

    async def start(self) -> None:
        """Restore sessions from the journal and begin to fetch keys; waits for no issuer."""
        self._store.restore()
        self._verifier.start()

    async def close(self) -> None:
        """End all fetches. Sessions stay as they are."""
        await self._verifier.close()

    async def identify(self, credential: str, *, source_ip: str) -> Identity:
        """Whose `credential` this is: a token or a session handle, used from `source_ip`.

        An expired, closed or revoked one still says whose it is (`check` then refuses it). Raises Refusal:
        407 if it cannot be verified, 403 `session-moved` if it may be used from one address only, 503
        `too-many-sessions`.
        """
        if credential.startswith(HANDLE_PREFIX):
            session = self._store.by_handle(credential)
            if session is None:
                raise refuse("session-unknown", "There is no session with this handle.")
        else:
            verified = await self._verifier.verify(credential)
            known = self._store.get(implicit_id(verified))
            over = verified.expires_at <= self._clock() or self._store.token_revoked(verified.token_id)
            if known is None and over:
                return identity_of(verified, implicit_id(verified), verified.expires_at, {})
            session = known or await self._store.open(
                open_session(verified, now=self._clock(), cap=self._cap(verified), source_ip=source_ip)
            )
        await self._check_place(session, source_ip)
        return session.identity

    def check(self, identity: Identity) -> Identity:
        """`identity` as it stands at this moment. Cheap; for every request and every release of a hold.

        Raises Refusal (403): `token-expired`, `token-revoked`, `session-expired`, `session-closed`,
        `session-revoked`.
        """
        session = self._store.get(identity.session)
        if session is not None and session.state != "open":
            raise Refusal(f"session-{session.state}", f"The session was {session.state}.")
        if session is None and self._store.token_revoked(identity.token_id):
            raise Refusal("token-revoked", "A session of this token was revoked.")
        current = session.identity if session else identity
        if current.expires_at <= self._clock():
            if session is None or session.handle_sha256 is None:
                raise Refusal("token-expired", "The token has expired.")
            raise Refusal("session-expired", "The session has expired: no fresh token renewed it.")
        if session is None:
            raise Refusal("session-ended", "The session has ended.")
        return current

    async def exchange(self, form: Mapping[str, str], *, source_ip: str) -> dict[str, Any]:
        """Open a session for a token: RFC 8693's request as `form`, its answer as JSON.

        `callgate_context` in the form is a JSON object of what the client says of itself. Raises Refusal with
        status 400 (`invalid_request`, `context-malformed`), 401 for a token that is not good, or 503.
        """
        if form.get("grant_type") != _GRANT:
            raise Refusal("invalid_request", "grant_type must be token-exchange.", status=400)
        if form.get("requested_token_type", _ACCESS_TOKEN) != _ACCESS_TOKEN:
            raise Refusal("invalid_request", "requested_token_type must be access_token.", status=400)
        said = form.get("callgate_context")
        context = read_context(said.encode("utf-8", "surrogatepass")) if said else clean_context({})
        verified = await self._fresh(form)
        handle = HANDLE_PREFIX + secrets.token_urlsafe(32)
        session = await self._store.open(
            open_session(
                verified,
                now=self._clock(),
                cap=self._cap(verified),
                source_ip=source_ip,
                session_id="ses-" + secrets.token_hex(12),
                handle=handle,
                context=context,
            )
        )
        return {"access_token": handle, **self._answer(session)}

    async def renew(self, handle: str, form: Mapping[str, str], *, source_ip: str) -> dict[str, Any]:
        """Extend the session of `handle` with the fresh `subject_token` in `form`.

        Answers as `exchange` does, without the handle. Raises Refusal: 401 for a handle or token that is not
        good, 403 for a token of another principal or a session that has ended or reached its cap.
        """
        session = self._session(handle)
        await self._check_place(session, source_ip)
        verified = await self._fresh(form)
        if not session.is_of(verified):
            raise Refusal("principal-changed", "The fresh token is not of the session's principal.")
        if session.cap_at <= self._clock():
            raise Refusal("session-capped", "The session has reached its longest life.")
        return self._answer(await self._store.renew(session, verified))

    async def close_session(self, handle: str, *, source_ip: str) -> None:
        """Close the session of `handle`: its job is done. Raises Refusal as `renew` does."""
        session = self._session(handle)
        await self._check_place(session, source_ip)
        await self._store.end(session, "closed")

    async def revoke(self, session_id: str, by: str) -> dict[str, Any]:
        """Revoke a session in the name of the operator `by`, with the tokens that it was given and their
        sessions.

        In force when this returns and even if it raises for the journal (Refusal, 503). Raises Refusal 404 or
        409.
        """
        session = self._store.get(session_id)
        if session is None:
            raise Refusal("session-unknown", f"There is no session {session_id}.", status=404)
        if session.state == "revoked":
            raise Refusal("session-ended", "The session has been revoked already.", status=409)
        sessions = [session, *self._store.sharing_tokens(session)]
        ending = [self._store.end(each, "revoked", by) for each in sessions]
        results = await asyncio.gather(*ending, return_exceptions=True)
        for each in sessions:
            for callback in self._on_revoked:
                callback(each.id)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return {"sessionId": session_id, "state": "revoked", "revoked": [each.id for each in sessions]}

    def on_revoked(self, callback: Callable[[str], None]) -> None:
        """Have `callback(session_id)` called when a session is revoked, so that its
        connections can be cut.
        """
        self._on_revoked.append(callback)

    def sessions(self) -> list[dict[str, Any]]:
        """Every session in memory, oldest first, as plain JSON (times are seconds since the epoch)."""
        now = self._clock()
        return [_described(session, now) for session in sorted(self._store, key=lambda each: each.opened_at)]

    async def _fresh(self, form: Mapping[str, str]) -> Verified:
        if form.get("subject_token_type") not in _SUBJECT_TYPES or not form.get("subject_token"):
            raise Refusal("invalid_request", "subject_token and its type (jwt) are needed.", status=400)
        try:
            verified = await self._verifier.verify(form["subject_token"])
        except Refusal as refusal:
            raise Refusal(refusal.code, refusal.detail, status=401) from None
        if verified.expires_at <= self._clock():
            raise Refusal("token-expired", "The token has expired.", status=401)
        if self._store.token_revoked(verified.token_id):
            raise Refusal("token-revoked", "A session of this token was revoked.", status=401)
        return verified

    def _session(self, handle: str) -> Session:
        session = self._store.by_handle(handle)
        if session is None:
            raise Refusal("session-unknown", "There is no session with this handle.", status=401)
        if session.state != "open":
            raise Refusal(f"session-{session.state}", f"The session was {session.state}.")
        return session

    async def _check_place(self, session: Session, source_ip: str) -> None:
        if await self._store.seen(session, source_ip) and self._settings.second_address == "refuse":
            raise Refusal("session-moved", "The token or session is in use from another address.")

    def _cap(self, verified: Verified) -> float:
        cap = verified.issuer.session_cap
        return self._settings.session_cap if cap is None else cap

    def _answer(self, session: Session) -> dict[str, Any]:
        return {
            "issued_token_type": _ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": max(0, int(session.identity.expires_at - self._clock())),
            "callgate_session": session.id,
            "callgate_principal": session.identity.principal_id,
            "callgate_cap_in": max(0, int(session.cap_at - self._clock())),
        }


def _described(session: Session, now: float) -> dict[str, Any]:
    expired = session.state == "open" and session.identity.expires_at <= now
    return {
        "sessionId": session.id,
        "state": "expired" if expired else session.state,
        "principalId": session.identity.principal_id,
        "issuer": session.identity.issuer,
        "implicit": session.handle_sha256 is None,
        "openedAt": session.opened_at,
        "expiresAt": session.identity.expires_at,
        "capAt": session.cap_at,
        "renewals": session.renewals,
        "sourceIPAddress": session.source_ip,
        "claims": dict(session.identity.claims),
        "unverifiedContext": dict(session.identity.unverified_context),
    }
