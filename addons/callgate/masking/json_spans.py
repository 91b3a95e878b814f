"""JSON masked in place: what a mask does not reach keeps its bytes, digits and order (RFC 8259).

The text is walked once, guided by the places of a plan. Runs of members that no mask can reach are passed
over by one regular expression, dead subtrees by CPython's own scanner; both check the grammar, so that the
whole text has been read when masking is done. A key spelled with escapes, twice, or in another case is met
like any other.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.decision import Mask
from callgate.masking.edits import DEPTH, Edits, unreadable
from callgate.masking.places import Place, Plan, WireName, no_value
from callgate.masking.scalars import Scalars, Trail

WS: Final = r"[ \t\n\r]*+"
STRING: Final = r'"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+"'
NUMBER: Final = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
SCALAR: Final = f"(?:{STRING}|{NUMBER}|true|false|null)"
OBJECTS: Final = frozenset({"structure", "union", "map", "document"})
ARRAYS: Final = frozenset({"list", "document"})

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
        end = walk.space(walk.value(walk.space(0), root, None))
    except (IndexError, StopIteration, RecursionError):
        raise ValueError("not JSON, or cut short") from None
    if end != len(text):
        raise ValueError("more than one value")
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


@functools.cache
def _passing(names: frozenset[str]) -> re.Pattern[str]:
    """Matches a run of members, each with its comma, that have scalar values and plain names other than
    `names`."""
    avoid = f'(?!(?i:{"|".join(map(re.escape, sorted(names)))})")' if names else ""
    return re.compile(rf'(?:{WS}"{avoid}[ !#-\[\]-~]*+"{WS}:{WS}{SCALAR}{WS},)*+')


class _Members:
    """Takes members out of an object or items out of an array, with the comma that each needs."""

    def __init__(self, edits: Edits[str]) -> None:
        self.edits = edits
        self.comma = -1
        self.any_kept = False
        self.pending: tuple[int, int] | None = None

    def keep(self, start: int) -> None:
        if self.pending is not None:
            self.edits.put(self.pending[0], start, "")
            self.pending = None
        self.any_kept = True

    def drop(self, start: int, end: int) -> None:
        if self.any_kept:
            self.edits.put(self.comma, end, "")
        else:
            self.pending = (start if self.pending is None else self.pending[0], end)

    def close(self) -> None:
        if self.pending is not None:
            self.edits.put(*self.pending, "")


class _Walk:
    """One pass over one text. Methods take the position of what they read and return where it ends."""

    def __init__(self, text: str, scalars: Scalars) -> None:
        self.text = text
        self.scalars = scalars
        self.edits: Edits[str] = Edits()
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
            return self.scalar(at, place, trail)
        if place.kind not in (OBJECTS if opens == "{" else ARRAYS):
            place = place.unmodelled()
        if place.way is not None and place.way.how is not None and not place.holds:
            self.scalars.note(trail)
            end = int(_scan(self.text, at)[1])
            self.edits.put(at, end, "{}" if opens == "{" else "[]")
            return end
        self.depth += 1
        if self.depth > DEPTH:
            raise unreadable("the body nests too deep", "mask-depth")
        end = self.object(at, place, trail) if opens == "{" else self.array(at, place, trail)
        self.depth -= 1
        return end

    def scalar(self, at: int, place: Place, trail: Trail) -> int:
        value, end = _scan(self.text, at)
        new = self.scalars.json(self.text[at], value, place)
        if new is not None:
            self.scalars.note(trail)
            self.edits.put(at, end, new)
        return int(end)

    def object(self, at: int, place: Place, trail: Trail) -> int:
        text, members = self.text, _Members(self.edits)
        run = None if place.names is None else _passing(place.names)
        at += 1
        first = True
        while True:
            if run is not None and (passed := run.match(text, at)) and passed.end() > at:
                members.keep(at)
                first = False
                at = passed.end()
                members.comma = at - 1
            start = at = self.space(at)
            if first and text[at] == "}":
                return at + 1
            if text[at] != '"':
                raise ValueError("a name is missing")
            key, at = scanstring(text, at + 1, True)
            at = self.expect(":", at)
            child = place.member(key, self.reader(at, place, key) if place.wants_values else no_value)
            at = self.held(members, start, at, child, place.kind != "union", (trail, place, key))
            first = False
            at = self.space(at)
            if text[at] == "}":
                members.close()
                return at + 1
            members.comma = at
            at = self.expect(",", at)

    def array(self, at: int, place: Place, trail: Trail) -> int:
        text, members = self.text, _Members(self.edits)
        at = self.space(at + 1)
        if text[at] == "]":
            return at + 1
        passes = not place.by_index and place.item(0).way is None
        index = 0
        while True:
            if passes and (passed := _items.match(text, at)) and passed.end() > at:
                members.keep(at)
                at = self.space(passed.end())
                members.comma = passed.end() - 1
            child = place.item(index, self.reader(at, place, None) if place.wants_values else no_value)
            at = self.space(self.held(members, at, at, child, True, (trail, place, "")))
            if text[at] == "]":
                members.close()
                return at + 1
            members.comma = at
            at = self.expect(",", at)
            index += 1

    def held(self, members: _Members, start: int, at: int, place: Place, sparable: bool, trail: Trail) -> int:
        """A member or item that starts at `start` and whose value is at `at`."""
        if place.drops and sparable:
            self.scalars.note(trail)
            end = int(_scan(self.text, at)[1])
            members.drop(start, end)
            return end
        members.keep(start)
        return self.value(at, place, trail)

    def expect(self, sign: str, at: int) -> int:
        at = self.space(at)
        if self.text[at] != sign:
            raise ValueError(f"{sign} is missing")
        return self.space(at + 1)

    def reader(self, at: int, place: Place, key: str | None) -> Callable[[], Any]:
        return lambda: modelled(_read(self.text, at)[0], place.shape_below(key), place.plan.wire_name)
