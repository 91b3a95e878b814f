"""Settings of this room: `[approvals]` in callgate.toml."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from callgate.duration import Duration
from callgate.identity import IdentitySettings, IssuerSettings

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\s:/]+$")]
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Approver(BaseModel):
    """One person who may approve.

    `aliases` are the names under which CI systems know the person (login, e-mail, numeric id): a call that
    one of them stands behind is the person's own. `token_hash` is what `callgate approvals token NAME`
    prints. `unix_user` is their account on the gateway's host, `oidc_subject` the value of the OIDC claim
    that names them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    aliases: tuple[str, ...] = ()
    token_hash: Annotated[str, StringConstraints(pattern=_DIGEST.pattern + "$")] | None = Field(
        default=None, repr=False
    )
    unix_user: str | None = None
    oidc_subject: str | None = None


class ApprovalSettings(BaseModel):
    """How long an attempt waits, who may approve, and whose request counts as one's own.

    `local_groups` are the groups in which a user of the admin Unix socket stands who is nobody's
    `unix_user`; `*` is every group. `requester_claims` name the verified claims that tell the person behind
    a job. `resume_groups` lets mitmweb's Resume count as a verdict of those groups; empty, it counts for
    nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempt: Duration = Field(default=45.0, gt=0, le=3600)
    approvers: dict[Name, Approver] = Field(default_factory=dict)
    groups: dict[Name, tuple[Name, ...]] = Field(default_factory=dict)
    local_groups: tuple[str, ...] = ("*",)
    resume_groups: tuple[str, ...] = ()
    requester_claims: tuple[str, ...] = (
        "actor",
        "actor_id",
        "user_login",
        "user_email",
        "user_id",
        "email",
        "preferred_username",
    )
    pending_per_principal: int = Field(default=1000, ge=1)
    oidc: IssuerSettings | None = None
    oidc_claim: str = "sub"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for group, members in self.groups.items():
            for member in members:
                if member not in self.approvers:
                    raise ValueError(f"groups.{group}: {member!r} is not in approvers")
        for field in ("token_hash", "unix_user", "oidc_subject"):
            owners: dict[str, str] = {}
            for name, approver in self.approvers.items():
                value = getattr(approver, field)
                if value is None:
                    continue
                if value in owners:
                    raise ValueError(f"approvers.{name}.{field}: {owners[value]!r} has the same one")
                owners[value] = name
        if self.oidc and self.oidc_claim not in {"sub", *self.oidc.claims}:
            raise ValueError(f"oidc_claim: oidc.claims does not have {self.oidc_claim!r}")
        return self

    def check_apart(self, identity: IdentitySettings) -> None:
        """Raises ValueError if a runner's token would be one that approvers can use."""
        for issuer in identity.issuers:
            if self.oidc and (issuer.url, issuer.audience) == (self.oidc.url, self.oidc.audience):
                raise ValueError(f"oidc: issuer {issuer.name!r} of runners has the same url and audience")
