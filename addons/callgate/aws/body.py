"""Bodies without their content coding, bounded; aws-chunked bodies without their chunks.

Only gzip, deflate, br and zstd are known, one of them at a time. What an encoded body decodes to matters only
to servers that decode it: where the raw bytes could be read as well, the request is refused.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import brotli
import zstandard

from callgate.aws.limits import Limits
from callgate.call import HttpRequest, Refusal

_WINDOW = 32 * 1024 * 1024
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,12})(?:;chunk-signature=[0-9a-f]{64,144}\**)?\r\n")
_TRAILERS = re.compile(rb"(?:[A-Za-z0-9-]+:[ -~]*\r?\n?\r\n)*(?:\r\n)?")


def plain_body(
    request: HttpRequest,
    headers: Mapping[str, str],
    protocol: str,
    limits: Limits,
    *,
    compresses: bool = False,
) -> bytes:
    """The body of an operation whose parameters stand in it. `compresses` says that the model has it
    compressed.

    Raises Refusal.
    """
    if request.body is None:
        raise Refusal("body-needed", "What the request asks for stands in its body.")
    coding = headers.get("content-encoding", "").lower()
    if coding in ("", "identity"):
        return request.body
    decode = _DECODERS.get(coding)
    if decode is None:
        raise Refusal("unknown-coding", "The body is in a content coding that the gateway does not read.")
    if not compresses and (protocol in ("query", "ec2") or _is_text(request.body)):
        raise Refusal("ambiguous-coding", "The body could be read both as it is and decoded.")
    try:
        body = decode(request.body, limits.decoded)
    except (zlib.error, zstandard.ZstdError, brotli.error, EOFError):
        raise Refusal("malformed-coding", "The body is not what its content coding says.") from None
    if len(body) > limits.decoded:
        raise limits.too_large()
    return body


def _is_text(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# Each decoder stops when it has more than `limit` bytes, and returns them.


def _inflate(body: bytes, limit: int, bits: int) -> bytes:
    engine = zlib.decompressobj(bits)
    found = engine.decompress(body, limit + 1)
    if len(found) > limit:
        return found
    if not engine.eof or engine.unused_data:
        raise EOFError
    return found


def _brotli(body: bytes, limit: int) -> bytes:
    engine = brotli.Decompressor()
    found = bytearray(engine.process(body, output_buffer_limit=limit + 1))
    while not engine.is_finished() and not engine.can_accept_more_data():
        if len(found) > limit:
            return bytes(found)
        found += engine.process(b"", output_buffer_limit=limit + 1)
    if not engine.is_finished():
        raise EOFError
    return bytes(found)


def _zstd(body: bytes, limit: int) -> bytes:
    engine = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj(read_across_frames=False)
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(body, read_across_frames=False)
    found = reader.read(limit + 1)
    if len(found) > limit:
        return bytes(found)
    engine.decompress(body)
    if not engine.eof or engine.unused_data:
        raise EOFError
    return found


_DECODERS = {
    "gzip": lambda body, limit: _inflate(body, limit, 31),
    "deflate": lambda body, limit: _inflate(body, limit, 15),
    "br": _brotli,
    "zstd": _zstd,
}


@dataclass(frozen=True, slots=True)
class Streamed:
    """A body that is data, not parameters: `data` if it was read, its length and SHA-256 as far as known."""

    data: bytes | None
    length: int | None
    sha256: str | None


def streamed_body(request: HttpRequest, headers: Mapping[str, str]) -> Streamed:
    """The body of an upload, without aws-chunked. Raises Refusal."""
    said = headers.get("x-amz-content-sha256", "")
    signed = said if re.fullmatch(r"[0-9a-f]{64}", said) else None
    codings = [part.strip() for part in headers.get("content-encoding", "").lower().split(",")]
    chunked = said.startswith("STREAMING-")
    if codings.count("aws-chunked") > 1 or ("aws-chunked" in codings and said and not chunked):
        raise Refusal("ambiguous-coding", "The body is aws-chunked by one header and not by another.")
    chunked = chunked or "aws-chunked" in codings
    decoded = headers.get("x-amz-decoded-content-length") if chunked else headers.get("content-length")
    if decoded is not None and not re.fullmatch(r"[0-9]{1,15}", decoded):
        raise Refusal("bad-length", "The length of the upload is malformed.")
    length = int(decoded) if decoded is not None else None
    if request.body is None:
        return Streamed(None, length, signed)
    data = _unchunk(request.body) if chunked else request.body
    if length is not None and length != len(data):
        raise Refusal("bad-length", "The upload is not as long as its headers say.")
    digest = hashlib.sha256(data).hexdigest()
    if signed is not None and signed != digest:
        raise Refusal("bad-hash", "The upload is not the one that x-amz-content-sha256 signs.")
    return Streamed(data, len(data), digest)


def _unchunk(body: bytes) -> bytes:
    """The data of an aws-chunked body ("Signature calculations for the Authorization header", chunked
    upload).
    """
    parts: list[bytes] = []
    at = 0
    while found := _CHUNK.match(body, at):
        size = int(found[1], 16)
        start = found.end()
        at = start + size
        if size == 0:
            if not _TRAILERS.fullmatch(body, start):
                break
            return b"".join(parts)
        if body[at : at + 2] != b"\r\n":
            break
        parts.append(body[start:at])
        at += 2
    raise Refusal("malformed-coding", "The body is not aws-chunked as its headers say.")
