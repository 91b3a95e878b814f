"""Response headers masked: members of the output that REST protocols put there, what repeats an error's
message, and patterns in any of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from functools import partial
from typing import Final

from botocore.model import ListShape, MapShape, Shape

from callgate.masking.places import Place
from callgate.masking.scalars import Scalars, Trail

Headers = tuple[tuple[str, str], ...]
FRAMING: Final = frozenset({"content-length", "transfer-encoding", "connection"})
"""What tells where the body ends stays: after a wrong length, the rest would be taken for another answer."""
ERROR_MESSAGE: Final = re.compile(r"(?:x-amzn?-error-?(?:message|detail).*|grpc-message)").fullmatch
"""What repeats the message of an error: `x-amzn-errormessage`; S3's `x-amz-error-message` and `-detail-…`."""


def mask_headers(
    headers: Headers, root: Place, members: Iterable[tuple[str, Shape]], scalars: Scalars
) -> Headers:
    """`headers` with the header members among `members`, those of the output whose place is `root`,
    masked."""
    kept: list[tuple[str, str] | None] = list(headers)
    trail = scalars.trail
    for name, shape in members:
        location = shape.serialization.get("location")
        if location not in ("header", "headers"):
            continue
        wire = shape.serialization.get("name", "" if location == "headers" else name).lower()
        for index, header in enumerate(kept):
            if header is None or header[0].lower() in FRAMING:
                continue
            key, value = header[0].lower(), partial(str, header[1])
            if not (key == wire if location == "header" else key.startswith(wire)):
                continue
            place = root.modelled(name, shape, value)
            if location == "headers" and isinstance(shape, MapShape) and not place.whole:
                place = place.member(header[0][len(wire) :], value)
            kept[index] = _masked(header, place, scalars, trail.below(root, name))
    return tuple(_searched(header, root, scalars) for header in kept if header is not None)


def mask_error_headers(headers: Headers, error: Place, scalars: Scalars) -> Headers:
    """`headers` of an error whose place is `error`, with what repeats its message masked as that is."""
    place = error.member("message")
    kept: list[tuple[str, str]] = []
    for name, value in headers:
        new = scalars.text(value, place) if ERROR_MESSAGE(name.lower()) else None
        if new is not None:
            scalars.headers.add(f"header {name.lower()}")
        if new is None or not place.drops:
            kept.append((name, value if new is None else new))
    return tuple(kept)


def _masked(header: tuple[str, str], place: Place, scalars: Scalars, trail: Trail) -> tuple[str, str] | None:
    """`header` as `place` says; None if it goes. A list in a header is masked as one value."""
    if isinstance(place.shape, ListShape):
        place = place.item(0, partial(str, header[1]))
    if place.drops or (place.kind == "map" and place.way is not None and place.way.how is not None):
        trail.hit()
        return None
    if place.shape is not None and place.shape.serialization.get("jsonvalue"):
        if place.way is None or (place.way.how is None and not place.way.inside):
            return header
        new: str | None = base64.b64encode(b'"***"').decode()
    else:
        new = scalars.text(header[1], place)
    if new is None:
        return header
    trail.hit()
    return header[0], new


def _searched(header: tuple[str, str], root: Place, scalars: Scalars) -> tuple[str, str]:
    """`header` without what patterns find in it."""
    new = scalars.searched(header[1], root.plan.detect)
    if new != header[1]:
        scalars.headers.add(f"header {header[0].lower()}")
    return header[0], new
