"""All sessions: in memory for every request, in the journal for every change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

from callgate.call import Refusal
from callgate.identity.sessions import ENDING, OPENING, Session, handle_hash, session_from
from callgate.identity.verifier import Verified
from callgate.journal import Journal, Record, StepTaken

_MAX_ADDRESSES = 16
_SWEEP_FROM = 1000


class SessionStore:
    """Opens, renews and ends sessions. A change that gives something is journalled first, one that takes
    something last.
    """

    def __init__(self, journal: Journal, *, limit: int, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._limit = limit
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._by_handle: dict[str, str] = {}
        self._addresses: dict[str, set[str]] = {}
        self._opening: dict[str, asyncio.Future[None]] = {}
        self._revoked_tokens: dict[str, float] = {}
        self._sweep_at = _SWEEP_FROM

    def restore(self) -> None:
        """Read back what the journal holds. An ended session stays ended, whatever was written after."""
        now = self._clock()
        for kinds in (OPENING, ENDING):
            for entry in self._journal.last_entries(kinds):
                session = session_from(entry)
                if session.forgotten_at > now:
                    self._keep(session)
                if session.state == "revoked":
                    self._revoked_tokens.update(session.tokens)

    def get(self, session_id: str) -> Session | None:
        """The session, whatever its state."""
        return self._sessions.get(session_id)

    def by_handle(self, handle: str) -> Session | None:
        """The session that `handle` stands for, whatever its state."""
        return self._sessions.get(self._by_handle.get(handle_hash(handle), ""))

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def sharing_tokens(self, session: Session) -> list[Session]:
        """Other open sessions that were given one of the tokens of `session`."""
        return [
            each
            for each in self
            if each.state == "open" and each.id != session.id and each.tokens.keys() & session.tokens.keys()
        ]

    def token_revoked(self, token_id: str) -> bool:
        """Whether a session that was given this token has been revoked."""
        return token_id in self._revoked_tokens

    async def open(self, session: Session) -> Session:
        """Keep a new session; one that is being opened or open already under its id wins.

        That its record is there already means that an earlier try was given up while it was being written.
        """
        while pending := self._opening.get(session.id):
            await asyncio.wait([pending])
        if known := self._sessions.get(session.id):
            return known
        self._make_room()
        pending = self._opening[session.id] = asyncio.get_running_loop().create_future()
        try:
            with contextlib.suppress(StepTaken):
                await self._journal.append(session.record("session.opened", "opened"))
        finally:
            del self._opening[session.id]
            pending.set_result(None)
        if self.token_revoked(session.identity.token_id):
            session = replace(session, state="revoked")
        self._keep(session)
        return session

    async def renew(self, session: Session, verified: Verified) -> Session:
        """Extend an open session with a fresh token; one that ends no later changes nothing.

        Raises Refusal if the session ended meanwhile.
        """
        session = self._open_still(session)
        if verified.expires_at <= session.identity.expires_at:
            return session
        renewed = session.renewed(verified, self._clock())
        with contextlib.suppress(StepTaken):
            await self._journal.append(renewed.record("session.renewed", f"renewed-{verified.token_id}"))
        if self._open_still(session).identity.expires_at < renewed.identity.expires_at:
            self._sessions[session.id] = renewed
        return self._sessions[session.id]

    async def end(self, session: Session, state: Literal["closed", "revoked"], by: str | None = None) -> None:
        """Close or revoke (`by` an operator): at once in memory, then in the journal."""
        self._sessions[session.id] = ended = replace(session, state=state)
        if state == "revoked":
            self._revoked_tokens.update(session.tokens)
        try:
            await self._journal.append(ended.record(f"session.{state}", state, **({"by": by} if by else {})))
        except StepTaken:
            raise Refusal("session-ended", "The session has ended already.", status=409) from None

    async def seen(self, session: Session, source_ip: str) -> bool:
        """Note where a session is used from; whether this is another place than the first."""
        if source_ip == session.source_ip:
            return False
        addresses = self._addresses.setdefault(session.id, set())
        if source_ip not in addresses and len(addresses) < _MAX_ADDRESSES:
            addresses.add(source_ip)
            body = {
                "sessionId": session.id,
                "principalId": session.identity.principal_id,
                "firstSourceIPAddress": session.source_ip,
                "sourceIPAddress": source_ip,
            }
            moved = Record("session.moved", body, subject=session.id, step=f"moved-{source_ip}")
            with contextlib.suppress(StepTaken):
                await self._journal.append(moved)
        return True

    def _open_still(self, session: Session) -> Session:
        current = self._sessions.get(session.id)
        if current is None or current.state != "open":
            raise Refusal("session-ended", "The session has ended.")
        return current

    def _keep(self, session: Session) -> None:
        self._sessions[session.id] = session
        if session.handle_sha256:
            self._by_handle[session.handle_sha256] = session.id

    def _make_room(self) -> None:
        """Forget what nothing refers to any more when their number doubled. Raises Refusal at the limit."""
        if len(self._sessions) >= self._sweep_at:
            self._sweep()
        if len(self._sessions) + len(self._opening) >= self._limit:
            self._sweep()
            if len(self._sessions) + len(self._opening) >= self._limit:
                raise Refusal("too-many-sessions", "No more sessions can be opened now.", status=503)

    def _sweep(self) -> None:
        now = self._clock()
        for session in [each for each in self if each.forgotten_at <= now]:
            del self._sessions[session.id]
            self._addresses.pop(session.id, None)
            self._by_handle.pop(session.handle_sha256 or "", None)
        self._revoked_tokens = {name: at for name, at in self._revoked_tokens.items() if at > now}
        self._sweep_at = max(_SWEEP_FROM, 2 * len(self._sessions))
