"""The configuration of identities: `[identity]` and `[[identity.issuer]]` in callgate.toml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)

from callgate.duration import Duration
from callgate.identity.jwk import ALGORITHMS
from callgate.identity.profiles import Profile, profiles
from callgate.identity.profiles.generic import PLACEHOLDER
from callgate.identity.profiles.profile import REGISTERED

ClaimName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
ClaimPath = Annotated[StrictStr, Field(min_length=1)] | Annotated[tuple[StrictStr, ...], Field(min_length=1)]
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class IssuerSettings(BaseModel):
    """One issuer that is trusted, `[[identity.issuer]]`. Durations are seconds once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=64)
    """What rules and people call it; the first part of every principal id."""
    profile: str = "generic"
    url: str = ""
    """Its `iss`, exactly. The profile's where all issuers of a kind share one."""
    audience: str = Field(min_length=1)
    """The one audience (`aud`) that a token must have."""
    algorithms: tuple[str, ...] = ()
    """Signature algorithms; by default the profile's."""
    keys_file: Path | None = None
    """A key set (RFC 7517) on disk, instead of discovery."""
    jwks_url: str | None = None
    """Where the key set is, instead of discovery."""
    ca: Path | None = None
    """PEM file with the authorities that this issuer's HTTPS is checked against, instead of the system's."""
    bearer_file: Path | None = None
    """A file with a token to fetch the keys with (a Kubernetes API server wants one)."""
    insecure_loopback: bool = False
    """Permits `http://` for an issuer on the loopback: for demonstrations and tests."""
    require: dict[ClaimName, tuple[StrictBool | StrictInt | StrictStr, ...]] = {}
    """Claims that must be present with one of these values: whole, case and all."""
    claims: dict[ClaimName, ClaimPath] = {}
    """Further claims that a token must have: name in rules -> claim, or the path to it inside objects."""
    optional_claims: dict[ClaimName, ClaimPath] = {}
    """Further claims that a token may have."""
    principal: str | None = None
    """`generic` only: what the principal id is made of, such as `${project}:${branch}`; by default `${sub}`.
    """
    allow: tuple[str, ...] = ()
    """What the profile refuses unless it is named here (`github`: `pull_request_target`)."""
    max_token_life: Duration = Field(default=0.0, gt=0)
    """The longest `exp - iat`; by default the profile's."""
    session_cap: Duration | None = None
    """The longest session; by default that of `[identity]`."""

    @property
    def kind(self) -> Profile:
        """The profile itself."""
        return profiles()[self.profile]

    @property
    def is_open(self) -> bool:
        """Whether everybody's jobs get an identity: all share this CI system, and nothing is required."""
        shared = self.url == self.kind.url and self.keys_file is None
        return shared and not self.require

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, name: str) -> str:
        if name not in profiles():
            raise ValueError("unknown profile; there are " + ", ".join(sorted(profiles())))
        return name

    @model_validator(mode="before")
    @classmethod
    def _profile_defaults(cls, values: object) -> object:
        profile = profiles().get(str(values.get("profile", "generic"))) if isinstance(values, dict) else None
        if profile is None or not isinstance(values, dict):
            return values
        defaults = {"algorithms": profile.algorithms, "max_token_life": f"{profile.max_token_life}s"}
        return {**defaults, **({"url": profile.url} if profile.url else {}), **values}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for key, url in (("url", self.url), ("jwks_url", self.jwks_url)):
            if url is not None and not (key == "url" and self.keys_file and url):
                check_url(url, key, loopback=self.insecure_loopback)
        if self.keys_file and self.jwks_url:
            raise ValueError("keys_file and jwks_url exclude each other")
        if not self.algorithms or set(self.algorithms) - ALGORITHMS:
            raise ValueError("algorithms: any of " + ", ".join(sorted(ALGORITHMS)))
        if unknown := set(self.allow) - self.kind.allowances:
            raise ValueError(f"allow: {', '.join(sorted(unknown))} means nothing to profile {self.profile}")
        own = {"sub", *self.kind.required, *self.kind.optional}
        further = [*self.claims, *self.optional_claims]
        if taken := {each for each in further if each in own | REGISTERED or further.count(each) > 1}:
            raise ValueError(f"claims: {', '.join(sorted(taken))}: the name is taken")
        if unknown := set(self.require) - own - set(further):
            raise ValueError(f"require: {', '.join(sorted(unknown))}: not a claim of this issuer")
        if not all(self.require.values()):
            raise ValueError("require: an empty list matches nothing")
        self._check_principal()
        return self

    def _check_principal(self) -> None:
        if self.principal is None:
            return
        if self.profile != "generic":
            raise ValueError("principal: only profile generic takes it")
        named = PLACEHOLDER.findall(self.principal)
        if not named or set(named) - {"sub", *self.claims}:
            raise ValueError("principal: names claims that every token of this issuer has, as ${claim}")
        if not all(":" in between for between in PLACEHOLDER.split(self.principal)[2:-1:2]):
            raise ValueError("principal: a colon stands between two claims")


class IdentitySettings(BaseModel):
    """Who may call, `[identity]`. Durations are seconds once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuers: tuple[IssuerSettings, ...] = Field(default=(), alias="issuer")
    session_cap: Duration = Field(default=6 * 3600.0, gt=0)
    """How long a session may be renewed."""
    max_sessions: int = Field(default=20_000, ge=1)
    """Sessions known at once; past it, no new one is opened."""
    second_address: Literal["flag", "refuse"] = "flag"
    """What happens when a token or session is used from a second source address."""
    leeway: Duration = Field(default=30.0, le=300)
    """How far `iat` and `nbf` may lie ahead of this host's clock. There is none on `exp`."""
    keys_refresh: Duration = 3600.0
    """The age at which an issuer's keys are fetched anew, in the background."""
    keys_max_age: Duration = 24 * 3600.0
    """The age past which keys that could not be fetched anew are no longer used."""
    keys_cooldown: Duration = 30.0
    """The least time between two fetches of one issuer's keys, whatever tokens ask for."""

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for key in ("name", "url"):
            said = [getattr(issuer, key) for issuer in self.issuers]
            if twice := sorted({each for each in said if said.count(each) > 1}):
                raise ValueError(f"issuer: two have the {key} {twice[0]}")
        return self


def check_url(url: str, what: str, *, loopback: bool) -> None:
    """Raises ValueError unless `url` is absolute and https (or, if `loopback` permits, http on
    the loopback).
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        raise ValueError(f"{what}: not a URL") from None
    if not host or parts.username is not None or parts.query or parts.fragment or re.search(r"[\s\\]", url):
        raise ValueError(f"{what}: an absolute URL without user, query or fragment is needed")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback and host in _LOOPBACK):
        raise ValueError(f"{what}: must be https (insecure_loopback permits http on the loopback)")
