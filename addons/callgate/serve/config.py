"""callgate.toml: read, checked, and overridden from the environment."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from callgate.approvals import ApprovalSettings
from callgate.aws import DEEPEST, Endpoints
from callgate.channel import parse_ranges
from callgate.duration import Duration
from callgate.identity import IdentitySettings
from callgate.ledger.settings import LedgerSettings
from callgate.misfit import dotted, explain

_ENV = "CALLGATE_"
# Variables with the prefix that are not settings of the file.
_NOT_SETTINGS = frozenset({"CALLGATE_CONFIG", "CALLGATE_PYTHON"})


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line that names file and key."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProxySettings(_Section):
    """The port that runners use. `plaintext` permits plain HTTP on an address other than loopback."""

    listen: str = "127.0.0.1:8080"
    plaintext: bool = False

    @field_validator("listen")
    @classmethod
    def _has_port(cls, value: str) -> str:
        split_address(value)
        return value


class AdminSettings(_Section):
    """The listener of operators and approvers, beside the Unix socket in the state folder: HOST:PORT with
    TLS.
    """

    listen: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _speaks_tls(self) -> Self:
        if self.listen is not None:
            split_address(self.listen)
            if self.certificate is None or self.key is None:
                raise ValueError("listen needs certificate and key; it speaks TLS only")
        return self


class AwsSettings(_Section):
    """`endpoint`: a URL that stands in for all of AWS. `hosts`: hosts that runners address and that stand
    in for AWS (`HOST[:PORT][/PATH][=SERVICE]`). `private_ranges`: CIDRs in which AWS's own names may
    resolve (VPC endpoints).
    """

    endpoint: str | None = None
    hosts: tuple[str, ...] = ()
    private_ranges: tuple[str, ...] = ()
    ca: Path | None = None

    @field_validator("endpoint")
    @classmethod
    def _is_endpoint(cls, value: str | None) -> str | None:
        if value is not None:
            split_endpoint(value)
        return value

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Endpoints.parse(value)
        return value

    @field_validator("private_ranges")
    @classmethod
    def _are_ranges(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        parse_ranges(value)
        return value


class LimitSettings(_Section):
    """Bounds on what comes from runners and from AWS; sizes in bytes.

    `memory` for bodies that are kept, of all clients and of one session. `head_time`: from a request head's
    first byte to its last. `body_time`: for a body that is read whole, and for each mebibyte of one that
    streams. `handshake`: for a new connection to say who
    it is, and for the TLS handshake in its tunnel. `linger`: how long the rest of a refused request is
    thrown away, so that its answer can be read. `connections` open at once, of all clients and of one
    session. `decoded_body`: a request body without its content coding, with `depth` levels and `parameters`
    values in it.
    """

    head_size: int = Field(default=65_536, ge=1024)
    head_fields: int = Field(default=200, ge=10)
    request_body: int = Field(default=16 * 1024 * 1024, ge=1024)
    decoded_body: int = Field(default=32 * 1024 * 1024, ge=1024)
    depth: int = Field(default=DEEPEST, ge=1, le=DEEPEST)
    parameters: int = Field(default=200_000, ge=1)
    masked_response: int = Field(default=4_000_000, ge=1024)
    memory: int = Field(default=512 * 1024 * 1024, ge=1024)
    session_memory: int = Field(default=128 * 1024 * 1024, ge=1024)
    head_time: Duration = Field(default=10.0, gt=0)
    body_time: Duration = Field(default=300.0, gt=0)
    handshake: Duration = Field(default=10.0, gt=0)
    linger: Duration = Field(default=30.0, gt=0)
    connections: int = Field(default=5000, ge=1)
    session_connections: int = Field(default=1000, ge=1)
    hold_body: int = Field(default=1_000_000, ge=0)
    stage: Duration = 10.0

    @model_validator(mode="after")
    def _one_body_fits(self) -> Self:
        if self.memory < self.session_memory:
            raise ValueError("session_memory is at most memory")
        if self.session_memory < max(self.request_body, self.masked_response):
            raise ValueError("session_memory is at least request_body and masked_response")
        return self


class Settings(_Section):
    """The whole of callgate.toml. Paths are relative to the file."""

    state: Path = Path("state")
    rules: tuple[Path, ...] = (Path("rules"),)
    mode: Literal["enforce", "observe"] = "enforce"
    help: str | None = None
    drain: Duration = 30.0
    proxy: ProxySettings = ProxySettings()
    admin: AdminSettings = AdminSettings()
    aws: AwsSettings = AwsSettings()
    limits: LimitSettings = LimitSettings()
    ledger: LedgerSettings = LedgerSettings()
    identity: IdentitySettings
    approvals: ApprovalSettings = ApprovalSettings()

    @model_validator(mode="after")
    def _runners_and_approvers_apart(self) -> Self:
        self.approvals.check_apart(self.identity)
        return self


def split_address(text: str) -> tuple[str, int]:
    """`HOST:PORT` as a pair. Raises ValueError."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"an address is HOST:PORT, not {text!r}")
    return host.strip("[]"), int(port)


def split_endpoint(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL that stands in for AWS. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"an endpoint is http(s)://HOST[:PORT], not {url!r}")
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def load_settings(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the file at `path`, with paths made absolute. Raises ConfigError.

    A variable CALLGATE_SECTION__KEY overrides a key of the file; its value is read as TOML, or else as text.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; `callgate init DIR` writes one") from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}") from None
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{path}: is not TOML: {exc}") from None
    overridden: dict[tuple[str | int, ...], str] = {}
    for name, text in environ.items():
        keys = name.removeprefix(_ENV).lower().split("__")
        if name.startswith(_ENV) and name not in _NOT_SETTINGS and keys[0] in Settings.model_fields:
            _override(raw, keys, text, name)
            overridden[tuple(keys)] = name
    try:
        settings = Settings.model_validate(_anchored(raw, path.resolve().parent))
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        place = overridden.get(first["loc"]) or f"{path}: {dotted(first['loc']) or '(file)'}"
        raise ConfigError(f"{place}: {explain(first, Settings)}") from None
    return settings


def _override(raw: dict[str, Any], keys: list[str], text: str, name: str) -> None:
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    at = raw
    for key in keys[:-1]:
        at = at.setdefault(key, {})
        if not isinstance(at, dict):
            raise ConfigError(f"{name}: does not fit the configuration")
    at[keys[-1]] = value


# Keys of the file that hold paths, wherever they stand.
_PATH_KEYS = frozenset(
    {"state", "rules", "certificate", "key", "ca", "file", "keys_file", "bearer_file", "key_file", "url_file"}
)


def _anchored(value: Any, folder: Path, key: str = "") -> Any:
    match value:
        case dict():
            return {k: _anchored(v, folder, k) for k, v in value.items()}
        case list():
            return [_anchored(v, folder, key) for v in value]
        case str() if key in _PATH_KEYS:
            return str(folder / Path(value).expanduser())
        case _:
            return value
