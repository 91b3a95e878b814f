"""The index of all operations: what a request is recognised by. Built by scripts/build-models, loaded once.

The routes of a service are taken apart when its first request comes, so that the index is ready in well under
0.3 s.
"""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

REST = ("rest-json", "rest-xml")


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One service. `signing` are the names that a credential scope may use, `versions` the API versions seen.

    `operations` has for each operation [method, URI, host prefix, required query keys and headers, unsigned,
    deprecated], shortened where the rest is empty; `older` has [method, URI, operation, host prefix] of older
    releases. `everywhere` are regions that SDKs sign for at any host of the service.
    """

    name: str
    protocols: tuple[str, ...]
    signing: tuple[str, ...]
    versions: frozenset[str]
    target: str | None
    operations: dict[str, list[Any]] = field(repr=False)
    older: tuple[tuple[str, ...], ...] = field(repr=False)
    everywhere: tuple[str, ...] = ()

    @property
    def rest(self) -> str | None:
        """The REST protocol that the service speaks, if any. None speaks two."""
        return next((protocol for protocol in self.protocols if protocol in REST), None)

    def prefixes_of(self, operation: str) -> list[str]:
        """The host prefixes that the operation has or had, with `*` for a label of the caller's."""
        row = self.operations[operation]
        found = [row[2] or ""] if len(row) > 2 else [""]
        found += [way[3] for way in self.older if way[2] == operation and len(way) > 3]
        return [re.sub(r"\{[^}]*\}", "*", prefix) for prefix in found]

    def is_unsigned(self, operation: str) -> bool:
        """Whether the operation may be called without a signature of SigV4."""
        row = self.operations.get(operation, ())  # PostObject stands in no model
        return len(row) > 4 and bool(row[4])

    def is_deprecated(self, operation: str) -> bool:
        """Whether the model has another operation in its place."""
        row = self.operations[operation]
        return len(row) > 5 and bool(row[5])


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """All that is shipped: see scripts/build-models for the parts."""

    botocore: str
    partitions: dict[str, list[str]]
    regions: dict[str, str]
    templates: dict[str, str]
    literals: dict[str, dict[str, str]]
    services: dict[str, Service]
    by_signing: dict[str, tuple[str, ...]]


@lru_cache(maxsize=1)
def index() -> Index:
    """The shipped index; read on first use."""
    raw = json.loads(gzip.decompress((files("callgate.aws") / "data/index.json.gz").read_bytes()))
    services = {
        name: Service(
            name,
            tuple(entry["protocols"]),
            tuple(entry["signing"]),
            frozenset(entry["versions"]),
            entry.get("target"),
            entry["operations"],
            tuple(tuple(row) for row in entry.get("older", ())),
            tuple(entry.get("global", ())),
        )
        for name, entry in raw["services"].items()
    }
    by_signing: dict[str, list[str]] = {}
    for name, service in services.items():
        for signing in service.signing:
            by_signing.setdefault(signing, []).append(name)
    return Index(
        raw["botocore"],
        raw["partitions"],
        raw["regions"],
        raw["templates"],
        raw["literals"],
        services,
        {signing: tuple(names) for signing, names in by_signing.items()},
    )
