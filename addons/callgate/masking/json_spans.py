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
from collections.abc import Callable, Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.decision import Mask
from callgate.masking.edits import DEPTH, Edits, unreadable
from callgate.masking.places import KEPT, Place, Plan, WireName, no_value
from callgate.masking.scalars import Scalars, Trail

WS: Final = r"[ \t\n\r]*+"
STRING: Final = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
NUMBER: Final = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
SCALAR: Final = f"(?:{STRING}|{NUMBER}|true|false|null)"
PLAIN: Final = r"[ !#-\[\]-~]*+"
"""What names are made of if they are ASCII and written without escapes."""
OBJECTS: Final = frozenset({"structure", "union", "map", "document"})
ARRAYS: Final = frozenset({"list", "document"})

NEAR: Final = 100
"""Objects are not measured when a name that matters stands this near: it most likely stands in them."""

FAR: Final = 16_384
"""What is longer is walked, unless no name that matters follows at all."""

TRIES: Final = 16
"""Of objects at one place, only every so many-th is measured while names that matter stand in them."""

LEVELS: Final = 2
"""How deep the values nest that a regular expression passes over; deeper ones are walked."""

_comma = re.compile(rf"{WS},{WS}")
_spaces = re.compile(WS)
_items = re.compile(f"(?:{WS}{SCALAR}{WS},)*+")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Numbers stay text: only their span matters, and int() refuses long ones.
_scan = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant).scan_once  # type: ignore[attr-defined]
_read = json.JSONDecoder(parse_constant=_no_constant).scan_once  # type: ignore[attr-defined]


def mask_text(text: str, root: Place, scalars: Scalars) -> str:
    """`text` with everything masked that `root` leads to. Refusal (502) if it is not one JSON value."""
    try:
        return _mask(text, root, scalars)
    except ValueError:
        raise unreadable("the body is not well-formed JSON") from None


def mask_inside(key: bytes) -> Callable[[str, str, str], str]:
    """What masks JSON within a string: (text, path, how) -> text; ValueError if the string holds no JSON."""

    def inside(text: str, path: str, how: str) -> str:
        plan = Plan([Mask("inside", (path,), how)], wire_name=lambda name, _: name)
        return _mask(text, plan.root(None), Scalars(key, inside))

    return inside


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


def modelled(value: Any, shape: Shape | None, wire_name: WireName) -> Any:
    """A parsed JSON value under the names of the model, as filters see it."""
    if isinstance(shape, StructureShape) and isinstance(value, dict) and not shape.is_document_type:
        known = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
        pairs = ((*known.get(key, (key, None)), each) for key, each in value.items())
        return {name: modelled(each, member, wire_name) for name, member, each in pairs}
    if isinstance(shape, MapShape) and isinstance(value, dict):
        return {key: modelled(each, shape.value, wire_name) for key, each in value.items()}
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [modelled(each, shape.member, wire_name) for each in value]
    return value


def _passed_name(names: frozenset[str]) -> str:
    """A name, its colon behind it, that is plainly written and none of `names`."""
    avoid = f'(?!(?i:{"|".join(map(re.escape, sorted(names)))})")' if names else ""
    return f'"{avoid}{PLAIN}"{WS}:{WS}'


def _passed_value(names: frozenset[str], levels: int) -> str:
    """A value that nests `levels` deep at most and holds no name of `names`."""
    if not levels:
        return SCALAR
    value = _passed_value(names, levels - 1)
    items = rf"\[{WS}(?:{value}{WS}(?:,{WS}(?!\])|(?=\])))*+\]"
    members = rf"\{{{WS}(?:{_passed_name(names)}{value}{WS}(?:,{WS}(?!\}})|(?=\}})))*+\}}"
    return f"(?:{SCALAR}|{items}|{members})"


@functools.cache
def _events(names: frozenset[str] | None, inner: frozenset[str] | None) -> re.Pattern[str]:
    """Matches what comes next in an object, as far as it is plainly written.

    That is a run of members that nothing can be masked in (group 1): their names are none of `names` (None:
    any name matters), and their values hold none of `inner` (None: they are no objects). Then the name of a
    member (2) and its scalar value (3) with the sign behind it (4).
    """
    run = ""
    if names is not None:
        scalars = rf"(?:{SCALAR}|\[{WS}(?:{SCALAR}{WS}(?:,{WS}(?!\])|(?=\])))*+\])"
        value = scalars if inner is None else _passed_value(inner, LEVELS)
        run = rf"(?:{WS}{_passed_name(names)}{value}{WS}(?:,|(?=\}})))*+"
    member = rf'"({PLAIN})"{WS}:{WS}(?:({SCALAR}){WS}([,}}])?+)?+'
    return re.compile(rf"({run}){WS}(?:{member})?+")


