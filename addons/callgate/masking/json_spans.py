"""JSON masked in place: what a mask does not reach keeps its bytes, digits and order (RFC 8259).

The text is walked once, guided by the places of a plan. Runs of members that no mask can reach are passed
over by one regular expression, dead subtrees by CPython's own scanner; both check the grammar, so that the
whole text has been read when masking is done. A key spelled with escapes, twice, or in another case is met
like any other.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.call import Refusal
from callgate.decision import Mask
from callgate.masking.edits import DEPTH, Edits, another_kind, unreadable
from callgate.masking.json_grammar import Needles, comma, events, items, spaces
from callgate.masking.places import KEPT, Place, Plan, WireName, no_value
from callgate.masking.scalars import Scalars, Trail

OBJECTS: Final = frozenset({"structure", "union", "map", "document"})
ARRAYS: Final = frozenset({"list", "document"})

NEAR: Final = 100
"""Objects are not measured when a name that matters stands this near: it most likely stands in them."""

FAR: Final = 16_384
"""What is longer is walked, unless no name that matters follows at all."""

TRIES: Final = 16
"""Of objects at one place, only every so many-th is measured while names that matter stand in them."""


def once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The members of an object that a filter reads. Refusal (502) where one comes twice: parsers differ."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise unreadable("the body has a member twice where a mask depends on it")
        found[name] = value
    return found


def modelled(value: Any, shape: Shape | None, wire_name: WireName) -> Any:
    """A parsed value under the names of the model, as filters see it. Refusal (502) if it is of another
    kind."""
    match shape:
        case _ if value is None or shape is None:
            return value
        case StructureShape() if shape.is_document_type:
            return value
        case StructureShape() if isinstance(value, dict):
            members = [
                (wire_name(name, member) or name, name, member) for name, member in shape.members.items()
            ]
            known = {wire.casefold(): (name, member) for wire, name, member in members}
            named = ((*known.get(key.casefold(), (key, None)), each) for key, each in value.items())
            return once((name, modelled(each, member, wire_name)) for name, member, each in named)
        case MapShape() if isinstance(value, dict):
            return {key: modelled(each, shape.value, wire_name) for key, each in value.items()}
        case ListShape() if isinstance(value, list):
            return [modelled(each, shape.member, wire_name) for each in value]
    if isinstance(value, dict | list) or isinstance(shape, StructureShape | MapShape | ListShape):
        raise another_kind()
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Numbers stay text: only their span matters, and int() refuses long ones.
_scan = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant).scan_once  # type: ignore[attr-defined]
_read = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=once).scan_once  # type: ignore[attr-defined]


def mask_text(text: str, root: Place, scalars: Scalars) -> str:
    """`text` with everything masked that `root` leads to. Refusal (502) if it is not one JSON value."""
    try:
        return _mask(text, root, scalars)
    except ValueError:
        raise unreadable("the body is not well-formed JSON") from None


def mask_inside(key: bytes) -> Callable[[str, str, str], str]:
    """What masks JSON within a string: (text, path, how) -> text.

    ValueError if the string holds no JSON, or none in which the path can go where it leads: a password may
    well look like a number.
    """

    def inside(text: str, path: str, how: str) -> str:
        if text.lstrip(" \t\r\n")[:1] not in ("{", "["):
            raise ValueError("neither an object nor a list")
        try:
            return _mask(text, _inner_root(path, how), Scalars(key, inside))
        except Refusal as refusal:
            raise ValueError(refusal.code) from None

    return inside


@functools.lru_cache(maxsize=1024)
def _inner_root(path: str, how: str) -> Place:
    mask = Mask("inside", (path,), how)
    return Plan([mask], lambda name, _: name, reading="demanded").root(None)


def _mask(text: str, root: Place, scalars: Scalars) -> str:
    walk = _Walk(text, scalars)
    try:
        end = walk.space(walk.value(walk.space(0), root, scalars.trail))
    except (IndexError, StopIteration, RecursionError):
        raise ValueError("not JSON, or cut short") from None
    if end != len(text):
        raise ValueError("more than one value")
    for start, stop in _cut(text, walk.dropped):
        walk.edits.put(start, stop, "")
    return walk.edits.splice(text)


def _cut(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What to cut so that the members or items at `spans`, in rising order, are gone with a comma each."""
    at = 0
    while at < len(spans):
        start, end = spans[at]
        at += 1
        while (separator := comma.match(text, end)) and at < len(spans) and spans[at][0] == separator.end():
            end = spans[at][1]
            at += 1
        if separator:
            yield start, separator.end()
        else:
            # The last of all: the comma before it goes, if there is one.
            before = start - 1
            while text[before] in " \t\n\r":
                before -= 1
            yield (before if text[before] == "," else start), end


