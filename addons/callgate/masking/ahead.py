"""What lies ahead of a place: where the model leads to something masked, and which names a text must hold
for it.

In: the places of a plan. Out: `Below`, what the model says under a plan's root, and `Ahead`, the names
without which text at a place can be passed over. All names are case-folded.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

if TYPE_CHECKING:
    from callgate.masking.places import Place, Plan

CONTAINERS: Final = frozenset({"structure", "union", "list", "map"})
"""What the model knows members, items or entries of."""


class Below:
    """The model under the root of a plan: what its members are called, and what holds what.

    Shapes go by their names, which are unique within a service.
    """

    def __init__(self, plan: Plan, root: Shape | None) -> None:
        self.wires: dict[str, set[str]] = defaultdict(set)
        """Name of a member -> what it may be called on the wire."""
        self.secret: set[str] = set()
        """What sensitive members, and those whose items or entries are sensitive, may be called."""
        # The other way round: what is called so; what members of a shape are called; the shapes that have a
        # member of a name; the shapes that hold a shape.
        self._names: dict[str, set[str]] = defaultdict(set)
        self._called: dict[str, set[str]] = defaultdict(set)
        self._holders: dict[str, set[str]] = defaultdict(set)
        self._parents: dict[str, set[str]] = defaultdict(set)
        secret_holders: set[str] = set()
        seen: set[str] = set()
        shapes = [root]
        while shapes:
            shape = shapes.pop()
            if shape is None or shape.name in seen:
                continue
            seen.add(shape.name)
            for name, wire, member in _members(plan, shape):
                self._parents[member.name].add(shape.name)
                if plan.secret(shape, name, member):
                    secret_holders.add(shape.name)
                if wire is not None:
                    names = {wire.casefold(), name.casefold()}
                    if isinstance(member, ListShape) and "name" in member.member.serialization:
                        # XML's other form of lists.
                        names.add(member.member.serialization["name"].casefold())
                    self.wires[name.casefold()] |= names
                    for called in names:
                        self._names[called].add(name.casefold())
                    self._holders[name.casefold()].add(shape.name)
                    self._called[member.name] |= names
                    if plan.secret(shape, name, member) or plan.holds_secret(member):
                        self.secret |= names
                shapes.append(member)
        self.to_secret: frozenset[str] = self._above(secret_holders)
        """The shapes under which the model has something sensitive."""
        self._to: dict[str, frozenset[str]] = {}

    def to(self, name: str) -> frozenset[str]:
        """The shapes under which the model has a member `name`."""
        if name not in self._to:
            self._to[name] = self._above(self._holders.get(name.casefold(), ()))
        return self._to[name]

    def names(self, wire: str) -> set[str]:
        """The names of members that may be called `wire`, and `wire` itself."""
        return {wire, *self._names.get(wire, ())}

    def called(self, shapes: Iterable[str]) -> set[str]:
        """What members of these shapes may be called."""
        return {name for shape in shapes for name in self._called.get(shape, ())}

    def _above(self, shapes: Iterable[str]) -> frozenset[str]:
        found: set[str] = set()
        left = list(shapes)
        while left:
            shape = left.pop()
            if shape not in found:
                found.add(shape)
                left += self._parents.get(shape, ())
        return frozenset(found)


def _members(plan: Plan, shape: Shape) -> list[tuple[str, str | None, Shape]]:
    """(name, name on the wire if it has one, shape) of what a shape holds."""
    match shape:
        case StructureShape():
            return [
                (name, plan.wire_name(name, member) or name, member) for name, member in shape.members.items()
            ]
        case ListShape():
            return [("member", None, shape.member)]
        case MapShape():
            return [("value", None, shape.value)]
    return []


def leads(place: Place) -> bool:
    """Whether masks go on below `place`, in the model or as a path demands it: a value of another kind would
    hide what they fall on."""
    plan = place.plan
    if place.shape is None:
        reached = zip(plan.paths, place.states, strict=True)
        return plan.reading == "demanded" and any(path.leads(at) for path, at in reached)
    if place.kind not in CONTAINERS or (place.way is not None and place.way.how):
        return False
    shape = place.shape.name
    if plan.sensitive and shape in plan.below.to_secret:
        return True
    for path, states in zip(plan.paths, place.states, strict=True):
        at = path.onward(states)
        names = path.last_names(at)
        if path.leads(at) or names is None or any(shape in plan.below.to(name) for name in names):
            return True
    return False


class Ahead:
    """Names without which nothing is masked, and nothing is of another kind than it must be, at a place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @functools.cached_property
    def shallow(self) -> bool:
        """Whether a scalar here, or one in an array of scalars, may be masked or refused."""
        if self._place.way is not None or self._place.leads:
            return True
        place = self._place if self._place.kind == "list" else self._place.unmodelled()
        return place.by_index or place.item(0).way is not None

    @functools.cached_property
    def needles(self) -> frozenset[str] | None:
        """Names of which one must stand in what is here; None if names do not tell."""
        place, plan = self._place, self._place.plan
        if place.masks or plan.detect or plan.holds_secret(place.shape):
            return None
        if place.leads and isinstance(place.shape, ListShape | MapShape):
            return None
        needed = set(plan.searched_names if place.shape is None else plan.below.secret)
        if place.leads and plan.sensitive:
            needed |= plan.below.called(plan.below.to_secret)
        for path, at in zip(plan.paths, place.states, strict=True):
            last = path.last_names(at)
            names = path.later_names(at) if place.leads else last
            if last is None or names is None:
                return None
            for name in names:
                needed |= {name.casefold(), *plan.below.wires.get(name.casefold(), ())}
            if place.leads:
                for name in last:
                    needed |= plan.below.called(plan.below.to(name))
        return frozenset(needed)

    @functools.cached_property
    def names(self) -> frozenset[str] | None:
        """The names under which scalars may be masked or refused, alone or in an array; None if any name may
        be."""
        place = self._place
        if place.wants_values or place.stranger().ahead.shallow:
            return None
        wires = place.plan.below.wires
        named = set(place.plan.searched_names)
        for name in place.next_names:
            named |= {name.casefold(), *wires.get(name.casefold(), ())}
        for wire, (name, shape) in place.members.items():
            if place.modelled(name, shape).ahead.shallow:
                named |= {wire.casefold(), name.casefold()}
        return frozenset(named)

    @functools.cached_property
    def inner(self) -> frozenset[str] | None:
        """Names of which one must stand in what has none of `names`; None if names do not tell."""
        if self.names is None:
            return None
        place = self._place
        others = [place.stranger()]
        for wire, (name, shape) in place.members.items():
            if wire.casefold() not in self.names:
                others.append(place.modelled(name, shape))
        found: set[str] = set()
        for other in others:
            if other.ahead.needles is None:
                return None
            found |= other.ahead.needles
        return frozenset(found)
