"""Hosts that stand in for AWS by configuration: moto, LocalStack, MinIO, a corporate front."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from .hosts import Host, aws_host
from .index import index

_TEXT = re.compile(
    r"(?:https?://)?(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~/-]*)?(?:=(?P<service>[a-z0-9-]+))?"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One stand-in. `service` is botocore's name or a signing name; without it the signature's scope names
    the service.
    Without `port` any port is meant. `path` is the base path, without a slash at its end."""

    host: str
    port: int | None = None
    path: str = ""
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """All stand-ins of a configuration."""

    entries: tuple[Endpoint, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Endpoints:
        """Reads `HOST[:PORT][/PATH][=SERVICE]`. Raises ValueError with one line that names the text."""
        return cls(tuple(_endpoint(text) for text in texts))

    def find(self, host: str, port: int | None) -> tuple[Endpoint, str] | None:
        """The stand-in at `host` and what stands before its name (`bucket.`, `data-`, ``); the longest name
        wins.
        """
        best: tuple[Endpoint, str] | None = None
        for entry in self.entries:
            if entry.port is not None and port is not None and entry.port != port:
                continue
            before = _before(host, entry.host)
            if before is not None and (best is None or len(entry.host) > len(best[0].host)):
                best = entry, before
        return best


def _endpoint(text: str) -> Endpoint:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not HOST[:PORT][/PATH][=SERVICE]")
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"{text!r}: {port} is not a port")
    service = found["service"]
    if service is not None and service not in index().services and service not in index().by_signing:
        raise ValueError(f"{text!r}: AWS has no service {service!r}")
    path = (found["path"] or "").rstrip("/")
    if "//" in path or any(part in (".", "..") for part in path.split("/")):
        raise ValueError(f"{text!r}: the path has empty or dot segments")
    return Endpoint(found["host"].strip("[]").lower().rstrip("."), port, path, service)


def _before(host: str, name: str) -> str | None:
    if host == name:
        return ""
    if host.endswith("." + name):
        return host[: -len(name)]
    if host.endswith("-" + name) and host[: -len(name)] in _dashed_prefixes():
        return host[: -len(name)]
    return None


@lru_cache(maxsize=1)
def _dashed_prefixes() -> frozenset[str]:
    rows = (row for service in index().services.values() for row in service.operations.values())
    return frozenset(row[2] for row in rows if len(row) > 2 and row[2] and row[2].endswith("-"))


def host_of(name: str, port: int | None, endpoints: Endpoints) -> Host | None:
    """What the host `name` (canonical) is: a stand-in or AWS's own; None if it is neither."""
    if endpoints.entries and (found := endpoints.find(name, port)):
        return _standin(*found)
    return aws_host(name)


@lru_cache(maxsize=1024)
def _standin(entry: Endpoint, before: str) -> Host:
    known = index()
    named: tuple[str, ...] = ()
    if entry.service in known.services:
        named = (entry.service,)
    elif entry.service is not None:
        named = known.by_signing[entry.service]
    labels = tuple(before.removesuffix(".").split(".")) if before.endswith(".") else ()
    # A front may keep AWS's own names before its own: `sqs.us-east-1.` + `localhost.localstack.cloud`.
    inner = aws_host(".".join(labels) + ".amazonaws.com") if labels else None
    if (
        inner is not None
        and inner.site is None
        and (not named or any(name in named for name, _ in inner.services))
    ):
        kept = tuple(pair for pair in inner.services if not named or pair[0] in named)
        return Host(
            kept, None, inner.region, inner.scopes, inner.labels, inner.account, inner.signing, inner.s3,
            standin=True, base=entry.path, port=entry.port,
        )  # fmt: skip
    prefix = "*." * len(labels) if labels else before
    account = next((label for label in labels if re.fullmatch(r"\d{12}", label)), None)
    return Host(
        tuple((name, prefix) for name in named), None, labels=labels, account=account,
        standin=True, base=entry.path, port=entry.port,
    )  # fmt: skip
