"""CBOR masked in place, as Smithy's rpcv2Cbor uses it (RFC 8949): what a mask does not reach keeps its bytes.

Times stay tag 1 (epoch), the only form that SDKs read. Maps and arrays of either length form are walked; a
dropped member or item corrects the count of what holds it. Names that are not text, and reserved forms, are
refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from callgate.masking.edits import DEPTH, Edits, another_kind, unreadable
from callgate.masking.json_spans import ARRAYS, OBJECTS, modelled, once
from callgate.masking.places import Place, no_value
from callgate.masking.scalars import Scalars, Trail

UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)
BREAK: Final = 0xFF
INDEFINITE: Final = 31
EPOCH: Final = 1
"""The tag of times."""
NO_VALUE: Final = (22, 23)
"""null and undefined."""
FLOATS: Final = {25: ">e", 26: ">f", 27: ">d"}
ZEROS: Final = {
    UNSIGNED: b"\x00",
    NEGATIVE: b"\x00",
    BYTES: b"\x40",
    TEXT: b"\x60",
    ARRAY: b"\x80",
    MAP: b"\xa0",
    TAG: b"\xc1\x00",
}


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one data item: its major type, its additional information, its argument (None:
    indefinite)."""

    major: int
    info: int
    argument: int | None
    end: int


def mask_cbor(body: bytes, root: Place, scalars: Scalars) -> bytes:
    """`body` with everything masked that `root` leads to. Refusal (502) if it is not one whole data item."""
    walk = _Walk(body, scalars)
    try:
        end = walk.value(0, root, scalars.trail)
    except (ValueError, IndexError, struct.error, RecursionError):
        raise unreadable("the body is not well-formed CBOR") from None
    if end != len(body):
        raise unreadable("the body goes on after its CBOR value")
    return walk.edits.splice(body)


def read(body: bytes, at: int = 0, depth: int = 0) -> tuple[Any, int]:
    """The value at `at` as Python sees it, and where it ends. ValueError or IndexError if it is none."""
    head = read_head(body, at)
    if depth > DEPTH:
        raise unreadable("the body nests too deep", "mask-depth")
    match head.major:
        case 0:
            return _definite(head), head.end
        case 1:
            return -1 - _definite(head), head.end
        case 2 | 3:
            data, end = _string(body, head)
            return data.decode() if head.major == TEXT else data, end
        case 4:
            items: list[Any] = []
            end = head.end
            while not (stop := _ends(body, head, end, len(items))):
                item, end = read(body, end, depth + 1)
                items.append(item)
            return items, end + stop - 1
        case 5:
            pairs: list[tuple[str, Any]] = []
            end = head.end
            while not (stop := _ends(body, head, end, len(pairs))):
                name, end = _name(body, end)
                value, end = read(body, end, depth + 1)
                pairs.append((name, value))
            return once(pairs), end + stop - 1
        case 6:
            _definite(head)
            return read(body, head.end, depth + 1)
    if head.info in FLOATS:
        size = head.end - at - 1
        return struct.unpack(FLOATS[head.info], body[head.end - size : head.end])[0], head.end
    return {20: False, 21: True, 22: None, 23: None}[head.info], head.end


def read_head(body: bytes, at: int) -> Head:
    """The head at `at`. ValueError for reserved forms."""
    first = body[at]
    major, info = first >> 5, first & 31
    if info < 24:
        if major == SIMPLE and info < 20:
            raise ValueError("an unassigned simple value")
        return Head(major, info, info, at + 1)
    if info < 28:
        if (major, info) == (SIMPLE, 24):
            raise ValueError("an unassigned simple value")
        end = at + 1 + (1 << (info - 24))
        if end > len(body):
            raise ValueError("cut short")
        return Head(major, info, int.from_bytes(body[at + 1 : end]), end)
    if info == INDEFINITE and major in (BYTES, TEXT, ARRAY, MAP):
        return Head(major, info, None, at + 1)
    raise ValueError("a reserved head")


def write_head(major: int, argument: int) -> bytes:
    """The shortest head for `argument`."""
    if argument < 24:
        return bytes([major << 5 | argument])
    size = next(power for power in range(4) if argument < 1 << (8 << power))
    return bytes([major << 5 | 24 + size]) + argument.to_bytes(1 << size)


def _definite(head: Head) -> int:
    if head.argument is None:
        raise ValueError("a length is missing")
    return head.argument


def _ends(body: bytes, head: Head, at: int, count: int) -> int:
    """0 while an array or map goes on; else 1 plus the length of what ends it."""
    if head.argument is not None:
        return int(count == head.argument)
    return 2 if body[at] == BREAK else 0


