"""XML masked in place: what a mask does not reach keeps its bytes, prefixes and namespaces (XML 1.0).

expat reads the whole document and says where each element stands; documents with a DOCTYPE, and encodings
other than UTF-8, are refused. A masked element loses all that it contains: text, CDATA, comments.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.masking.edits import DEPTH, Edits, unreadable
from callgate.masking.places import Place, no_value
from callgate.masking.scalars import Scalars, Trail

START_TAG: Final = re.compile(rb"<[^\s/>]+(?:\s+[^\s=]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*/?>")


@dataclass(slots=True, eq=False)
class Element:
    """One element: its local name, and the offsets at which its start tag and its end begin.

    `remarks` tells that comments or processing instructions stand directly in it.
    """

    name: str
    attributes: dict[str, str]
    start: int
    close: int = 0
    remarks: bool = False
    texts: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def parse(body: bytes) -> Element:
    """The tree of `body`. Refusal (502) for what is not well-formed UTF-8 XML without DOCTYPE."""
    # expat believes a byte order mark more than it believes us.
    if b"\0" in body or body.startswith(codecs.BOM_UTF8) or not _is_utf8(body):
        raise unreadable("the body is not XML in plain UTF-8")
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    top = Element("", {}, 0)
    open_elements = [top]

    def start(name: str, attributes: dict[str, str]) -> None:
        element = Element(name.rpartition(":")[2], attributes, parser.CurrentByteIndex)
        open_elements[-1].children.append(element)
        open_elements.append(element)
        if len(open_elements) > DEPTH:
            raise unreadable("the body nests too deep", "mask-depth")

    def end(name: str) -> None:
        open_elements.pop().close = parser.CurrentByteIndex

    def remark(*_: Any) -> None:
        open_elements[-1].remarks = True

    def declaration(version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "us-ascii"):
            raise unreadable("the body is XML in an encoding other than UTF-8")

    def doctype(*_: Any) -> None:
        raise unreadable("the body has a DOCTYPE")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: open_elements[-1].texts.append(text)
    parser.CommentHandler = parser.ProcessingInstructionHandler = remark
    parser.XmlDeclHandler = declaration
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise unreadable("the body is not well-formed XML") from None
    return top.children[0]


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def mask_output(body: bytes, place: Place, scalars: Scalars, wrapper: str | None = None) -> bytes:
    """`body` with everything masked that `place` leads to: the place of the root element, or of `wrapper` in
    it."""
    walk, root = _Walk(body, scalars), parse(body)
    if wrapper is None:
        walk.element(root, place, None)
    else:
        if all(child.name != wrapper for child in root.children):
            raise unreadable(f"the body has no {wrapper}")
        walk.wrapped(root, wrapper, place)
    return walk.edits.splice(body)


def mask_error(body: bytes, place: Place, scalars: Scalars) -> bytes:
    """`body`, an error in any of its wrappers, with everything masked that `place`, its `Error`, leads to."""
    walk, root = _Walk(body, scalars), parse(body)
    if root.name == "Error":
        walk.element(root, place, None)
    else:
        walk.wrapped(root, "Error", place)
    return walk.edits.splice(body)


def wire_name(name: str, shape: Shape) -> str:
    """The element that holds the member `name`. A flattened list is known by its items."""
    if isinstance(shape, ListShape) and shape.serialization.get("flattened"):
        item = shape.member.serialization.get("name")
        if item is not None:
            return str(item)
    return str(shape.serialization.get("name", name))


def modelled(elements: list[Element], shape: Shape | None) -> Any:
    """The value of a member's elements under the names of the model, as filters see it: scalars are
    strings."""
    first = elements[0]
    match shape:
        case ListShape():
            items = elements if shape.serialization.get("flattened") else first.children
            return [modelled([item], shape.member) for item in items]
        case MapShape():
            entries = elements if shape.serialization.get("flattened") else first.children
            pairs = (_entry(entry, shape) for entry in entries)
            return {key.text: modelled([value], shape.value) for key, value in pairs if key and value}
        case StructureShape():
            known = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
            named = ((*known.get(name, (name, None)), group) for name, group in _by_name(first.children))
            return {name: modelled(group, member) for name, member, group in named}
        case None if first.children:
            return {name: modelled(group, None) for name, group in _by_name(first.children)}
    return first.text


def _by_name(elements: Iterable[Element]) -> list[tuple[str, list[Element]]]:
    groups: dict[str, list[Element]] = {}
    for element in elements:
        groups.setdefault(element.name, []).append(element)
    return list(groups.items())


def _entry(entry: Element, shape: MapShape) -> tuple[Element | None, Element | None]:
    key_name = shape.key.serialization.get("name") or "key"
    value_name = shape.value.serialization.get("name") or "value"
    key = next((each for each in entry.children if each.name == key_name), None)
    value = next((each for each in entry.children if each.name == value_name), None)
    return key, value


class _Walk:
    """One pass over one document."""

    def __init__(self, body: bytes, scalars: Scalars) -> None:
        self.body = body
        self.scalars = scalars
        self.edits: Edits[bytes] = Edits()

    def wrapped(self, outer: Element, wrapper: str, place: Place) -> None:
        """What `outer` holds, where only the elements `wrapper` are modelled, directly or deeper."""
        for child in outer.children:
            if child.name == wrapper:
                self.element(child, place, None)
            elif child.children and any(each.name == wrapper for each in child.children):
                self.wrapped(child, wrapper, place)
            else:
                outside = place.unmodelled()
                self.element(child, outside.member(child.name), (None, outside, child.name))

    def element(self, element: Element, place: Place, trail: Trail) -> None:
        """An element that holds one value."""
        if place.dead:
            return
        if place.way is not None and place.way.how is not None:
            if place.holds and element.remarks:
                raise unreadable("the body has comments in what is masked")
            if place.kind == "map" or (element.children and not place.holds):
                self.scalars.note(trail)
                self.content(element, "")
                return
        match place.kind:
            case "list":
                self.items(element.children, place, trail)
            case "map":
                for entry in element.children:
                    self.entry(entry, place, trail)
            case "structure" | "union":
                self.structure(element, place, trail)
            case _ if element.children:
                self.structure(element, place.unmodelled(), trail)
            case _:
                self.scalar(element, place, trail)

    def structure(self, element: Element, place: Place, trail: Trail) -> None:
        self.attributes(element, place, trail)
        if element.text.strip() and place.shape is not None:
            # S3's GetBucketLocation: the root is the only member.
            if element.children or place.resolve(element.name)[1] is None:
                raise unreadable("the body has text where the model has members")
            self.element(element, place.member(element.name), (trail, place, element.name))
            return
        counted: dict[str, int] = {}
        for child in element.children:
            below = place.member(child.name, self.reader(element, child, place))
            step: Trail = (trail, place, child.name)
            if below.drops and place.kind != "union":
                self.remove(child, step)
            elif below.shape is None or not below.shape.serialization.get("flattened"):
                self.element(child, below, step)
            elif below.kind == "map":
                self.entry(child, below, step)
            else:
                at = counted[child.name] = counted.get(child.name, -1) + 1
                self.items([child], below, step, at)

    def items(self, elements: list[Element], place: Place, trail: Trail, first: int = 0) -> None:
        for index, child in enumerate(elements, first):
            below = place.item(index, partial(modelled, [child], place.shape_below(None)))
            step: Trail = (trail, place, "")
            if below.drops:
                self.remove(child, step)
            else:
                self.element(child, below, step)

    def entry(self, entry: Element, place: Place, trail: Trail) -> None:
        """One entry of a map: a key and a value."""
        if not isinstance(place.shape, MapShape):
            raise unreadable("the body has an entry where the model has no map")
        key_name = place.shape.key.serialization.get("name") or "key"
        value_name = place.shape.value.serialization.get("name") or "value"
        keys = [child for child in entry.children if child.name == key_name]
        values = [child for child in entry.children if child.name == value_name]
        if len(keys) != 1 or len(keys) + len(values) != len(entry.children):
            raise unreadable("the body has a map whose entries are not a key and a value")
        for value in values:
            below = place.member(keys[0].text, partial(modelled, [value], place.shape_below("")))
            step: Trail = (trail, place, "")
            if below.drops:
                self.remove(entry, step)
            else:
                self.element(value, below, step)

    def scalar(self, element: Element, place: Place, trail: Trail) -> None:
        new = self.scalars.text(element.text, place)
        if new is not None:
            if any(not name.startswith(("xmlns", "xsi:")) for name in element.attributes):
                raise unreadable("the body has attributes on what is masked")
            self.scalars.note(trail)
            self.content(element, new)

    def attributes(self, element: Element, place: Place, trail: Trail) -> None:
        tag = self.tag(element)
        for name, value in element.attributes.items():
            if name.startswith("xmlns"):
                continue
            key = name if name in place.members else name.rpartition(":")[2]
            below = place.member(key, partial(str, value))
            new = self.scalars.text(value, below)
            if new is not None:
                self.scalars.note((trail, place, key))
                found = re.search(rb"\s%s\s*=\s*(\"[^\"]*\"|'[^']*')" % re.escape(name.encode()), tag)
                if found is None:
                    raise unreadable("an attribute cannot be found where it stands")
                at = element.start
                self.edits.put(at + found.start(1), at + found.end(1), quoteattr(new).encode())

    def reader(self, element: Element, child: Element, place: Place) -> Callable[[], Any]:
        if not place.wants_values:
            return no_value
        same = [each for each in element.children if each.name == child.name]
        return partial(modelled, same, place.shape_below(child.name))

    def tag(self, element: Element) -> bytes:
        found = START_TAG.match(self.body, element.start)
        if found is None:
            raise unreadable("a start tag cannot be found where it stands")
        return found[0]

    def content(self, element: Element, text: str) -> None:
        """Put `text` in the place of all that `element` contains."""
        tag = self.tag(element)
        new = escape(text, {"\r": "&#13;"}).encode()
        after = element.start + len(tag)
        if tag.endswith(b"/>"):
            name = re.match(rb"<([^\s/>]+)", tag)
            if new and name:
                self.edits.put(after - 2, after, b">%s</%s>" % (new, name[1]))
        else:
            self.edits.put(after, element.close, new)

    def remove(self, element: Element, trail: Trail) -> None:
        self.scalars.note(trail)
        tag = self.tag(element)
        end = element.start + len(tag) if tag.endswith(b"/>") else self.body.index(b">", element.close) + 1
        self.edits.put(element.start, end, b"")
