"""Who a request says it is signed by: SigV4, SigV4A, presigned URLs, SigV2, bearer tokens, or nobody.

Follows AWS's "Signature Version 4 for API requests". Signatures are not verified, AWS does that: here the
scope is read, which must agree with the host. The account that an access key id encodes is known from its
layout.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from callgate.aws.target import Pairs
from callgate.call import Refusal

_V4 = re.compile(
    r"(AWS4-HMAC-SHA256|AWS4-ECDSA-P256-SHA256) Credential=([^\s,=]+), ?"
    r"SignedHeaders=([^\s,=]+), ?Signature=([0-9a-f]+)"
)
_SCOPE = re.compile(r"([A-Za-z0-9_]{1,128})/(\d{8})/(?:([a-z0-9-]+)/)?([A-Za-z0-9.-]+)/aws4_request", re.A)
_V2 = re.compile(r"AWS ([A-Za-z0-9_]{1,128}):[A-Za-z0-9+/=]+")
_V3 = re.compile(r"AWS3(?:-HTTPS)? AWSAccessKeyId=([A-Za-z0-9_]{1,128}),[ -~]+")
_KEY_ID = re.compile(r"A[A-Z]{3}[A-Z2-7]{12,124}")

# Query keys by which a request authenticates itself; they are no parameters of any operation.
V4_KEYS = frozenset(
    f"X-Amz-{name}"
    for name in (
        *("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token"),
        *("Region-Set", "Content-Sha256", "S3session-Token"),
    )
)
S3_V2_KEYS = frozenset(("AWSAccessKeyId", "Signature", "Expires", "x-amz-security-token"))
QUERY_V2_KEYS = S3_V2_KEYS | {"SignatureVersion", "SignatureMethod", "Timestamp", "SecurityToken"}


@dataclass(frozen=True, slots=True)
class Auth:
    """What the signature says. `kind` is that of `Call.auth`; `regions` is what SigV4A signs for (`us-*`,
    `*`).
    """

    kind: str
    access_key_id: str | None = None
    region: str | None = None
    service: str | None = None
    regions: tuple[str, ...] | None = None


ANONYMOUS = Auth("unsigned")


def read_auth(headers: Mapping[str, str], query: Pairs) -> Auth:
    """Reads headers (lower-case names) and query. Raises Refusal for more than one way of signing or a
    malformed one.
    """
    header = headers.get("authorization")
    presigned = None
    if query:
        names = {key.lower() for key, _ in query}
        if not names.isdisjoint(_QUERY_MARKS):
            presigned = _presigned(query, names)
    if header is None:
        return presigned or ANONYMOUS
    if presigned is not None:
        raise Refusal(
            "ambiguous-auth", "The request is signed both in its Authorization header and in its query."
        )
    return _from_header(header, headers)


_QUERY_MARKS = frozenset(
    (
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-signature",
        "awsaccesskeyid",
        "signature",
        "signatureversion",
    )
)


def _from_header(header: str, headers: Mapping[str, str]) -> Auth:
    if found := _V4.fullmatch(header):
        algorithm, credential, _, _ = found.groups()
        return scoped(algorithm, credential, headers.get("x-amz-region-set"), "sigv4")
    if (found := _V2.fullmatch(header)) or (found := _V3.fullmatch(header)):
        return Auth("sigv2", found[1])
    scheme, _, rest = header.partition(" ")
    if scheme.lower() == "bearer" and rest and "," not in rest:
        return Auth("bearer")
    if scheme.lower() == "basic" and rest and "," not in rest:
        return Auth("basic")
    raise Refusal("malformed-authorization", "The Authorization header is in no form that AWS knows.")


def scoped(algorithm: str, credential: str, region_set: str | None, kind: str) -> Auth:
    """What a credential with its scope says. Raises Refusal."""
    scope = _SCOPE.fullmatch(credential)
    asymmetric = algorithm == "AWS4-ECDSA-P256-SHA256"
    if scope is None or asymmetric != (scope[3] is None) or asymmetric != (region_set is not None):
        raise Refusal("malformed-authorization", "The credential scope is malformed.")
    if not asymmetric:
        return Auth(kind, scope[1], scope[3], scope[4])
    assert region_set is not None
    regions = tuple(part.strip() for part in region_set.split(","))
    if not all(re.fullmatch(r"[a-z0-9*-]+", part) for part in regions):
        raise Refusal("malformed-authorization", "The region set of the signature is malformed.")
    only = regions[0] if len(regions) == 1 and "*" not in regions[0] else None
    return Auth("sigv4a" if kind == "sigv4" else kind, scope[1], only, scope[4], regions)


def _presigned(query: Pairs, names: set[str]) -> Auth:
    found: dict[str, str] = {}
    for key, value in query:
        if key in found and (key in V4_KEYS or key in QUERY_V2_KEYS):
            raise Refusal("ambiguous-auth", f"The query has {key} more than once.")
        found[key] = value
    if any(name.startswith("x-amz-") and name in _LOWER_V4 for name in names):
        if not _QUERY_V2_MARKS.isdisjoint(found):
            raise Refusal("ambiguous-auth", "The query is signed in two ways.")
        needed = (
            "X-Amz-Algorithm",
            "X-Amz-Credential",
            "X-Amz-Signature",
            "X-Amz-SignedHeaders",
            "X-Amz-Date",
        )
        algorithm = found.get("X-Amz-Algorithm")
        if algorithm not in ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256") or not all(
            key in found for key in needed
        ):
            raise Refusal("malformed-authorization", "The query is signed incompletely.")
        return scoped(algorithm, found["X-Amz-Credential"], found.get("X-Amz-Region-Set"), "presigned")
    key_id = found.get("AWSAccessKeyId")
    if key_id is None or "Signature" not in found or not re.fullmatch(r"[A-Za-z0-9_]{1,128}", key_id):
        raise Refusal("malformed-authorization", "The query is signed incompletely.")
    return Auth("sigv2" if "SignatureVersion" in found else "presigned", key_id)


_LOWER_V4 = frozenset(("x-amz-algorithm", "x-amz-credential", "x-amz-signature"))
_QUERY_V2_MARKS = frozenset(("AWSAccessKeyId", "Signature", "SignatureVersion"))


@lru_cache(maxsize=1024)
def account_of(access_key_id: str | None) -> str | None:
    """The 12-digit account that an access key id encodes; None for ids from before 2019, which encode none.

    Bits 1 to 40 of the six bytes behind the four-letter prefix (base32) are the account number; the top bit
    marks ids that have one.
    """
    if access_key_id is None or not _KEY_ID.fullmatch(access_key_id):
        return None
    number = int.from_bytes(base64.b32decode(access_key_id[4:14] + "======")[:6], "big")
    account = (number & 0x7FFFFFFFFF80) >> 7
    return f"{account:012d}" if number >> 47 and account < 10**12 else None
