"""One scalar value of a response, masked as its place says, in the form that its type allows.

In: the value as the wire gives it. Out: what stands there instead, or None where it stays as it is. `***` for
a timestamp or a number raises in SDKs, so each type has a fixed value of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Final

from callgate.masking.detect import mask_bytes, mask_text
from callgate.masking.places import KEPT, Place
from callgate.masking.ways import EPOCH, EPOCH_HTTP, FIXED, Way, masked_bytes, masked_text

NUMBERS: Final = frozenset({"integer", "long", "float", "double"})

_numeric = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?").fullmatch


class Trail:
    """A path that a walk has taken, in the names of the model; remembers whether something was masked
    there."""

    __slots__ = ("_below", "_hit", "_text")

    def __init__(self, text: str = "$") -> None:
        self._text = text
        self._below: dict[str, Trail] = {}
        self._hit = False

    def below(self, place: Place, key: str) -> Trail:
        """The path to what the wire calls `key` in a document at `place`; items and entries share one
        path."""
        found = self._below.get(key)
        if found is None:
            label = place.label(key)
            found = self._below.get(label) or Trail(self._text + label)
            self._below[label] = found
            if len(self._below) < KEPT:
                self._below[key] = found
        return found

    def hit(self) -> None:
        """Something was masked here."""
        self._hit = True

    def hits(self) -> set[str]:
        """All paths from here on at which something was masked."""
        found = {self._text} if self._hit else set()
        for trail in set(self._below.values()):
            found |= trail.hits()
        return found


@dataclass(eq=False)
class Scalars:
    """Masks scalars; its trail remembers where something was masked.

    `key` is the deployment's, for keyed hashes. `inside(text, path, how)` masks JSON within a string;
    ValueError if the string holds none.
    """

    key: bytes = field(repr=False)
    inside: Callable[[str, str, str], str] = field(repr=False)
    trail: Trail = field(default_factory=Trail, repr=False)
    headers: set[str] = field(default_factory=set)

    @property
    def masked(self) -> tuple[str, ...]:
        """Where something was masked: paths of the model, and headers."""
        return tuple(sorted(self.trail.hits() | self.headers))

    def json(self, raw: str, place: Place) -> str | None:
        """The JSON text that replaces `raw`, the JSON text of a scalar."""
        way = place.way
        opens = raw[0]
        if way is None or opens == "n":
            return None
        if opens == '"' and place.kind not in NUMBERS and place.kind != "boolean":
            new = self.text(scanstring(raw, 1)[0], place)
            return None if new is None else json.dumps(new)
        if way.how is None and not way.inside:
            return None
        return "false" if opens in "tf" or place.kind == "boolean" else "0"

    def text(self, text: str, place: Place) -> str | None:
        """The text for a scalar that is text on the wire, as all are in XML and in headers."""
        way = place.way
        if way is None:
            return None
        whole = way.how is not None or bool(way.inside)
        if place.kind in NUMBERS:
            new = "0" if whole else text
        elif place.kind == "boolean":
            new = "false" if whole else text
        elif place.kind == "timestamp":
            new = _epoch(text, place) if whole else text
        elif place.kind == "blob":
            new = self._base64(text, way)
        elif way.how is not None and place.reads_as_number:
            new = "0"
        else:
            new = self.string(text, way)
        return None if new == text else new

    def string(self, text: str, way: Way) -> str:
        """A string as `way` says."""
        if way.how is not None:
            return masked_text(way.how, text, self.key)
        for path, how in way.inside:
            text = self._inside(text, path, how)
        return mask_text(text, way.detect) if way.detect else text

    def searched(self, text: str, detect: tuple[str, ...]) -> str:
        """`text` without what the named patterns find."""
        return mask_text(text, detect) if detect else text

    def blob(self, data: bytes, way: Way) -> bytes:
        """A blob as `way` says."""
        if way.how is not None:
            return masked_bytes(way.how, data, self.key)
        for path, how in way.inside:
            try:
                data = self._inside(data.decode(), path, how).encode()
            except UnicodeDecodeError:
                return FIXED.encode()
        return mask_bytes(data, way.detect) if way.detect else data

    def _base64(self, text: str, way: Way) -> str:
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            # Not what the model says: some parsers would still show it, so nothing of it stays.
            return base64.b64encode(FIXED.encode()).decode()
        new = self.blob(data, way)
        return text if new == data else base64.b64encode(new).decode()

    def _inside(self, text: str, path: str, how: str) -> str:
        try:
            return self.inside(text, path, how)
        except ValueError:
            pass
        try:
            inner = base64.b64decode(text, validate=True).decode()
            return base64.b64encode(self.inside(inner, path, how).encode()).decode()
        except ValueError:
            return FIXED


def _epoch(text: str, place: Place) -> str:
    if _numeric(text):
        return "0"
    said = place.shape.serialization.get("timestampFormat") if place.shape is not None else None
    return EPOCH_HTTP if said == "rfc822" or text[:1].isalpha() else EPOCH
