"""Lengths and checksums of a changed body put right, because clients check them.

botocore raises on a stale `x-amz-crc32` (DynamoDB) and `x-amz-checksum-*` (S3), JavaScript too. Checksums
that the standard library can compute are computed anew; others, and digests of the whole object, are left
out, which SDKs accept. An ETag that is the MD5 of a blob (S3) would both be stale and tell what the blob was:
it becomes the MD5 of what is sent. Other ETags are versions that clients send back (CloudFront) and stay.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Callable
from typing import Final

Headers = tuple[tuple[str, str], ...]


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


COMPUTED: Final[dict[str, Callable[[bytes], str]]] = {
    "content-length": lambda body: str(len(body)),
    "content-md5": lambda body: _base64(hashlib.md5(body, usedforsecurity=False).digest()),
    "x-amz-crc32": lambda body: str(zlib.crc32(body)),
    "x-amz-checksum-crc32": lambda body: _base64(zlib.crc32(body).to_bytes(4)),
    "x-amz-checksum-sha1": lambda body: _base64(hashlib.sha1(body, usedforsecurity=False).digest()),
    "x-amz-checksum-sha256": lambda body: _base64(hashlib.sha256(body).digest()),
    # EBS's GetSnapshotBlock, whose algorithm is always SHA-256.
    "x-amz-checksum": lambda body: _base64(hashlib.sha256(body).digest()),
    "x-amz-data-length": lambda body: str(len(body)),
}
LEFT_OUT: Final = frozenset(
    {
        "content-encoding",
        "content-range",
        "accept-ranges",
        "transfer-encoding",
        "digest",
        "content-digest",
        "repr-digest",
        "x-amz-sha256-tree-hash",
        "x-amz-checksum-crc32c",
        "x-amz-checksum-crc64nvme",
        "x-amz-checksum-md5",
        "x-amz-checksum-sha512",
        "x-amz-checksum-xxhash64",
        "x-amz-checksum-xxhash3",
        "x-amz-checksum-xxhash128",
        "x-amz-checksum-type",
    }
)
MD5_ETAG: Final = re.compile(r'"?[0-9a-f]{32}(-[0-9]+)?"?').fullmatch


def put_right(headers: Headers, body: bytes, *, blob: bool) -> Headers:
    """`headers` of a response whose body became `body`. `blob`: the body is data itself, not a document about
    it."""
    right = []
    for name, value in headers:
        key = name.lower()
        if key in LEFT_OUT:
            continue
        if key in COMPUTED:
            value = COMPUTED[key](body)
        elif key == "etag" and blob and MD5_ETAG(value):
            value = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        right.append((name, value))
    if not any(name.lower() == "content-length" for name, _ in right):
        right.append(("Content-Length", str(len(body))))
    return tuple(right)