def _cut(text: str, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What to cut so that the members or items at `spans`, in rising order, are gone with a comma each."""
    at = 0
    while at < len(spans):
        start, end = spans[at]
        at += 1
        while (comma := _comma.match(text, end)) and at < len(spans) and spans[at][0] == comma.end():
            end = spans[at][1]
            at += 1
        if comma:
            yield start, comma.end()
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
        self.needles: dict[frozenset[str], _Needles] = {}
        self.waits: dict[Place, int] = {}
        self.sites: dict[tuple[Place, Trail], _Site] = {}
        self.depth = 0

    def space(self, at: int) -> int:
        found = _spaces.match(self.text, at)
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
            place = place.unmodelled()
        if place.way is not None and place.way.how is not None and not place.holds:
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
        if place.needles is None:
            return None
        if wait := self.waits.get(place):
            self.waits[place] = wait - 1
            return None
        needles = self.needles.get(place.needles)
        if needles is None:
            needles = self.needles[place.needles] = _Needles(self.text, place.needles)
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
            if sign is not None and key in fixed and scalar[0] == '"':
                hit, new = fixed[key]
                hit()
                put((*event.span(3), new))
                at = event.end()
            else:
                at = self.member(event, site)
                sign = text[at - 1]
            if sign == "}":
                return at

    def member(self, event: re.Match[str], site: _Site) -> int:
        """What `event` found: a member, or that none follows. Gives the position behind the sign after it."""
        text, place, trail = self.text, site.place, site.trail
        key, scalar, sign = event.group(2, 3, 4)
        at = event.end()
        if key is not None:
            start = event.start(2) - 1
            if scalar is not None:
                at = event.start(3)
        elif text[at] == "}" and text[event.end(1) - 1] != ",":
            # The object is empty, or the run went to its last member.
            return at + 1
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
            site.keep(key, child, below)
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
        passes = not place.by_index and place.item(0).way is None
        trail = trail.below(place, "")
        index = 0
        while True:
            if passes and text[at] not in "{[" and (passed := _items.match(text, at)) and passed.end() > at:
                at = self.space(passed.end())
            child = place.item(index, self.reader(at, place, None) if place.wants_values else no_value)
            at = self.drop(at, at, trail) if child.drops else self.value(at, child, trail)
            if text[at] not in ",]":
                at = self.space(at)
            if text[at] == "]":
                return at + 1
            at = self.expect(",", at)
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
        return lambda: modelled(_read(self.text, at)[0], place.shape_below(key), place.plan.wire_name)


class _Site:
    """Objects of one kind in one text: what their walks share."""

    def __init__(self, place: Place, trail: Trail) -> None:
        self.place = place
        self.trail = trail
        self.next_event = _events(place.names, place.inner).match
        self.wants = place.wants_values
        self.union = place.kind == "union"
        self.fixed: dict[str, tuple[Callable[[], None], str]] = {}
        """Name -> where a string under it is masked, and what it becomes, whatever it holds."""

    def keep(self, key: str, child: Place, below: Trail) -> None:
        """Remember what becomes of strings under a name, if that is always the same."""
        if child.fixed_json is not None and not self.wants and len(self.fixed) < KEPT:
            self.fixed[key] = below.hit, child.fixed_json


class _Needles:
    """Where in a text some names stand: strings that are one of them, or names that escapes could make
    one."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text = text
        self.others = _others(names)
        self.next = 0

    def after(self, at: int) -> int:
        """The first of them from `at` on, where a value begins; positions are asked in rising order."""
        if self.next <= at:
            passed = self.others.match(self.text, at)
            self.next = passed.end() if passed else at
        return self.next


@functools.cache
def _others(names: frozenset[str]) -> re.Pattern[str]:
    """Matches all up to the next string that is one of `names`, or may be one if it is a name."""
    plain = rf'"(?!(?i:{"|".join(map(re.escape, sorted(names)))})"){PLAIN}"'
    return re.compile(rf'(?:[^"]++|{plain}|{STRING}(?!{WS}:))*+')
