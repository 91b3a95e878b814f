"""Who is calling, once it has been proved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A verified workload.

    `issuer` is the name that the configuration gives to the issuer, `issuer_url` its `iss`. `principal_id` is
    stable for the workload (`github:acme/infra:environment:production`) and is what people read. `claims` are
    the verified claims that rules may use. `session` is the session that the call belongs to. `expires_at` is
    in seconds since the epoch. `token_id` tells two tokens apart (issuer and jti, or a hash).
    `unverified_context` is what the client said of itself. No token is kept here.
    """

    issuer: str
    issuer_url: str
    subject: str
    principal_id: str
    session: str
    expires_at: float
    token_id: str
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    unverified_context: Mapping[str, Any] = field(default_factory=dict, repr=False)
