"""Where masks fall in the output of one operation: paths, sensitive members and patterns laid over the model.

A `Place` is one kind of position in a document (a shape, and how far each path has come there). Places are
made when a document first gets to them and are kept, so that walking a body costs look-ups only. A document
may hold more than the model knows: names that no model confirms are compared without regard to case, as some
parsers do.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.decision import Mask
from callgate.masking.ahead import Ahead, Below, leads
from callgate.masking.detect import check_names
from callgate.masking.paths import Path, UnknownValue, compile_path
from callgate.masking.ways import FIXED, Way, combine

States = tuple[frozenset[int], ...]
WireName = Callable[[str, Shape], str | None]
"""(modelled name, shape) of a member -> its name in a document; None if it stands elsewhere."""
Reading = Literal["as-written", "searched", "demanded"]
"""How paths go through what no model knows: as they are written; sought at any depth, since what a service
has added may hold anything; or demanding that objects and lists stand where they name members and items.
"""
IsSecret = Callable[[Shape, str, Shape], bool]
"""(what holds it, name of the member, its shape) -> whether it is sensitive."""

NUMBERS_IN_STRINGS: Final = frozenset({"NumberAttributeValue"})
"""String shapes that SDKs read as numbers."""
KEPT: Final = 512
"""How many names of one place are remembered: maps have any number of them."""


class Plan:
    """Masks over documents of one kind: an output, an error, an event, or JSON without a model.

    `wire_name` tells a member's name on the wire from its modelled name and shape. `reading` is that of what
    the model does not know. ValueError for a path that is none.
    """

    def __init__(
        self,
        masks: Iterable[Mask],
        wire_name: WireName,
        is_secret: IsSecret | None = None,
        *,
        reading: Reading = "as-written",
    ) -> None:
        masks = tuple(masks)
        pairs = [(mask, compile_path(text)) for mask in masks for text in mask.paths]
        self.wire_name = wire_name
        self.reading = reading
        self.masks: tuple[Mask, ...] = tuple(mask for mask, _ in pairs)
        self.paths: tuple[Path, ...] = tuple(path for _, path in pairs)
        self.sensitive: tuple[Mask, ...] = tuple(mask for mask in masks if mask.sensitive)
        self.detect: tuple[str, ...] = tuple(sorted({name for mask in masks for name in mask.detect}))
        check_names(self.detect)
        self._is_secret = is_secret
        self._places: dict[Any, Place] = {}
        self._root: Shape | None = None

    @functools.cached_property
    def below(self) -> Below:
        """What the model says under the root."""
        return Below(self, self._root)

    @functools.cached_property
    def searched_names(self) -> frozenset[str]:
        """Names, case-folded, of sensitive members, which are so wherever no model knows them."""
        return frozenset(self.below.secret if self.reading == "searched" else ())

    def holds_secret(self, shape: Shape | None) -> bool:
        """Whether the items or entries of a shape are sensitive, without a name between."""
        match shape:
            case ListShape():
                return bool(self.secret(shape, "member", shape.member)) or self.holds_secret(shape.member)
            case MapShape():
                return bool(self.secret(shape, "value", shape.value)) or self.holds_secret(shape.value)
        return False

    def root(self, shape: Shape | None) -> Place:
        """The place of the whole document."""
        self._root = shape
        return self.place(shape, tuple(path.start() for path in self.paths), ())

    def secret(self, parent: Shape | None, name: str, shape: Shape | None) -> tuple[Mask, ...]:
        """The masks that fall on a member because it is sensitive."""
        if not self.sensitive or self._is_secret is None or parent is None or shape is None:
            return ()
        return self.sensitive if self._is_secret(parent, name, shape) else ()

    def place(self, shape: Shape | None, states: States, fallen: tuple[Mask, ...]) -> Place:
        """The place of `shape` at `states`, where the masks `fallen` fell on it or on what holds it."""
        traits = repr(sorted(shape.serialization.items())) if shape is not None else ""
        key = (shape.name if shape is not None else None, traits, states, fallen)
        place = self._places.get(key)
        if place is None:
            reached = zip(self.masks, self.paths, states, strict=True)
            fallen = (*fallen, *(mask for mask, path, at in reached if path.ends(at)))
            place = self._places[key] = Place(self, shape, states, tuple(dict.fromkeys(fallen)))
        return place


def no_value() -> Any:
    """Stands for a value that no filter asks for, or nobody can tell."""
    raise UnknownValue


@dataclass(eq=False)
class Place:
    """One kind of position: which masks fell on it, and which places come below.

    Masks that fall on structures and lists of the model fall on what these hold instead, so that required
    members and unions stay whole. Maps and documents, whose very keys are data, are masked as one value.
    """

    plan: Plan = field(repr=False)
    shape: Shape | None
    states: States
    masks: tuple[Mask, ...]
    _children: dict[str, Place] = field(default_factory=dict, repr=False)
    _item: Place | None = field(default=None, repr=False)

    @functools.cached_property
    def way(self) -> Way | None:
        """How a value here is masked; None where it stays."""
        return combine(self.masks, self.plan.detect)

    @functools.cached_property
    def drops(self) -> bool:
        """Whether the value goes, if what holds it can spare it."""
        return self.way is not None and self.way.how == "drop"

    @functools.cached_property
    def kind(self) -> str:
        """The type of the shape; `document` where anything may stand, `union` for tagged unions."""
        match self.shape:
            case None if self.leads and (self.next_names or self.by_index):
                return "structure" if self.next_names else "list"
            case None:
                return "document"
            case StructureShape():
                if self.shape.is_document_type:
                    return "document"
                return "union" if self.shape.is_tagged_union else "structure"
            case _:
                return str(self.shape.type_name)

    @functools.cached_property
    def is_payload(self) -> bool:
        """Whether a body here is one blob or string, and no document."""
        return self.shape is not None and self.kind in ("blob", "string")

    @functools.cached_property
    def is_error(self) -> bool:
        """Whether the shape is an exception, of whose members SDKs do not tell the case."""
        return isinstance(self.shape, StructureShape) and bool(self.shape.metadata.get("exception"))

    @functools.cached_property
    def holds(self) -> bool:
        """Whether masks here fall on what the value holds."""
        return self.kind in ("structure", "union", "list")

    @functools.cached_property
    def whole(self) -> bool:
        """Whether a value here is masked as one, whatever it holds."""
        return self.way is not None and self.way.how is not None and not self.holds

    @functools.cached_property
    def reads_as_number(self) -> bool:
        """Whether SDKs read the string here as a number."""
        return self.shape is not None and self.shape.name in NUMBERS_IN_STRINGS

    @functools.cached_property
    def fixed_text(self) -> str | None:
        """The string that stands for every string here; None if the string itself matters."""
        if self.way is None or self.way.how not in ("fixed", "drop"):
            return None
        if self.reads_as_number:
            return "0"
        return FIXED if self.kind in ("string", "document") else None

    @functools.cached_property
    def fixed_json(self) -> str | None:
        """The same as JSON."""
        return None if self.fixed_text is None else json.dumps(self.fixed_text)

    @functools.cached_property
    def idle(self) -> bool:
        """Whether a scalar here stays as it is, and is where the model has one."""
        return self.way is None and self.shape is not None and not self.leads

    @functools.cached_property
    def flattened(self) -> bool:
        """Whether the items of a list, or the entries of a map, stand where the list or map would (XML)."""
        return self.shape is not None and bool(self.shape.serialization.get("flattened"))

    @functools.cached_property
    def dead(self) -> bool:
        """Whether nothing can be masked here or below, whatever the document holds."""
        return not (self.masks or any(self.states) or self.plan.sensitive or self.plan.detect)

    @functools.cached_property
    def wants_values(self) -> bool:
        """Whether a filter must see the children."""
        return any(path.wants_value(at) for path, at in zip(self.plan.paths, self.states, strict=True))

    @functools.cached_property
    def by_index(self) -> bool:
        """Whether the items of a list differ."""
        reached = zip(self.plan.paths, self.states, strict=True)
        return self.wants_values or any(path.by_index(at) for path, at in reached)

    @functools.cached_property
    def members(self) -> dict[str, tuple[str, Shape]]:
        """Wire name -> (modelled name, shape) of the members that stand in the document."""
        if not isinstance(self.shape, StructureShape) or self.kind == "document":
            return {}
        named = (
            (self.plan.wire_name(name, shape), name, shape) for name, shape in self.shape.members.items()
        )
        return {wire: (name, shape) for wire, name, shape in named if wire is not None}

    @functools.cached_property
    def leads(self) -> bool:
        """Whether masks go on below, so that the value must be of the kind that it should be."""
        return leads(self)

    @functools.cached_property
    def ahead(self) -> Ahead:
        """What must stand in a text here for something in it to be masked."""
        return Ahead(self)

    def member(self, key: str, value: Callable[[], Any] = no_value) -> Place:
        """The place of the member or map entry that the wire calls `key`; `value` gives its modelled
        value."""
        known = self._children.get(key)
        if known is not None:
            return known
        if isinstance(self.shape, MapShape):
            place = self.modelled(key, self.shape.value, value)
        else:
            name, shape = self.resolve(key)
            place = self.modelled(name, shape, value) if shape else self.stranger(name, value)
        if not self.wants_values and len(self._children) < KEPT:
            self._children[key] = place
        return place

    def resolve(self, key: str) -> tuple[str, Shape | None]:
        """The modelled name and shape of what the wire calls `key`; the name itself and None if no model
        knows it."""
        known = self.members.get(key) or self._folded.get(key.casefold())
        return known if known is not None else (key, None)

    def modelled(self, name: str, shape: Shape | None, value: Callable[[], Any] = no_value) -> Place:
        """The place of the member that the model calls `name`."""
        folded = {name.casefold()} if self.is_error else set()
        scalar = not isinstance(shape, StructureShape | ListShape | MapShape)
        # If a scalar it is not, no model knows what it is.
        states = self._move(lambda path, at: path.to_member(at, name, folded, value), lost=scalar)
        named = "value" if isinstance(self.shape, MapShape) else name
        return self.plan.place(shape, states, (*self.masks, *self.plan.secret(self.shape, named, shape)))

    def item(self, index: int, value: Callable[[], Any] = no_value) -> Place:
        """The place of item `index` of a list."""
        if self._item is not None:
            return self._item
        shape = self.shape.member if isinstance(self.shape, ListShape) else self._unknown
        states = self._move(lambda path, at: path.to_item(at, index, value), lost=shape is None)
        secret = self.plan.secret(self.shape, "member", shape)
        place = self.plan.place(shape, states, (*self.masks, *secret))
        if not self.by_index:
            self._item = place
        return place

    def shape_below(self, key: str | None) -> Shape | None:
        """The shape of the member or entry that the wire calls `key`, or of an item (None)."""
        match self.shape:
            case ListShape() if key is None:
                return self.shape.member
            case MapShape():
                return self.shape.value
        return None if key is None else self.resolve(key)[1]

    def label(self, key: str) -> str:
        """The step below here as people read it: `.Name`, `[*]` for items and entries, whose keys may be
        data."""
        name, shape = self.resolve(key)
        if shape is not None or name in self.next_names:
            return f".{name}"
        return "[*]" if self.kind in ("list", "map") or not key else ".*"

    def joined(self, other: Place) -> Place:
        """The place that is this one and `other`, of which it has the paths as well."""
        states = tuple(here | there for here, there in zip(self.states, other.states, strict=True))
        return self.plan.place(self.shape, states, self.masks)

    def unmodelled(self) -> Place:
        """The same position where the document is not what the model says."""
        return self if self.kind == "document" else self.plan.place(None, self.states, self.masks)

    @functools.cached_property
    def next_names(self) -> frozenset[str]:
        """The names to which paths go from here."""
        reached = zip(self.plan.paths, self.states, strict=True)
        return frozenset(name for path, at in reached for name in path.next_names(at))

    def stranger(self, name: str = "\0", value: Callable[[], Any] = no_value) -> Place:
        """The place of a member that the model does not know, or of the entry `name` of a map."""
        if isinstance(self.shape, MapShape):
            return self.modelled(name, self.shape.value, value)
        shape, folded = self._unknown, self.plan.below.names(name.casefold())
        states = self._move(lambda path, at: path.to_member(at, name, folded, value), lost=shape is None)
        secret = name.casefold() in self.plan.searched_names
        return self.plan.place(shape, states, (*self.masks, *(self.plan.sensitive if secret else ())))

    @functools.cached_property
    def _folded(self) -> dict[str, tuple[str, Shape]]:
        """The members by what else they may be called: in another case, or as the model does."""
        named = {member[0].casefold(): member for member in self.members.values()}
        return named | {wire.casefold(): member for wire, member in self.members.items()}

    @property
    def _unknown(self) -> Shape | None:
        """The shape of what no model tells: that of a document within it, else None."""
        return self.shape if self.kind == "document" else None

    def _move(self, step: Callable[[Path, frozenset[int]], frozenset[int]], *, lost: bool = False) -> States:
        """The states after `step`; where it is lost to the model, also those before it."""
        pairs = list(zip(self.plan.paths, self.states, strict=True))
        if lost and self.plan.reading == "searched":
            return tuple(path.adrift(step(path, at) | path.onward(at)) if at else at for path, at in pairs)
        return tuple(step(path, at) if at else at for path, at in pairs)
