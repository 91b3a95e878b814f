"""Content codings taken off strictly: the whole body, every member, nothing after it, never more than a
bound.

gzip is RFC 1952, deflate the zlib form of RFC 9110 section 8.4.1.2, br RFC 7932, zstd RFC 8878. What one
decoder would read and another would not is refused: a cut stream, bytes behind the end, several codings, any
other coding.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Final

import brotli
import zstandard

from callgate.call import Refusal
from callgate.masking.edits import unreadable

MEMBERS: Final = 1000
"""More gzip members or zstd frames than this are refused."""
WINDOW: Final = 8 * 1024 * 1024
"""The largest zstd window, as RFC 8878 recommends."""


class _TooLarge(Exception):
    pass


def decode(body: bytes, encodings: Iterable[str], limit: int) -> bytes:
    """`body` without the coding that `encodings`, all Content-Encoding values, name.

    Refusal (502) for anything but a whole stream of one known coding that holds at most `limit` bytes.
    """
    names = [name.strip().lower() for value in encodings for name in value.split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if len(body) > limit:
        raise too_large(limit)
    if not names or not body:
        return body
    decoder = DECODERS.get(names[0])
    if len(names) > 1 or decoder is None:
        raise unreadable("the body has a content coding that is not read here", "mask-coding")
    try:
        return decoder(body, limit)
    except _TooLarge:
        raise too_large(limit) from None
    except (ValueError, EOFError, zlib.error, brotli.error, zstandard.ZstdError):
        raise unreadable(f"the body is not a whole {names[0]} stream", "mask-coding") from None


def too_large(limit: int) -> Refusal:
    """The refusal of a body over the bound."""
    return unreadable(f"a masked response may hold {limit} bytes at most", "mask-too-large")


def _zlib_members(window: int, many: bool) -> Callable[[bytes, int], bytes]:
    def members(body: bytes, limit: int) -> bytes:
        parts: list[bytes] = []
        for _ in range(MEMBERS if many else 1):
            stream = zlib.decompressobj(window)
            parts.append(stream.decompress(body, limit + 1))
            limit -= len(parts[-1])
            if limit < 0 or stream.unconsumed_tail:
                raise _TooLarge
            if not stream.eof:
                raise EOFError
            body = stream.unused_data
            if not body:
                return b"".join(parts)
        raise ValueError("bytes behind the end")

    return members


def _brotli(body: bytes, limit: int) -> bytes:
    stream = brotli.Decompressor()
    parts = [stream.process(body, output_buffer_limit=limit + 1)]
    size = len(parts[0])
    while not stream.is_finished():
        if size > limit:
            raise _TooLarge
        parts.append(stream.process(b"", output_buffer_limit=limit + 1 - size))
        if not parts[-1]:
            raise EOFError
        size += len(parts[-1])
    if size > limit:
        raise _TooLarge
    return b"".join(parts)


def _zstd(body: bytes, limit: int) -> bytes:
    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW)
    # The bounded reader does not tell a whole stream from a cut one; that is asked once the size is known.
    with decompressor.stream_reader(BytesIO(body), read_across_frames=True) as reader:
        if len(reader.read(limit + 1)) > limit:
            raise _TooLarge
    parts = []
    for _ in range(MEMBERS):
        frame = decompressor.decompressobj()
        parts.append(frame.decompress(body))
        if not frame.eof:
            raise EOFError
        body = frame.unused_data
        if not body:
            return b"".join(parts)
    raise ValueError("too many frames")


DECODERS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _zlib_members(31, many=True),
    "x-gzip": _zlib_members(31, many=True),
    "deflate": _zlib_members(15, many=False),
    "br": _brotli,
    "zstd": _zstd,
}
