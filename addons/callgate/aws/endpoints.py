"""Hosts that stand in for AWS by configuration: moto, LocalStack, MinIO, a corporate front."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from callgate.aws.hosts import Host, aws_host
from callgate.aws.index import index

_TEXT = re.compile(
    r"(?:https?://)?(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<path>/[A-Za-z0-9._~/-]*)?(?:=(?P<service>[a-z0-9-]+))?"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One stand-in. `service` is botocore's name or a signing name; without it the signature's scope names
    the service. Without `port` any port is meant. `path` is the base path, without a slash at its end.
    """

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


def knows_host(host: str, endpoints: Endpoints = Endpoints()) -> bool:
    """Whether calls to `host` (canonical) can be read: a host of AWS's, or one that stands in."""
    return endpoints.find(host, None) is not None or aws_host(host) is not None


@lru_cache(maxsize=1024)
def standin(entry: Endpoint, before: str, signing: str | None) -> Host:
    """The host that `entry` is, with `before` in front of its name, for a request signed for `signing`."""
    known = index()
    if entry.service is not None:
        named = (entry.service,) if entry.service in known.services else known.by_signing[entry.service]
    elif signing is not None:
        named = known.by_signing.get(signing, ())
    else:
        unsigned = (s.name for s in known.services.values() if any(map(s.is_unsigned, s.operations)))
        named = tuple(unsigned)
    labels = tuple(before[:-1].split(".")) if before.endswith(".") else ()
    # A front may keep AWS's own names before its own: `sqs.us-east-1.` + `localhost.localstack.cloud`.
    inner = aws_host(f"{before}amazonaws.com") if labels else None
    kept = tuple(pair for pair in inner.services if pair[0] in named) if inner is not None else ()
    if inner is not None and kept:
        return replace(inner, services=kept, partition=None, standin=True)
    prefix = "*." * len(labels) if labels else before
    return Host(
        tuple((name, prefix) for name in named),
        None,
        labels=labels,
        account=next((label for label in labels if re.fullmatch(r"[0-9]{12}", label)), None),
        standin=True,
        anonymous=entry.service is None and signing is None,
    )
