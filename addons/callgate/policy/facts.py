"""What a rule is judged against: identity, call and moment, and how a claim reads in a rule."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callgate.call import Call
from callgate.decision import Mode
from callgate.identity.identity import Identity

IDENTITY_NAMES = ("issuer", "issuer_url", "subject", "principal_id")
"""What rules may ask of an identity besides its claims; a claim of such a name is never looked at."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When and from where a call is judged, and in which mode the gateway stands. `now` is an aware time."""

    now: dt.datetime
    source_ip: str | None = None
    mode: Mode = "enforce"


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a rule may look at."""

    identity: Identity
    call: Call
    moment: Moment


def claim_texts(identity: Identity, name: str) -> tuple[str, ...] | None:
    """The claim `name` as texts (a list gives one each); None if it is absent or cannot be compared."""
    if name in IDENTITY_NAMES:
        return (getattr(identity, name),)
    value = identity.claims.get(name)
    if isinstance(value, str):
        return (value,)
    items = value if isinstance(value, list | tuple) else [value]
    texts = tuple(text for item in items if (text := _text(item)) is not None)
    return texts if len(texts) == len(items) else None


def claim_literal(identity: Identity, name: str) -> str | None:
    """What `${principal.name}` stands for; None if the claim is absent, empty or not one single value."""
    texts = claim_texts(identity, name)
    return texts[0] if texts and len(texts) == 1 and texts[0] else None


def _text(value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case str() | int():
            return str(value)
    return None


def identity_of(principal: Mapping[str, Any]) -> Identity:
    """An identity for trying rules out, from names and claims in one flat table, as in a rule's `principal`.

    Claims may also stand in a table `claims`. Nothing about it has been verified. Raises ValueError.
    """
    claims = principal.get("claims", {})
    if not isinstance(claims, Mapping):
        raise ValueError("claims is a table of claim names and values")
    claims = {**claims, **{name: value for name, value in principal.items() if name != "claims"}}
    names = {"issuer": "", "issuer_url": "", "subject": claims.get("sub", "")}
    names |= {name: claims.pop(name) for name in IDENTITY_NAMES if name in claims}
    if not all(isinstance(value, str) for value in names.values()):
        raise ValueError(f"{', '.join(names)} are texts")
    names.setdefault("principal_id", f"{names['issuer']}:{names['subject']}")
    return Identity(session="", expires_at=float("inf"), token_id="", claims=claims, **names)
