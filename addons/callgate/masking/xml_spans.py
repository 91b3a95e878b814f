"""XML masked in place: what a mask does not reach keeps its bytes, prefixes and namespaces (XML 1.0).

expat reads the whole document into a tree, as SDKs do; the places of a plan say which of its elements are
masked, and only for these it is looked up where they stand: the n-th element of the tree has the n-th start
tag of the text. A masked element loses all that it contains: text, CDATA, comments. Documents with a DOCTYPE
are refused, and encodings other than UTF-8.
"""

from __future__ import annotations

import codecs
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.masking.edits import DEPTH, Edits, unreadable
from callgate.masking.places import Place, no_value
from callgate.masking.scalars import Scalars, Trail

DECLARATION: Final = re.compile(rb"<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
REMARK: Final = rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"
TAG: Final = rb"<[^\s/<>!?]+(?:\s+[^\s=]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*/?>"

_start_tag = re.compile(TAG).match
_plain_starts = re.compile(rb"<[^/?]").finditer
_any_starts = re.compile(rb"(?s:%s)|(<[^/])" % REMARK).finditer
_tags = re.compile(rb"(?s:%s)|(</)|(%s)" % (REMARK, TAG)).finditer


def parse(body: bytes) -> Element:
    """The tree of `body`. Refusal (502) for what is not well-formed UTF-8 XML without DOCTYPE."""
    declared = DECLARATION.match(body)
    if declared and declared[1].lower() not in (b"utf-8", b"us-ascii"):
        raise unreadable("the body is XML in an encoding other than UTF-8")
    # expat believes a byte order mark more than it believes us.
    if b"\0" in body or b"<!DOCTYPE" in body or body.startswith(codecs.BOM_UTF8) or not _is_utf8(body):
        raise unreadable("the body is not XML in plain UTF-8 without DOCTYPE")
    try:
        return ElementTree.fromstring(body, ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError:
        raise unreadable("the body is not well-formed XML") from None


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
    if local(root) == "Error":
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
    """The value of a member's elements under the names of the model, as filters see it.

    Scalars are strings.
    """
    first = elements[0]
    match shape:
        case ListShape():
            items = elements if shape.serialization.get("flattened") else list(first)
            return [modelled([item], shape.member) for item in items]
        case MapShape():
            entries = elements if shape.serialization.get("flattened") else list(first)
            pairs = (_entry(entry, shape) for entry in entries)
            return {keys[0].text: modelled(values, shape.value) for keys, values in pairs if keys and values}
        case StructureShape():
            known = {wire_name(name, member): (name, member) for name, member in shape.members.items()}
            named = ((*known.get(name, (name, None)), group) for name, group in _by_name(first))
            return {name: modelled(group, member) for name, member, group in named}
        case None if len(first):
            return {name: modelled(group, None) for name, group in _by_name(first)}
    return first.text or ""


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _by_name(elements: Iterable[Element]) -> list[tuple[str, list[Element]]]:
    groups: dict[str, list[Element]] = {}
    for element in elements:
        groups.setdefault(local(element), []).append(element)
    return list(groups.items())


def _entry(entry: Element, shape: MapShape) -> tuple[list[Element], list[Element]]:
    """The keys and the values in one entry of a map: there should be one of each."""
    key_name = shape.key.serialization.get("name") or "key"
    value_name = shape.value.serialization.get("name") or "value"
    return [each for each in entry if local(each) == key_name], [
        each for each in entry if local(each) == value_name
    ]


class _Walk:
    """One pass over one document: collects what is to be done with which element, then does it."""

    def __init__(self, body: bytes, scalars: Scalars) -> None:
        self.body = body
        self.scalars = scalars
        self.contents: dict[Element, str | None] = {}
        """Element -> what it shall contain; None for those that go."""
        self.attributes: dict[Element, list[tuple[str, str]]] = {}
        self.remarks = b"<!--" in body or body.rfind(b"<?") > 0

    def wrapped(self, outer: Element, wrapper: str, place: Place, trail: Trail, depth: int) -> None:
        """What `outer` holds, where only the elements `wrapper` are modelled, directly or deeper."""
        outside = place.unmodelled()
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
        if place.way is not None and place.way.how is not None:
            if place.holds:
                self.check_bare(element)
            elif kind == "map" or len(element):
                trail.hit()
                self.contents[element] = ""
                return
        if kind == "list":
            self.items(element, place, trail, depth)
        elif kind == "map":
            for entry in element:
                self.entry(entry, place, trail, depth)
        elif kind in ("structure", "union"):
            self.structure(element, place, trail, depth)
        elif len(element):
            self.structure(element, place.unmodelled(), trail, depth)
        elif place.way is not None:
            self.scalar(element, place, trail)

    def check_bare(self, element: Element) -> None:
        """Masks that fell on members leave alone what else an element holds: there must be nothing else."""
        texts = [element.text, *(child.tail for child in element)] if len(element) else []
        if self.remarks or any(text and not text.isspace() for text in texts):
            raise unreadable("the body has text or comments where the model has members")

    def structure(self, element: Element, place: Place, trail: Trail, depth: int) -> None:
        if element.attrib:
            self.in_tag(element, place, trail)
        if not len(element) and element.text and not element.text.isspace() and place.shape is not None:
            # S3's GetBucketLocation: the root is the only member.
            name = local(element)
            if place.resolve(name)[1] is None:
                raise unreadable("the body has text where the model has members")
            self.element(element, place.member(name), trail.below(place, name), depth + 1)
            return
        counted: dict[str, int] = {}
        wants, union = place.wants_values, place.kind == "union"
        for child in element:
            name = _local(child.tag)
            below = place.member(name, self.reader(element, name, place) if wants else no_value)
            if below.idle and not len(child):
                continue
            step = trail.below(place, name)
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

    def items(
        self, elements: Iterable[Element], place: Place, trail: Trail, depth: int, first: int = 0
    ) -> None:
        step, wants = trail.below(place, ""), place.wants_values
        for index, child in enumerate(elements, first):
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
        new = self.scalars.text(element.text or "", place)
        if new is not None:
            if any(not name.startswith("{http://www.w3.org/") for name in element.attrib):
                raise unreadable("the body has attributes on what is masked")
            trail.hit()
            self.contents[element] = new

    def in_tag(self, element: Element, place: Place, trail: Trail) -> None:
        """The attributes of a structure."""
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

    def splice(self, root: Element) -> bytes:
        """The body with everything done that was collected."""
        if not self.contents and not self.attributes:
            return self.body
        edits: Edits[bytes] = Edits()
        changed = self.contents.keys() | self.attributes.keys()
        wanted = [(index, element) for index, element in enumerate(root.iter()) if element in changed]
        starts = self.starts()
        passed = 0
        for index, element in wanted:
            at = starts[index]
            if at < passed:
                # What holds it has gone already.
                continue
            found = _start_tag(self.body, at)
            if found is None:
                raise unreadable("a start tag cannot be found where it stands")
            for name, new in self.attributes.get(element, ()):
                self.put_attribute(edits, found, name, new)
            if element in self.contents:
                passed = self.put_content(edits, found, self.contents[element])
        return edits.splice(self.body)

    def starts(self) -> list[int]:
        """Where the start tags stand, in document order."""
        if b"<!" in self.body or self.remarks:
            return [found.start() for found in _any_starts(self.body) if found[1]]
        return [found.start() for found in _plain_starts(self.body)]

    @staticmethod
    def put_attribute(edits: Edits[bytes], tag: re.Match[bytes], name: str, new: str) -> None:
        pattern = rb"\s(?:[^\s=:]+:)?%s\s*=\s*(\"[^\"]*\"|'[^']*')" % re.escape(name.encode())
        places = list(re.finditer(pattern, tag[0]))
        if len(places) != 1:
            raise unreadable("an attribute cannot be found where it stands")
        edits.put(tag.start() + places[0].start(1), tag.start() + places[0].end(1), quoteattr(new).encode())

    def put_content(self, edits: Edits[bytes], tag: re.Match[bytes], new: str | None) -> int:
        """Give the element of `tag` a new content, or take it away (None); gives where its old content
        ended."""
        empty = tag[0].endswith(b"/>")
        close = tag.end() if empty else self.close(tag.end())
        if new is None:
            end = tag.end() if empty else self.body.index(b">", close) + 1
            edits.put(tag.start(), end, b"")
            return end
        text = escape(new, {"\r": "&#13;"}).encode()
        if not empty:
            edits.put(tag.end(), close, text)
        elif text:
            name = re.split(rb"[\s/>]", tag[0][1:], maxsplit=1)[0]
            edits.put(tag.end() - 2, tag.end(), b">%s</%s>" % (text, name))
        return close

    def close(self, at: int) -> int:
        """Where the end tag stands of the element whose content begins at `at`."""
        first = self.body.find(b"<", at)
        if self.body.startswith(b"</", first):
            return first
        depth = 0
        for found in _tags(self.body, at):
            if found[1]:
                if not depth:
                    return found.start()
                depth -= 1
            elif found[2] and not found[2].endswith(b"/>"):
                depth += 1
        raise unreadable("an end tag cannot be found")
