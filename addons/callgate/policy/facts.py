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
    """The claim `name` as texts (a list gives one each); None if it is absent or is nothing that rules can compare."""
    if name in IDENTITY_NAMES:
        return (getattr(identity, name),)
    value = identity.claims.get(name)
    if isinstance(value, str):
        return (value,)
    listed = value if isinstance(value, list | tuple) else [value]
    texts = tuple(text for item in listed if (text := _text(item)) is not None)
    return texts if len(texts) == len(listed) else None


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


IDENTITY_DEFAULTS: Mapping[str, Any] = {
    "issuer": "",
    "issuer_url": "",
    "subject": "",
    "principal_id": "",
    "session": "none",
    "expires_at": float("inf"),
    "token_id": "none",
}


def identity_of(principal: Mapping[str, Any]) -> Identity:
    """An identity for trying rules out: its names and claims in one flat table, as in a rule's `principal`.

    Claims may also stand in a table `claims`. Nothing about it has been verified.
    """
    given = dict(principal)
    claims = given.pop("claims", {})
    if not isinstance(claims, Mapping):
        raise ValueError("claims is a table of claim names and values")
    fields = {name: given.pop(name) for name in IDENTITY_NAMES if name in given}
    for name, value in fields.items():
        if not isinstance(value, str):
            raise ValueError(f"{name} is a text")
    merged = {**claims, **given}
    fields.setdefault("subject", str(merged.get("sub", "")))
    fields.setdefault("principal_id", ":".join(filter(None, (fields.get("issuer"), fields["subject"]))))
    return Identity(**{**IDENTITY_DEFAULTS, **fields}, claims=merged)
