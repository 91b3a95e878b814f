"""The words that every room shares: a request on the wire, and the AWS call that it is."""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


class Refusal(Exception):
    """A doubt or an error that ends a request.

    `code` is the reason code that people look up in the documentation (kebab-case: `ambiguous-action`),
    `detail` one sentence for the person who reads it; neither ever carries a secret.
    `status` is the HTTP status that a client without a protocol of its own gets. `retryable` asks an SDK to
    come back.
    """

    def __init__(self, code: str, detail: str, *, status: int = 403, retryable: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.status = status
        self.retryable = retryable


class _Message:
    """What requests and responses have in common: header fields."""

    headers: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """All values of the header `name` (any spelling), in wire order."""
        return list(self.by_name.get(name.lower(), ()))

    @cached_property
    def by_name(self) -> Mapping[str, list[str]]:
        """The headers' values in wire order, by lower-case name."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault(name.lower(), []).append(value)
        return found


@dataclass(frozen=True)
class HttpRequest(_Message):
    """One request as it came off the wire, after the channel established whom it is for.

    `host` is canonical (lower case, no port, no trailing dot). `target` is the raw origin-form target
    (path and query, undecoded). `headers` keep wire order and spelling; values are decoded as latin-1.
    `body` is what is left when the transfer coding is taken off, still content-coded;
    None says that it has not been read (it streams).
    """

    method: str
    host: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None = field(repr=False)
    port: int = 443
    scheme: str = "https"


@dataclass(frozen=True)
class HttpResponse(_Message):
    """One response from upstream, or one that we make. `headers` and `body` as in `HttpRequest`."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Need:
    """One pair of IAM action and resource ARN that a call must be permitted.

    `resource` is `*` where the action has no resource. With `determined` false, the parts of the ARN that
    could not be determined are `*` (or the whole is), and could be anything. `operation` is the
    `service:Operation` (botocore's names) that the need comes from. `access` is IAM's access level of the
    action: list, read, write, tagging or permissions-management; None where the tables do not tell.
    """

    action: str
    resource: str
    operation: str
    determined: bool = True
    access: str | None = None


@dataclass(frozen=True, slots=True)
class Payload:
    """A body that is passed by reference: its length in bytes and the SHA-256 that the client signed, if
    any.
    """

    length: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a request asks of AWS (or of another API).

    `service` and `operation` are botocore's names. `candidates` holds every operation that the same bytes
    could mean (twins such as rds, neptune and docdb), the named one first. `account` is the caller's
    account as its access key id tells it, None if unknown. `auth` is one of sigv4, sigv4a, sigv2,
    presigned, bearer, unsigned (the operation wants no signature) and anonymous (it wants one).
    `parameters` follow botocore's input shape: bytes for blobs, aware datetimes, exact numbers (int or
    Decimal). `idempotency_tokens` names the top-level parameters that an SDK makes anew for each run.
    """

    service: str
    operation: str
    candidates: tuple[tuple[str, str], ...]
    protocol: str
    region: str | None
    partition: str = "aws"
    account: str | None = None
    access_key_id: str | None = None
    auth: str = "sigv4"
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)
    needs: tuple[Need, ...] = ()
    payload: Payload | None = None
    idempotency_tokens: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`service:Operation`, botocore's names."""
        return f"{self.service}:{self.operation}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what is asked: candidates and parameters without idempotency tokens, bodies by
        hash.
        """
        asked = {k: v for k, v in self.parameters.items() if k not in self.idempotency_tokens}
        body = [self.payload.length, self.payload.sha256] if self.payload else None
        text = json.dumps(
            [self.candidates, self.region, self.account, to_json(asked), body],
            sort_keys=True,
            separators=(",", ":"),
        )
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def to_json(value: Any) -> Any:
    """`value` (parameters of a call) as JSON can hold it: bytes as `{"$bytes": base64}`, times as
    `{"$time": ISO 8601}`.

    Decimals become numbers where a float's own text says the same, else `{"$number": text}`.
    """
    match value:
        case bytes() | bytearray():
            return {"$bytes": base64.b64encode(value).decode()}
        case datetime.datetime():
            return {"$time": value.isoformat().replace("+00:00", "Z")}
        case Payload():
            return {"$payload": {"length": value.length, "sha256": value.sha256}}
        case Mapping():
            return {str(k): to_json(v) for k, v in value.items()}
        case list() | tuple():
            return [to_json(v) for v in value]
        case decimal.Decimal():
            exact = value.is_finite() and decimal.Decimal(repr(float(value))) == value
            return float(value) if exact else {"$number": str(value)}
        case _:
            return value