def _is_time(body: bytes, tag: Head) -> bool:
    """Whether a tag is that of a time, on a number: readers know no other."""
    inner = read_head(body, tag.end)
    number = inner.major in (UNSIGNED, NEGATIVE) or (inner.major == SIMPLE and inner.info in FLOATS)
    return number and tag.argument == EPOCH


def _string(body: bytes, head: Head) -> tuple[bytes, int]:
    """The bytes of a byte or text string, and where it ends."""
    if head.argument is not None:
        end = head.end + head.argument
        if end > len(body):
            raise ValueError("cut short")
        return body[head.end : end], end
    parts = []
    at = head.end
    while body[at] != BREAK:
        chunk = read_head(body, at)
        if chunk.major != head.major or chunk.argument is None:
            raise ValueError("a chunk of another type")
        part, at = _string(body, chunk)
        parts.append(part)
    return b"".join(parts), at + 1


def _name(body: bytes, at: int) -> tuple[str, int]:
    head = read_head(body, at)
    if head.major != TEXT:
        raise ValueError("a name that is not text")
    name, end = _string(body, head)
    return name.decode(), end


class _Walk:
    """One pass over one document. Methods take the position of what they read and return where it ends."""

    def __init__(self, body: bytes, scalars: Scalars) -> None:
        self.body = body
        self.scalars = scalars
        self.edits: Edits[bytes] = Edits()
        self.depth = 0

    def value(self, at: int, place: Place, trail: Trail) -> int:
        if place.dead:
            return read(self.body, at, self.depth)[1]
        head = read_head(self.body, at)
        if head.major == TAG and not _is_time(self.body, head):
            raise unreadable("the body has a tag that is not that of a time")
        if head.major not in (ARRAY, MAP):
            return self.scalar(at, head, place, trail)
        if place.kind not in (OBJECTS if head.major == MAP else ARRAYS):
            if place.leads:
                raise another_kind()
            place = place.unmodelled()
        if place.whole:
            trail.hit()
            end = read(self.body, at, self.depth)[1]
            self.edits.put(at, end, ZEROS[head.major])
            return end
        self.depth += 1
        if self.depth > DEPTH:
            raise unreadable("the body nests too deep", "mask-depth")
        end = self.container(at, head, place, trail)
        self.depth -= 1
        return end

    def container(self, at: int, head: Head, place: Place, trail: Trail) -> int:
        """A map or an array, member by member."""
        position, count, dropped = head.end, 0, 0
        while not (stop := _ends(self.body, head, position, count)):
            start = position
            if head.major == MAP:
                name, position = _name(self.body, position)
                below = place.member(name, self.reader(position, place, name))
                sparable = place.kind != "union"
            else:
                name, sparable = "", True
                below = place.item(count, self.reader(position, place, None))
            step = trail.below(place, name)
            if below.drops and sparable:
                step.hit()
                position = read(self.body, position, self.depth)[1]
                self.edits.put(start, position, b"")
                dropped += 1
            else:
                position = self.value(position, below, step)
            count += 1
        if dropped and head.argument is not None:
            self.edits.put(at, head.end, write_head(head.major, count - dropped))
        return position + stop - 1

    def scalar(self, at: int, head: Head, place: Place, trail: Trail) -> int:
        if place.leads and not (head.major == SIMPLE and head.info in NO_VALUE):
            raise another_kind()
        value, end = read(self.body, at, self.depth)
        new = self.instead(head, value, place)
        if new is not None:
            trail.hit()
            self.edits.put(at, end, new)
        return end

    def instead(self, head: Head, value: Any, place: Place) -> bytes | None:
        """The data item for a scalar; None where it stays."""
        way = place.way
        if way is None or (head.major == SIMPLE and head.info in NO_VALUE):
            return None
        if head.major == TEXT:
            text = self.scalars.text(value, place)
            return None if text is None else _data(TEXT, text.encode("utf-8", "surrogatepass"))
        if head.major == BYTES:
            data = self.scalars.blob(value, way)
            return None if data == value else _data(BYTES, data)
        if way.how is None and not way.inside:
            return None
        if head.major == SIMPLE:
            return b"\xf4" if head.info < 24 else b"\xfb" + bytes(8)
        return ZEROS[head.major]

    def reader(self, at: int, place: Place, name: str | None) -> Callable[[], Any]:
        if not place.wants_values:
            return no_value
        return lambda: modelled(read(self.body, at)[0], place.shape_below(name), place.plan.wire_name)


def _data(major: int, data: bytes) -> bytes:
    return write_head(major, len(data)) + data
