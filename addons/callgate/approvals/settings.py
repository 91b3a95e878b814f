"""Settings of this room: `[approvals]` in callgate.toml."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from callgate.duration import Duration
from callgate.identity import IdentitySettings, IssuerSettings

Name = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\s:/]+$")]
EventKind = Literal[
    "hold.opened", "hold.approval", "hold.approved", "hold.denied", "hold.expired", "hold.used",
    "hold.returned", "hold.lapsed", "hold.revoked", "grant.given", "grant.lapsed", "grant.revoked",
]  # fmt: skip
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


class Webhook(BaseModel):
    """Where events are sent, `[[approvals.webhook]]`.

    The URL is `url`, or what the file `url_file` holds: with Slack and Teams it is a secret. `key_file`
    holds the secret that signs form `json` (`whsec_…`, or at least 24 bytes of text). `ca` is a PEM file
    with the authorities that the receiver is checked against, instead of the system's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    form: Literal["json", "slack", "teams"] = "json"
    url: str | None = Field(default=None, repr=False)
    url_file: Path | None = None
    key_file: Path | None = None
    ca: Path | None = None
    events: tuple[EventKind, ...] = ("hold.opened", "hold.approved", "hold.denied", "hold.expired")
    timeout: Duration = Field(default=10.0, gt=0, le=60)

    def address(self) -> str:
        """The URL. Raises ValueError if it cannot be used, OSError if it cannot be read."""
        url = self.url if self.url is not None else (self.url_file or Path()).read_text("utf-8").strip()
        parts = urlsplit(url)
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise ValueError("a webhook's URL is https (or http on the loopback)")
        if not parts.hostname or parts.username is not None or re.search(r"[\s\x00-\x1f]", url):
            raise ValueError("a webhook's URL is absolute, without user")
        return url

    def secret(self) -> bytes:
        """The key that signs form `json`. Raises ValueError, OSError."""
        assert self.key_file is not None
        text = self.key_file.read_text("utf-8").strip()
        key = base64.b64decode(text[6:], validate=True) if text.startswith("whsec_") else text.encode()
        if len(key) < 24:
            raise ValueError("a webhook's key has at least 24 bytes")
        return key

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("one of url and url_file is needed")
        if (self.key_file is None) == (self.form == "json"):
            raise ValueError("key_file: form json needs it, and no other has it")
        try:
            self.address()
            if self.key_file:
                self.secret()
        except OSError as error:
            raise ValueError(f"{error.filename}: {error.strerror}") from None
        return self


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
    webhooks: tuple[Webhook, ...] = Field(default=(), alias="webhook")

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
        names = [hook.name for hook in self.webhooks]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"webhook: two have the name {min(twice)!r}")
        if self.oidc and self.oidc_claim not in {"sub", *self.oidc.claims}:
            raise ValueError(f"oidc_claim: oidc.claims does not have {self.oidc_claim!r}")
        return self

    def check_apart(self, identity: IdentitySettings) -> None:
        """Raises ValueError if a runner's token would be one that approvers can use."""
        for issuer in identity.issuers:
            if self.oidc and (issuer.url, issuer.audience) == (self.oidc.url, self.oidc.audience):
                raise ValueError(f"oidc: issuer {issuer.name!r} of runners has the same url and audience")
