"""A session: one workload's calls, from its first token to its last. A value, and the ledger entries that it
is kept in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from callgate.identity.identity import Identity
from callgate.identity.verifier import Verified
from callgate.journal import Entry, Record

State = Literal["open", "closed", "revoked"]
OPENING = ("session.opened", "session.renewed")
ENDING = ("session.closed", "session.revoked")
HANDLE_PREFIX = "cgs_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """`identity` is who its calls are made by, as it stands after the latest token.

    `handle_sha256` (hex) is of the opaque handle that stands for it; None for the implicit session of a bare
    token. `cap_at` is when renewing ends. `tokens` are the tokens it was given, with their expiry (all times
    are seconds since the epoch); a revocation covers them too. `anchors` are the claims that must stay the
    same.
    """

    identity: Identity
    anchors: Mapping[str, Any] = field(repr=False)
    opened_at: float
    cap_at: float
    source_ip: str
    tokens: Mapping[str, float] = field(repr=False)
    handle_sha256: str | None = None
    renewals: int = 0
    state: State = "open"

    @property
    def id(self) -> str:
        """The session's id, as calls carry it."""
        return self.identity.session

    @property
    def forgotten_at(self) -> float:
        """When nothing can refer to it any more."""
        return max(self.cap_at, self.identity.expires_at)

    def renewed(self, verified: Verified, now: float) -> Session:
        """The session after a fresh token of the same principal."""
        identity = replace(
            self.identity,
            claims=verified.claims,
            token_id=verified.token_id,
            expires_at=min(verified.expires_at, self.cap_at),
        )
        valid = {name: expiry for name, expiry in self.tokens.items() if expiry > now}
        tokens = {**valid, verified.token_id: verified.expires_at}
        return replace(self, identity=identity, tokens=tokens, renewals=self.renewals + 1)

    def is_of(self, verified: Verified) -> bool:
        """Whether `verified` is the same workload: issuer, subject, principal and anchors."""
        mine = self.identity
        return (mine.issuer, mine.subject, mine.principal_id, self.anchors) == (
            verified.issuer.name,
            verified.subject,
            verified.principal_id,
            verified.anchors,
        )

    def record(self, kind: str, step: str, **more: Any) -> Record:
        """The session as one line of the ledger: all of it, so that its last entry is what it is."""
        who = self.identity
        body = {
            "sessionId": who.session,
            "principalId": who.principal_id,
            "issuer": who.issuer,
            "issuerUrl": who.issuer_url,
            "subject": who.subject,
            "claims": dict(who.claims),
            "anchors": dict(self.anchors),
            "tokenId": who.token_id,
            "tokens": dict(self.tokens),
            "openedAt": self.opened_at,
            "expiresAt": who.expires_at,
            "capAt": self.cap_at,
            "implicit": self.handle_sha256 is None,
            "handleSha256": self.handle_sha256,
            "renewals": self.renewals,
            "sourceIPAddress": self.source_ip,
            "unverifiedContext": dict(who.unverified_context),
            **more,
        }
        return Record(kind, body, subject=who.session, step=step)


def session_from(entry: Entry) -> Session:
    """The session that a ledger entry holds."""
    body = entry.body
    states: Mapping[str, State] = {"session.closed": "closed", "session.revoked": "revoked"}
    return Session(
        identity=Identity(
            issuer=body["issuer"],
            issuer_url=body["issuerUrl"],
            subject=body["subject"],
            principal_id=body["principalId"],
            session=body["sessionId"],
            expires_at=body["expiresAt"],
            token_id=body["tokenId"],
            claims=body["claims"],
            unverified_context=body["unverifiedContext"],
        ),
        anchors=body["anchors"],
        opened_at=body["openedAt"],
        cap_at=body["capAt"],
        source_ip=body["sourceIPAddress"],
        tokens=body["tokens"],
        handle_sha256=body["handleSha256"],
        renewals=body["renewals"],
        state=states.get(entry.kind, "open"),
    )


def open_session(
    verified: Verified,
    *,
    now: float,
    cap: float,
    source_ip: str,
    session_id: str | None = None,
    handle: str | None = None,
    context: Mapping[str, Any] | None = None,
) -> Session:
    """A new session. Without a handle it is the implicit one of a bare token: it ends with it, and its id
    follows from it.
    """
    cap_at = verified.expires_at if handle is None else now + cap
    return Session(
        identity=identity_of(
            verified, session_id or implicit_id(verified), min(verified.expires_at, cap_at), context or {}
        ),
        anchors=verified.anchors,
        opened_at=now,
        cap_at=cap_at,
        source_ip=source_ip,
        tokens={verified.token_id: verified.expires_at},
        handle_sha256=None if handle is None else handle_hash(handle),
    )


def identity_of(
    verified: Verified, session_id: str, expires_at: float, context: Mapping[str, Any]
) -> Identity:
    """The identity that a token proves, in a session."""
    return Identity(
        issuer=verified.issuer.name,
        issuer_url=verified.issuer.url,
        subject=verified.subject,
        principal_id=verified.principal_id,
        session=session_id,
        expires_at=expires_at,
        token_id=verified.token_id,
        claims=verified.claims,
        unverified_context=context,
    )


def implicit_id(verified: Verified) -> str:
    """The id of the session of a bare token."""
    return "tok-" + hashlib.sha256(verified.token_id.encode()).hexdigest()[:24]


def handle_hash(handle: str) -> str:
    """SHA-256 (hex) of a handle: it has 256 random bits, so a plain hash does not give it away."""
    return hashlib.sha256(handle.encode()).hexdigest()
