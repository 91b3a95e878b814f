"""XML bodies of the REST XML protocol, strictly: no document type, comments, processing instructions or
CDATA.
"""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from botocore.model import Shape

from callgate.aws.jsonbody import shown
from callgate.aws.limits import Limits
from callgate.aws.scalars import from_text, twice, unknown, wrong
from callgate.call import Refusal

_DECLARATION = re.compile(
    r"""\s*<\?xml\s+version=["']1\.[01]["'](?:\s+encoding=["'](?i:utf-8)["'])?"""
    r"""(?:\s+standalone=["'](?:yes|no)["'])?\s*\?>"""
)
_NAMESPACE = re.compile(r"|https?://[a-z0-9.-]+\.amazonaws\.com/doc/\d{4}-\d\d-\d\d/?", re.A)
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"


def load_xml(body: bytes, limits: Limits) -> ElementTree.Element:
    """The root element. Raises Refusal."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("malformed-xml", "The body is not XML in UTF-8.") from None
    declaration = _DECLARATION.match(text)
    inner = text[declaration.end() :] if declaration else text
    if "<!" in inner or "<?" in inner:
        raise Refusal(
            "ambiguous-xml", "The body has a document type, comment, CDATA section or processing instruction."
        )
    # Without comments and CDATA each `<` begins a tag.
    limits.judge_count(inner.count("<") - inner.count("</"))
    try:
        root = ElementTree.fromstring(inner)
    except (ElementTree.ParseError, ValueError, RecursionError):
        raise Refusal("malformed-xml", "The body is not well-formed XML.") from None
    limits.judge_depth(root)
    return root


def read_xml(shape: Shape, root: ElementTree.Element) -> dict[str, Any]:
    """`root` as `shape` (a structure) has it. Raises Refusal for what the shape does not have."""
    space, name = _split(root.tag)
    expected = shape.serialization.get("name", shape.name)
    if name != expected or not _NAMESPACE.fullmatch(space):
        raise wrong(shown(name), f"the element {expected}")
    found = _structure(shape, root, name, space)
    assert isinstance(found, dict)
    return found


def _split(tag: str) -> tuple[str, str]:
    if tag.startswith("{"):
        space, _, name = tag[1:].partition("}")
        return space, name
    return "", tag


def _structure(shape: Shape, element: ElementTree.Element, where: str, space: str) -> dict[str, Any]:
    members = _wire(shape)
    found: dict[str, Any] = {}
    for attribute, value in element.attrib.items():
        key = attribute.replace(_XSI, "xsi:")
        known = members.get("@" + key)
        if known is None:
            raise unknown(f"{where}@{shown(key)}")
        found[known[0]] = value
    _no_text(element, where)
    for child in element:
        their_space, tag = _split(child.tag)
        known = members.get(tag)
        if known is None or their_space != space:
            raise unknown(f"{where}.{shown(tag)}")
        name, member = known
        inner = f"{where}.{name}"
        if member.serialization.get("flattened") and member.type_name in ("list", "map"):
            if member.type_name == "list":
                found.setdefault(name, []).append(_read(member.member, child, inner, space))
            else:
                _entry(member, child, found.setdefault(name, {}), inner, space)
            continue
        if name in found:
            raise twice(inner)
        found[name] = _read(member, child, inner, space)
    return found


def _wire(shape: Shape) -> dict[str, tuple[str, Shape]]:
    """Element name (or `@attribute`) to (member, shape). Kept on the shape."""
    found: dict[str, tuple[str, Shape]] | None = shape.__dict__.get("_callgate_xml")
    if found is None:
        found = {}
        for name, member in shape.members.items():
            ways = member.serialization
            wire = ways.get("name", name)
            found["@" + wire if ways.get("xmlAttribute") else wire] = (name, member)
        shape.__dict__["_callgate_xml"] = found
    return found


def _read(shape: Shape, element: ElementTree.Element, where: str, space: str) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, element, where, space)
    if element.attrib:
        raise unknown(f"{where}@")
    if kind == "list":
        _no_text(element, where)
        wanted = shape.member.serialization.get("name", "member")
        for child in element:
            if _split(child.tag) != (space, wanted):
                raise unknown(f"{where}.{shown(_split(child.tag)[1])}")
        return [_read(shape.member, child, where + "[]", space) for child in element]
    if kind == "map":
        _no_text(element, where)
        entries: dict[str, Any] = {}
        for child in element:
            if _split(child.tag) != (space, "entry"):
                raise unknown(f"{where}.{shown(_split(child.tag)[1])}")
            _entry(shape, child, entries, where, space)
        return entries
    if len(element):
        raise wrong(where, "a single value")
    text = element.text or ""
    return text if kind == "string" else from_text(shape, text.strip(), where, "iso8601")


def _entry(shape: Shape, element: ElementTree.Element, into: dict[str, Any], where: str, space: str) -> None:
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    parts = {_split(child.tag): child for child in element}
    if len(parts) != len(element) or set(parts) != {(space, key_name), (space, value_name)} or element.attrib:
        raise wrong(where, "a map")
    key = _read(shape.key, parts[space, key_name], where, space)
    if key in into:
        raise twice(where)
    into[key] = _read(shape.value, parts[space, value_name], where, space)


def _no_text(element: ElementTree.Element, where: str) -> None:
    if (element.text and element.text.strip()) or any(child.tail and child.tail.strip() for child in element):
        raise wrong(where, "a structure")
