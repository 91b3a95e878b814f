"""Can a JSONPath find anything in values of a botocore shape? For warnings about paths that cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jsonpath_ng
from jsonpath_ng.ext.filter import Filter

from callgate.policy.jsonpath import Path
from callgate.policy.names import near

ANY = object()
"""A place of which the model does not say what it holds."""


class PathCheck:
    """One path walked over the shapes of some operations.

    `found` tells whether it can find something in one of them; if not, `missing` is the name at which it ends
    and `hint` suggests the nearest name that is there.
    """

    def __init__(self, path: Path, shapes: Sequence[Any]) -> None:
        self.missing: str | None = None
        self.hint = ""
        self._root = list(shapes)
        self.found = bool(self._walk(path.tree, self._root))

    def _walk(self, node: Any, places: list[Any]) -> list[Any]:
        match node:
            case jsonpath_ng.Root():
                return self._root
            case jsonpath_ng.This():
                return places
            case jsonpath_ng.Child():
                return self._walk(node.right, self._walk(node.left, places))
            case jsonpath_ng.Descendants():
                return self._walk(node.right, list(_deep(self._walk(node.left, places))))
            case jsonpath_ng.Fields() if node.fields != ("*",):
                return self._members(node.fields, places)
            case jsonpath_ng.Index() | jsonpath_ng.Slice():
                return [inner for place in places for inner in _items(place)]
            case Filter():
                return [inner for place in places for inner in _children(place)]
        return [inner for place in places for inner in _children(place)]

    def _members(self, names: Sequence[str], places: list[Any]) -> list[Any]:
        found = []
        known: set[str] = set()
        for place in places:
            if place is ANY:
                found.append(ANY)
            elif place.type_name == "map":
                found.append(place.value)
            elif place.type_name == "structure":
                if getattr(place, "is_document_type", False):
                    found.append(ANY)
                known.update(place.members)
                found.extend(place.members[name] for name in names if name in place.members)
        if places and not found and self.missing is None:
            self.missing = names[0]
            self.hint = near(names[0], known)
        return found


def _children(place: Any) -> list[Any]:
    if place is ANY:
        return [ANY]
    if place.type_name == "structure":
        return [ANY] if getattr(place, "is_document_type", False) else list(place.members.values())
    return [place.value] if place.type_name == "map" else _items(place)


def _items(place: Any) -> list[Any]:
    if place is ANY:
        return [ANY]
    return [place.member] if place.type_name == "list" else []


def _deep(places: list[Any]) -> Iterator[Any]:
    """`places` and all that lies in them; shapes that contain themselves are visited once."""
    seen: set[str] = set()
    stack = list(places)
    while stack:
        place = stack.pop()
        name = "any" if place is ANY else place.name
        if name not in seen:
            seen.add(name)
            yield place
            stack.extend(_children(place))
