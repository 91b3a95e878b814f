"""Ways to mask one value: which of several masks wins, and what stands in the value's place.

`fixed` depends on the type, so that every SDK still parses the answer; `hash` is keyed, so that equal values
stay equal within a deployment and say nothing outside it; `first4` and `last4` show four characters of values
that are long enough; `drop` takes the member away. Of overlapping masks the strictest wins: drop, fixed,
hash, then the two that show characters (both together show none).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from callgate.decision import Mask

FIXED: Final = "***"
EPOCH: Final = "1970-01-01T00:00:00Z"
EPOCH_HTTP: Final = "Thu, 01 Jan 1970 00:00:00 GMT"
HOWS: Final = ("drop", "fixed", "hash", "last4", "first4")
SHOWN: Final = 4
LONG_ENOUGH: Final = 12
"""Values shorter than this show nothing: four characters of a short secret are too much of it."""


@dataclass(frozen=True, slots=True)
class Way:
    """How one place is masked.

    `how` masks the whole value (None: only parts of it). `inside` are pairs of a JSONPath into the JSON that
    the string holds and a way of masking there; `detect` names patterns.
    """

    how: str | None = None
    inside: tuple[tuple[str, str], ...] = ()
    detect: tuple[str, ...] = ()


def combine(masks: Iterable[Mask], detect: tuple[str, ...]) -> Way | None:
    """One way out of all masks that fall on a place. None if nothing is to be done there."""
    masks = tuple(masks)
    whole = {mask.how for mask in masks if mask.inside is None}
    if not whole:
        inside = tuple(sorted({(mask.inside, mask.how) for mask in masks if mask.inside is not None}))
        return Way(None, inside, detect) if inside or detect else None
    how = "fixed" if whole == {"last4", "first4"} else min(whole, key=HOWS.index)
    return Way(how)


def keyed_hash(data: bytes, key: bytes) -> str:
    """HMAC-SHA256 of `data` as text, half its length: stable within a deployment, useless without the key."""
    return "hmac-sha256:" + hmac.digest(key, data, hashlib.sha256).hex()[:32]


def masked_text(how: str, text: str, key: bytes) -> str:
    """What stands in the place of a string."""
    match how:
        case "hash":
            return keyed_hash(text.encode("utf-8", "surrogatepass"), key)
        case "last4" if len(text) >= LONG_ENOUGH:
            return FIXED + text[-SHOWN:]
        case "first4" if len(text) >= LONG_ENOUGH:
            return text[:SHOWN] + FIXED
    return FIXED


def masked_bytes(how: str, data: bytes, key: bytes) -> bytes:
    """What stands in the place of a blob."""
    match how:
        case "hash":
            return keyed_hash(data, key).encode()
        case "last4" if len(data) >= LONG_ENOUGH:
            return FIXED.encode() + data[-SHOWN:]
        case "first4" if len(data) >= LONG_ENOUGH:
            return data[:SHOWN] + FIXED.encode()
    return FIXED.encode()
