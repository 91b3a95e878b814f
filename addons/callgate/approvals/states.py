"""What can become of a hold, of an attempt that waits on one, and of a grant: the tables.

The rules that the tables follow:

1. A hold is a question. It is answered once: approve, deny and expire share the step `decided`, so of two
   answers that race one is in the log and the other is told so.
2. One approval lets one call pass. What becomes of it (a call used it, it lapsed at its deadline, somebody
   revoked it) shares the step `spent:n`, so a call that is about to leave and a revocation cannot both win.
3. A used approval comes back only on proof that nothing executed; then it can be spent once more, as
   `spent:n+1`.
4. Everything else is final: a second question about the same call is a new hold.
5. An attempt is one request on the wire. It ends once: released (an approval let it pass), ended (we
   answered it) or abandoned (nobody was left to answer).
6. A grant is given once and ends once, by time or by a person.

Each row of a table is one insert into the ledger, unique by (subject, step).
"""

from __future__ import annotations

from collections.abc import Mapping

Table = Mapping[str, Mapping[str, str]]

HOLD: Table = {
    "new": {"open": "pending"},
    "pending": {"endorse": "pending", "approve": "approved", "deny": "denied", "expire": "expired"},
    "approved": {"use": "used", "lapse": "lapsed", "revoke": "revoked"},
    "used": {"return": "approved"},
    "denied": {},
    "expired": {},
    "lapsed": {},
    "revoked": {},
}

ATTEMPT: Table = {
    "new": {"wait": "waiting"},
    "waiting": {"release": "released", "end": "ended", "abandon": "abandoned"},
    "released": {},
    "ended": {},
    "abandoned": {},
}

GRANT: Table = {
    "new": {"give": "given"},
    "given": {"lapse": "lapsed", "revoke": "revoked"},
    "lapsed": {},
    "revoked": {},
}

# Event -> (kind of the ledger entry, step). `{n}` counts how often the approval is spent, `{person}` is who
# endorses.
HOLD_RECORDS: Mapping[str, tuple[str, str]] = {
    "open": ("hold.opened", "opened"),
    "endorse": ("hold.approval", "approval:{person}"),
    "approve": ("hold.approved", "decided"),
    "deny": ("hold.denied", "decided"),
    "expire": ("hold.expired", "decided"),
    "use": ("hold.used", "spent:{n}"),
    "lapse": ("hold.lapsed", "spent:{n}"),
    "revoke": ("hold.revoked", "spent:{n}"),
    "return": ("hold.returned", "returned:{n}"),
}

# An attempt's subject is the call's id, which has steps of its own (`intent`, `end`): hence the prefix.
ATTEMPT_RECORDS: Mapping[str, tuple[str, str]] = {
    "wait": ("attempt.waiting", "attempt:waiting"),
    "release": ("attempt.released", "attempt:end"),
    "end": ("attempt.ended", "attempt:end"),
    "abandon": ("attempt.abandoned", "attempt:end"),
}

GRANT_RECORDS: Mapping[str, tuple[str, str]] = {
    "give": ("grant.given", "given"),
    "lapse": ("grant.lapsed", "ended"),
    "revoke": ("grant.revoked", "ended"),
}

HOLD_KINDS = tuple(kind for kind, _ in HOLD_RECORDS.values())
ATTEMPT_KINDS = tuple(kind for kind, _ in ATTEMPT_RECORDS.values())
GRANT_KINDS = tuple(kind for kind, _ in GRANT_RECORDS.values())


class IllegalTransition(Exception):
    """The table has no such row. It says that our code is wrong, never that a person or a client is."""


def after(table: Table, state: str, event: str) -> str:
    """The state that follows `state` upon `event`. Raises IllegalTransition."""
    try:
        return table[state][event]
    except KeyError:
        raise IllegalTransition(f"{event!r} in state {state!r}") from None
