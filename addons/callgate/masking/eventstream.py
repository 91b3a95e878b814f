"""Event streams masked message by message (`application/vnd.amazon.eventstream`, Smithy's event stream
encoding).

A message is: total length, length of its headers, CRC-32 of these two; headers; payload; CRC-32 of all before
it. Both sums are checked on the way in and made anew for what changes. Nothing of a message is passed on
before all of it has been read and masked; a stream that ends within a message is an error.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from botocore.model import Shape, StructureShape

from callgate.masking.edits import unreadable
from callgate.masking.heads import Headers
from callgate.masking.places import Place
from callgate.masking.scalars import Scalars

PRELUDE: Final = 12
LARGEST: Final = 24 * 1024 * 1024
"""Smithy allows 24 MB a message; the bound of a masked response is usually reached long before."""
SIZES: Final = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of the header types that have a fixed size: true, false, byte, short, integer, long, timestamp,
UUID."""
BLOB, STRING, TIMESTAMP = 6, 7, 8
ERROR_MESSAGE: Final = ":error-message"

MaskBody = Callable[[bytes, Place], bytes]


@dataclass(frozen=True, slots=True)
class Message:
    """One message: headers as (name, type, raw value), and payload."""

    headers: tuple[tuple[str, int, bytes], ...]
    payload: bytes

    def text(self, name: str) -> str | None:
        """The value of a string header."""
        return next(
            (value.decode() for each, kind, value in self.headers if each == name and kind == STRING), None
        )

    def encode(self) -> bytes:
        """The message as bytes, with its sums."""
        parts = []
        for name, kind, value in self.headers:
            size = struct.pack(">H", len(value)) if kind in (BLOB, STRING) else b""
            parts.append(bytes([len(name.encode())]) + name.encode() + bytes([kind]) + size + value)
        headers = b"".join(parts)
        prelude = struct.pack(">II", PRELUDE + len(headers) + len(self.payload) + 4, len(headers))
        data = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + self.payload
        return data + struct.pack(">I", zlib.crc32(data))


def decode(data: bytes) -> Message:
    """One whole message. ValueError if its sums or lengths are wrong."""
    (end,) = struct.unpack(">I", data[4:8])
    end += PRELUDE
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:]) or end > len(data) - 4:
        raise ValueError("a message is damaged")
    headers = []
    at = PRELUDE
    while at < end:
        name = data[at + 1 : at + 1 + data[at]].decode()
        at += 1 + data[at]
        kind = data[at]
        at += 1
        if kind in (BLOB, STRING):
            size = int.from_bytes(data[at : at + 2])
            at += 2
        else:
            size = SIZES[kind]
        headers.append((name, kind, data[at : at + size]))
        at += size
    if at != end or len({name for name, _, _ in headers}) != len(headers):
        raise ValueError("the headers of a message are damaged, or one comes twice")
    return Message(tuple(headers), data[end:-4])


class StreamMasker:
    """Masks one event stream while it passes.

    `root` is the place of the output, `stream` that of its event stream member; `mask_body` masks a payload
    in the operation's protocol; `headers` are the response's, masked already. Refusal (502) for what is not a
    whole, sound message.
    """

    def __init__(
        self,
        root: Place,
        stream: Place,
        mask_body: MaskBody,
        scalars: Scalars,
        limit: int,
        headers: Headers,
    ) -> None:
        self.headers = headers
        self._root = root
        self._stream = stream
        self._mask_body = mask_body
        self._scalars = scalars
        self._limit = min(limit, LARGEST)
        self._buffer = bytearray()

    @property
    def masked(self) -> tuple[str, ...]:
        """The paths that have been masked so far."""
        return self._scalars.masked

    def feed(self, chunk: bytes) -> bytes:
        """Takes what arrived; gives the messages that are whole now, masked."""
        self._buffer += chunk
        out = []
        while len(self._buffer) >= PRELUDE:
            total, _, check = struct.unpack(">III", self._buffer[:PRELUDE])
            if zlib.crc32(self._buffer[:8]) != check or total < PRELUDE + 4:
                raise unreadable("the prelude of a message is damaged")
            if total > self._limit:
                raise unreadable("a message of the event stream is too large", "mask-too-large")
            if len(self._buffer) < total:
                break
            data = bytes(self._buffer[:total])
            del self._buffer[:total]
            out.append(self._message(data))
        return b"".join(out)

    def finish(self) -> bytes:
        """To be called at the end of the stream. Refusal if it ends within a message."""
        if self._buffer:
            raise unreadable("the event stream ends within a message", "mask-truncated")
        return b""

    def _message(self, data: bytes) -> bytes:
        try:
            message = decode(data)
            place, shape = self._place(message)
            headers = tuple(self._header(header, place, shape) for header in message.headers)
            payload = self._payload(message.payload, place, shape)
        except (ValueError, IndexError, KeyError, struct.error):
            raise unreadable("a message of the event stream cannot be read") from None
        if headers == message.headers and payload == message.payload:
            return data
        return Message(headers, payload).encode()

    def _place(self, message: Message) -> tuple[Place, Shape | None]:
        """Where a message stands: an event or exception of the stream, or the output without it.

        Errors and exceptions are also answers of their own, of which `$.message` is the message.
        """
        kind = message.text(":message-type")
        if kind == "error":
            return self._stream.unmodelled().joined(self._root), None
        name = message.text(f":{kind}-type")
        if kind not in ("event", "exception") or name is None:
            raise ValueError("a message without a type")
        if name == "initial-response":
            return self._root, self._root.shape
        place = self._stream.member(name)
        return (place if kind == "event" else place.joined(self._root)), place.shape

    def _header(
        self, header: tuple[str, int, bytes], place: Place, shape: Shape | None
    ) -> tuple[str, int, bytes]:
        name, kind, value = header
        if name == ERROR_MESSAGE and kind == STRING:
            text = self._scalars.text(value.decode(), place.member("message"))
            if text is not None:
                self._scalars.headers.add(f"header {name}")
                return name, kind, text.encode()
        members = shape.members if isinstance(shape, StructureShape) else {}
        member = members.get(name)
        if member is None or not member.serialization.get("eventheader"):
            if kind != STRING or not place.plan.detect:
                return header
            return name, kind, self._scalars.searched(value.decode(), place.plan.detect).encode()
        below = place.modelled(name, member)
        if below.way is None:
            return header
        if kind == STRING:
            text = self._scalars.text(value.decode(), below)
            new = value if text is None else text.encode()
        elif kind == BLOB:
            new = self._scalars.blob(value, below.way)
        elif below.way.how is not None:
            new, kind = bytes(len(value)), 1 if kind == 0 else kind
        else:
            return header
        if (kind, new) != header[1:]:
            self._scalars.trail.below(place, name).hit()
        return name, kind, new

    def _payload(self, payload: bytes, place: Place, shape: Shape | None) -> bytes:
        if not payload:
            return payload
        members: dict[str, Any] = dict(shape.members) if isinstance(shape, StructureShape) else {}
        for name, member in members.items():
            if not member.serialization.get("eventpayload"):
                continue
            below = place.modelled(name, member)
            if member.type_name in ("blob", "string"):
                if below.way is None:
                    return payload
                new = self._scalars.blob(payload, below.way)
                if new != payload:
                    self._scalars.trail.below(place, name).hit()
                return new
            return self._mask_body(payload, below)
        return self._mask_body(payload, place)