class _Walk:
    """One pass over one text. Methods take the position of what they read and return where it ends."""

    def __init__(self, text: str, scalars: Scalars) -> None:
        self.text = text
        self.scalars = scalars
        self.edits: Edits[str] = Edits()
        self.dropped: list[tuple[int, int]] = []
        self.needles: dict[frozenset[str], Needles] = {}
        self.waits: dict[Place, int] = {}
        self.sites: dict[tuple[Place, Trail], _Site] = {}
        self.depth = 0

    def space(self, at: int) -> int:
        found = spaces.match(self.text, at)
        return found.end() if found else at

    def value(self, at: int, place: Place, trail: Trail) -> int:
        """Any value."""
        opens = self.text[at]
        if place.dead:
            return int(_scan(self.text, at)[1])
        if opens not in "{[":
            end = int(_scan(self.text, at)[1])
            self.scalar(at, end, place, trail)
            return end
        if place.kind not in (OBJECTS if opens == "{" else ARRAYS):
            if place.leads:
                raise another_kind()
            place = place.unmodelled()
        if place.whole:
            trail.hit()
            end = int(_scan(self.text, at)[1])
            self.edits.put(at, end, "{}" if opens == "{" else "[]")
            return end
        passed = self.passed(at, place)
        if passed is not None:
            return passed
        self.depth += 1
        if self.depth > DEPTH:
            raise unreadable("the body nests too deep", "mask-depth")
        end = self.object(at, place, trail) if opens == "{" else self.array(at, place, trail)
        self.depth -= 1
        return end

    def passed(self, at: int, place: Place) -> int | None:
        """The end of an object or array that holds none of the names under which `place` leads to a mask."""
        if wait := self.waits.get(place):
            self.waits[place] = wait - 1
            return None
        names = place.ahead.needles
        if names is None:
            return None
        needles = self.needles.get(names)
        if needles is None:
            needles = self.needles[names] = Needles(self.text, names)
        next_one = needles.after(at)
        if next_one == len(self.text):
            return int(_scan(self.text, at)[1])
        if next_one - at >= NEAR:
            # A value that goes on behind the name fails here, and has cost no more than the way to it.
            with contextlib.suppress(ValueError, StopIteration):
                return at + int(_scan(self.text[at : min(next_one, at + FAR)], 0)[1])
        self.waits[place] = TRIES - 1
        return None

    def scalar(self, at: int, end: int, place: Place, trail: Trail) -> None:
        fixed = place.fixed_json
        if fixed is not None and self.text[at] == '"':
            new: str | None = fixed
        elif place.leads and self.text[at] != "n":
            raise another_kind()
        else:
            new = self.scalars.json(self.text[at:end], place)
        if new is not None:
            trail.hit()
            self.edits.put(at, end, new)

    def object(self, at: int, place: Place, trail: Trail) -> int:
        site = self.sites.get((place, trail))
        if site is None:
            site = self.sites[place, trail] = _Site(place, trail)
        text, next_event, fixed, put = self.text, site.next_event, site.fixed, self.edits.changes.append
        at += 1
        while True:
            event = next_event(text, at)
            assert event is not None
            key, scalar, sign = event.group(2, 3, 4)
            if sign is not None and (new := fixed.get(key)) is not None and scalar[0] == '"':
                put((*event.span(3), new))
                at = event.end()
            elif key is None and text[event.end()] == "}" and text[event.end(1) - 1] != ",":
                # The object is empty, or the run went to its last member.
                return event.end() + 1
            else:
                at = self.member(event, site)
                sign = text[at - 1]
            if sign == "}":
                return at

    def member(self, event: re.Match[str], site: _Site) -> int:
        """The member that `event` found. Gives the position behind the sign after it."""
        text, place, trail = self.text, site.place, site.trail
        key, scalar, sign = event.group(2, 3, 4)
        at = event.end()
        if key is not None:
            start = event.start(2) - 1
            if scalar is not None:
                at = event.start(3)
        elif text[at] != '"':
            raise ValueError("a name is missing")
        else:
            start = at
            key, at = scanstring(text, at + 1, True)
            at = self.expect(":", at)
        child = place.member(key, self.reader(at, place, key) if site.wants else no_value)
        below = trail.below(place, key)
        if child.drops and not site.union:
            at = self.drop(start, at, below)
        elif sign is None:
            at = self.value(at, child, below)
        else:
            if scalar[0] == '"':
                site.keep(key, child)
            self.scalar(at, event.end(3), child, below)
            return event.end()
        at = self.space(at)
        if text[at] not in ",}":
            raise ValueError("a comma is missing")
        return at + 1

    def array(self, at: int, place: Place, trail: Trail) -> int:
        text = self.text
        at = self.space(at + 1)
        if text[at] == "]":
            return at + 1
        passes = not place.by_index and place.item(0).way is None and not place.item(0).leads
        trail = trail.below(place, "")
        index = 0
        while True:
            if passes and text[at] not in "{[" and (passed := items.match(text, at)) and passed.end() > at:
                at = self.space(passed.end())
            child = place.item(index, self.reader(at, place, None) if place.wants_values else no_value)
            at = self.drop(at, at, trail) if child.drops else self.value(at, child, trail)
            if text[at] not in ",]":
                at = self.space(at)
            if text[at] == "]":
                return at + 1
            at = at + 1 if text[at] == "," and text[at + 1] == "{" else self.expect(",", at)
            index += 1

    def drop(self, start: int, at: int, trail: Trail) -> int:
        """A member or item that starts at `start`, has its value at `at`, and goes."""
        trail.hit()
        end = int(_scan(self.text, at)[1])
        self.dropped.append((start, end))
        return end

    def expect(self, sign: str, at: int) -> int:
        text = self.text
        if text[at] != sign:
            at = self.space(at)
            if text[at] != sign:
                raise ValueError(f"{sign} is missing")
        return at + 1 if text[at + 1] in '"{[' else self.space(at + 1)

    def reader(self, at: int, place: Place, key: str | None) -> Callable[[], Any]:
        return lambda: modelled(self.read(at), place.shape_below(key), place.plan.wire_name)

    def read(self, at: int) -> Any:
        """The value at `at`. ValueError if it is none."""
        try:
            return _read(self.text, at)[0]
        except StopIteration:
            raise ValueError("cut short") from None


class _Site:
    """Objects of one kind in one text: what their walks share."""

    def __init__(self, place: Place, trail: Trail) -> None:
        self.place = place
        self.trail = trail
        self.next_event = events(place.ahead.names, place.ahead.inner).match
        self.wants = place.wants_values
        self.union = place.kind == "union"
        self.fixed: dict[str, str] = {}
        """Name -> what strings under it become, whatever they hold; one has been masked already."""

    def keep(self, key: str, child: Place) -> None:
        """Remember what becomes of strings under a name, if that is always the same."""
        if child.fixed_json is not None and not self.wants and len(self.fixed) < KEPT:
            self.fixed[key] = child.fixed_json
