"""XML masked in place: what a mask does not reach keeps its bytes, prefixes and namespaces (XML 1.0).

The places of a plan say which elements of the tree are masked. A masked element loses all that it contains:
text, CDATA, comments. XML has no types of its own: what tells a value of another kind than the model's are
the names of elements, and text beside them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final
from xml.etree.ElementTree import Element

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.masking.edits import DEPTH, another_kind, unreadable
from callgate.masking.places import Place, no_value
from callgate.masking.scalars import Scalars, Trail
from callgate.masking.xml_text import Rewriting, parse

TEXT_BESIDE: Final = "the body has text where the model has members"
ITEMS: Final = frozenset({"member", "item"})
ENTRY: Final = "entry"
"""What items of lists and entries of maps are called, unless the model says otherwise."""


def mask_output(body: bytes, place: Place, scalars: Scalars, wrapper: str | None = None) -> bytes:
    """`body` with everything masked that `place` leads to.

    `place` is that of the root element, or of the element `wrapper` in it.
    """
    walk, root = _Walk(body, scalars), parse(body)
    if wrapper is None:
        walk.element(root, place, scalars.trail, 0)
    else:
        if all(local(child) != wrapper for child in root):
            raise unreadable(f"the body has no {wrapper}")
        walk.wrapped(root, wrapper, place, scalars.trail, 0)
    return walk.splice(root)


def mask_error(body: bytes, place: Place, scalars: Scalars) -> bytes:
    """`body`, an error in any of its wrappers, with everything masked that `place`, its `Error`, leads to."""
    walk, root = _Walk(body, scalars), parse(body)
    if local(root) == "Error" or all(local(each) != "Error" for each in root.iter()):
        walk.element(root, place, scalars.trail, 0)
    else:
        walk.wrapped(root, "Error", place, scalars.trail, 0)
    return walk.splice(root)


def local(element: Element) -> str:
    """The name of an element without its namespace."""
    return _local(element.tag)


@functools.lru_cache(maxsize=4096)
def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def wire_name(name: str, shape: Shape) -> str:
    """The element that holds the member `name`. A flattened list is known by its items."""
    if isinstance(shape, ListShape) and shape.serialization.get("flattened"):
        item = shape.member.serialization.get("name")
        if item is not None:
            return str(item)
    return str(shape.serialization.get("name", name))


def modelled(elements: Sequence[Element], shape: Shape | None) -> Any:
    """The value of a member's elements under the names of the model, as filters see it. Scalars are strings.

    Refusal (502) if several elements stand where the model has one, or members where it has a scalar.
    """
    first = elements[0]
    flattened = shape is not None and shape.serialization.get("flattened")
    if shape is not None and len(elements) > 1 and not flattened:
        raise another_kind()
    match shape:
        case ListShape():
            return [modelled([item], shape.member) for item in (elements if flattened else first)]
        case MapShape():
            pairs = (_entry(entry, shape) for entry in (elements if flattened else first))
            return {keys[0].text: modelled(values, shape.value) for keys, values in pairs if keys and values}
        case StructureShape():
            known = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
            named = ((*known.get(name, (name, None)), group) for name, group in _by_name(first))
            return {name: modelled(group, member) for name, member, group in named}
        case None if len(first):
            return {name: modelled(group, None) for name, group in _by_name(first)}
    if len(first):
        raise another_kind()
    return first.text or ""


def _by_name(elements: Iterable[Element]) -> list[tuple[str, list[Element]]]:
    groups: dict[str, list[Element]] = {}
    for element in elements:
        groups.setdefault(local(element), []).append(element)
    return list(groups.items())


def _check_text(element: Element) -> None:
    """Refusal (502) if text stands beside the elements in `element`: no path says what it holds."""
    texts = [element.text, *(child.tail for child in element)]
    if any(text and not text.isspace() for text in texts):
        raise unreadable(TEXT_BESIDE)


def _is_no_item(name: str, place: Place) -> bool:
    """Whether `name`, in the list at `place`, is that of an entry or of a member of items, and not theirs."""
    if not isinstance(place.shape, ListShape) or place.shape.member.serialization.get("name") == name:
        return False
    return name == ENTRY or place.item(0).resolve(name)[1] is not None


def _entry(entry: Element, shape: MapShape) -> tuple[list[Element], list[Element]]:
    """The keys and the values in one entry of a map: there should be one of each."""
    key_name = shape.key.serialization.get("name") or "key"
    value_name = shape.value.serialization.get("name") or "value"
    return [each for each in entry if local(each) == key_name], [
        each for each in entry if local(each) == value_name
    ]


class _Walk(Rewriting):
    """One pass over one document: collects what is to be done with which element, then does it."""

    def __init__(self, body: bytes, scalars: Scalars) -> None:
        super().__init__(body)
        self.scalars = scalars

    def wrapped(self, outer: Element, wrapper: str, place: Place, trail: Trail, depth: int) -> None:
        """What `outer` holds, where only the elements `wrapper` are modelled, directly or deeper."""
        outside = place.unmodelled()
        _check_text(outer)
        for child in outer:
            name = local(child)
            if name == wrapper:
                self.element(child, place, trail, depth + 1)
            elif any(local(each) == wrapper for each in child):
                self.wrapped(child, wrapper, place, trail, depth + 1)
            else:
                self.element(child, outside.member(name), trail.below(outside, name), depth + 1)

    def element(self, element: Element, place: Place, trail: Trail, depth: int) -> None:
        """An element that holds one value."""
        if place.dead:
            return
        if depth > DEPTH:
            raise unreadable("the body nests too deep", "mask-depth")
        kind = place.kind
        if place.whole and (kind == "map" or len(element)):
            trail.hit()
            self.contents[element] = ""
            return
        if kind == "list":
            self.list(element, place, trail, depth)
        elif kind == "map":
            _check_text(element)
            for entry in element:
                self.entry(entry, place, trail, depth)
        elif kind in ("structure", "union"):
            self.structure(element, place, trail, depth)
        elif len(element):
            self.structure(element, place.unmodelled(), trail, depth)
        elif place.way is not None:
            self.scalar(element, place, trail)

    def structure(self, element: Element, place: Place, trail: Trail, depth: int) -> None:
        if element.attrib:
            self.in_tag(element, place, trail)
        if (text := element.text) and not text.isspace():
            # S3's GetBucketLocation: the root is the only member.
            name = local(element)
            if len(element) or place.resolve(name)[1] is None or len(place.members) != 1:
                raise unreadable(TEXT_BESIDE)
            self.element(element, place.member(name), trail.below(place, name), depth + 1)
            return
        counted: dict[str, int] = {}
        wants, union = place.wants_values, place.kind == "union"
        for child in element:
            name = _local(child.tag)
            if (text := child.tail) and not text.isspace():
                raise unreadable(TEXT_BESIDE)
            below = place.member(name, self.reader(element, name, place) if wants else no_value)
            if below.idle and not len(child):
                continue
            step = trail.below(place, name)
            if below.shape is None and (name in ITEMS or name == ENTRY) and place.leads:
                raise another_kind()
            if below.drops and not union:
                step.hit()
                self.contents[child] = None
            elif not below.flattened:
                self.element(child, below, step, depth + 1)
            elif below.kind == "map":
                self.entry(child, below, step, depth)
            else:
                at = counted[name] = counted.get(name, -1) + 1
                self.items([child], below, step, depth, at)

    def list(self, element: Element, place: Place, trail: Trail, depth: int) -> None:
        """A list whose items stand in an element of their own, whatever they are called there.

        Something else stands where the model has items if it is called what a member of an item is.
        """
        if (text := element.text) and not text.isspace():
            raise unreadable(TEXT_BESIDE)
        for child in element:
            name = _local(child.tag)
            if name not in ITEMS and _is_no_item(name, place):
                raise another_kind()
        self.items(element, place, trail, depth)

    def items(
        self, elements: Iterable[Element], place: Place, trail: Trail, depth: int, first: int = 0
    ) -> None:
        step, wants = trail.below(place, ""), place.wants_values
        for index, child in enumerate(elements, first):
            if (text := child.tail) and not text.isspace():
                raise unreadable(TEXT_BESIDE)
            below = place.item(
                index, partial(modelled, [child], place.shape_below(None)) if wants else no_value
            )
            if below.drops:
                step.hit()
                self.contents[child] = None
            else:
                self.element(child, below, step, depth + 1)

    def entry(self, entry: Element, place: Place, trail: Trail, depth: int) -> None:
        """One entry of a map: a key and a value."""
        if not isinstance(place.shape, MapShape):
            raise unreadable("the body has an entry where the model has no map")
        _check_text(entry)
        keys, values = _entry(entry, place.shape)
        if len(keys) != 1 or len(keys) + len(values) != len(entry):
            raise unreadable("the body has a map whose entries are not a key and a value")
        step = trail.below(place, "")
        for value in values:
            below = place.member(keys[0].text or "", partial(modelled, [value], place.shape_below("")))
            if below.drops:
                step.hit()
                self.contents[entry] = None
            else:
                self.element(value, below, step, depth + 1)

    def scalar(self, element: Element, place: Place, trail: Trail) -> None:
        if element.attrib and place.way is not None and place.way.how is None:
            self.in_tag(element, place, trail)
        text, new = element.text or "", place.fixed_text
        if new is None:
            new = self.scalars.text(text, place)
        if new is not None and new != text:
            if element.attrib and any(not name.startswith("{http://www.w3.org/") for name in element.attrib):
                raise unreadable("the body has attributes on what is masked")
            trail.hit()
            self.contents[element] = new

    def in_tag(self, element: Element, place: Place, trail: Trail) -> None:
        """The attributes of an element."""
        for name, value in element.attrib.items():
            plain = name.rpartition("}")[2]
            key = next((wire for wire in place.members if wire.rpartition(":")[2] == plain), plain)
            below = place.member(key, partial(str, value))
            new = self.scalars.text(value, below)
            if new is not None:
                trail.below(place, key).hit()
                self.attributes.setdefault(element, []).append((plain, new))

    def reader(self, element: Element, name: str, place: Place) -> Callable[[], Any]:
        same = [each for each in element if local(each) == name]
        return partial(modelled, same, place.shape_below(name))
