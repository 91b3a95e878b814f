"""What the admin API takes and gives about approvals: requests are checked by it, answers described."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Moment = str
"""ISO 8601 in UTC."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(_Model):
    """What a person says with a verdict."""

    reason: str = Field("", max_length=1000)


class Terms(_Model):
    """What one rule demands; `missing` counts the approvals that it still lacks."""

    rule: str
    by: list[str]
    count: int
    missing: int
    grantSeconds: float | None = Field(
        description="How long an approval covers further calls under the rule."
    )


class Given(_Model):
    """One person's approval."""

    person: str
    groups: list[str]
    via: str = Field(description="`unix:USER`, `token`, `oidc` or `mitmweb`.")
    reason: str
    time: Moment


class Resource(_Model):
    """A pair of IAM action and resource that the call needs."""

    action: str
    ARN: str
    determined: bool


class Approval(_Model):
    """A hold: the question put to people, and what became of it."""

    id: str
    state: Literal["pending", "approved", "denied", "expired", "used", "lapsed", "revoked"]
    openedAt: Moment
    deadline: Moment
    secondsLeft: int
    issuer: str
    principalId: str
    requestedBy: list[str] = Field(description="The people behind the job, as verified claims name them.")
    callId: str
    sessionId: str
    service: str
    operation: str
    region: str | None
    account: str | None
    resources: list[Resource]
    summary: dict[str, Any] = Field(description="What else is known of the call; parameters are redacted.")
    terms: list[Terms]
    approvals: list[Given]
    grants: list[str] = Field(description="Grants through which it was approved.")
    by: str | None = Field(description="Who changed it last.")
    via: str
    reason: str
    usedBy: str | None = Field(description="The call that used the approval.")
    attemptsWaiting: int
    fingerprint: str


class Approvals(_Model):
    """Holds, oldest first."""

    approvals: list[Approval]


class Grant(_Model):
    """An approval that covers the requester's further calls under one rule."""

    id: str
    grantId: str
    holdId: str
    issuer: str
    principalId: str
    requestedBy: list[str]
    rule: str
    terms: dict[str, Any] = Field(description="The rule's terms when the grant was given.")
    ruleSet: str
    until: Moment
    givenBy: list[str]
    secondsLeft: int


class Grants(_Model):
    """Grants in force."""

    grants: list[Grant]


class Revoked(BaseModel):
    """The grant or hold that was taken back."""

    id: str
    state: Literal["revoked"]


class Event(BaseModel):
    """Something happened to a hold or a grant; `event` is the kind of its ledger entry."""

    event: str
    time: Moment
    approval: Approval | None = None
    grant: dict[str, Any] | None = None


class DeadLetter(_Model):
    """An event that a webhook did not take, and the last error."""

    webhook: str
    event: str
    about: str | None = Field(description="Id of the hold or grant.")
    time: Moment
    tries: int
    error: str


class Undelivered(_Model):
    """Events that webhooks did not take, newest last."""

    undelivered: list[DeadLetter]


class Me(_Model):
    """The person who asks."""

    name: str
    groups: list[str]
    via: str


class Document(BaseModel):
    """An OpenAPI 3.1 document."""

    openapi: Literal["3.1.0"]


class Error(_Model):
    """Why a request was refused; `error` is a reason code."""

    error: str
    message: str
