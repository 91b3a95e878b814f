"""Synthetic answers with one canary, and one node on the way to it changed to another kind.

A node is wrapped, unwrapped, repeated, turned into text, renamed. The canary must then arrive masked, or the
answer must not arrive.
"""

import copy
import itertools
import json
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from botocore.model import ListShape, MapShape, Shape, StructureShape
from mask_helpers import answer, make_call, mask
from synthetic import DEPTH, response_of, value_of

from callgate.aws import service_model
from callgate.call import Call, Refusal
from callgate.masking import cbor_spans
from callgate.masking.xml_spans import wire_name as xml_name

CANARIES = (b"hidden-canary", b"Y2FuYXJ5")
HOWS = ("fixed", "drop", "hash")
Tree = Any
Steps = tuple[Any, ...]
Change = Callable[[Tree], Tree]


def encoded(value: Tree) -> bytes:
    """`value` in CBOR."""
    match value:
        case dict():
            items = b"".join(encoded(each) for pair in value.items() for each in pair)
            return cbor_spans.write_head(cbor_spans.MAP, len(value)) + items
        case list():
            return cbor_spans.write_head(cbor_spans.ARRAY, len(value)) + b"".join(map(encoded, value))
        case bytes():
            return cbor_spans.write_head(cbor_spans.BYTES, len(value)) + value
        case str():
            return cbor_spans.write_head(cbor_spans.TEXT, len(value)) + value.encode()
        case bool():
            return b"\xf5" if value else b"\xf4"
        case None:
            return b"\xf6"
    return cbor_spans.write_head(cbor_spans.UNSIGNED, int(value))


def leaves(shape: Shape, tree: Tree, path: str, steps: Steps) -> Iterator[tuple[str, Steps]]:
    """(JSONPath, steps on the wire) of the strings, blobs and documents in a JSON or CBOR value."""
    match shape:
        case StructureShape() if not shape.is_document_type:
            for name, member in shape.members.items():
                for wire in {name, str(member.serialization.get("name", name))} & tree.keys():
                    yield from leaves(member, tree[wire], f"{path}['{name}']", (*steps, wire))
        case ListShape():
            yield from leaves(shape.member, tree[0], path + "[*]", (*steps, 0))
        case MapShape():
            yield from leaves(shape.value, tree["key"], path + ".*", (*steps, "key"))
        case _ if shape.type_name in ("string", "blob", "structure"):
            yield path, steps


def planted(tree: Tree, steps: Steps) -> Tree:
    """`tree` with its canaries gone, but for the one at `steps`."""

    def plain(node: Tree, left: Steps | None) -> Tree:
        match node:
            case _ if left == ():
                return marked(node)
            case dict():
                return {
                    key: plain(each, left[1:] if left and left[0] == key else None)
                    for key, each in node.items()
                }
            case list():
                return [
                    plain(each, left[1:] if left and left[0] == at else None) for at, each in enumerate(node)
                ]
            case str() | bytes() if left is None:
                return node[:0]
        return node

    return plain(tree, steps)


def marked(node: Tree) -> Tree:
    """`node` with what no member is called where it says `canary`."""
    match node:
        case dict():
            return {key: marked(each) for key, each in node.items()}
        case "canary":
            return "hidden-canary"
    return node


def as_text(node: Tree) -> str:
    return json.dumps(node, default=bytes.decode)


def of_object(change: Change) -> Change:
    return lambda node: change(node) if isinstance(node, dict) else node


def of_list(change: Change) -> Change:
    return lambda node: change(node) if isinstance(node, list) else node


CHANGES: dict[str, Change] = {
    "in a list": lambda node: [node],
    "in two lists": lambda node: [[node]],
    "in an object": lambda node: {"x": node},
    "in two objects": lambda node: {"x": {"member": node}},
    "in a list in an object": lambda node: {"x": [node]},
    "in an object in a list": lambda node: [{"x": node}],
    "as text": as_text,
    "as text in a list": lambda node: [as_text(node)],
    "after null": lambda node: [None, node],
    "without its list": of_list(lambda node: node[0]),
    "as an object": of_list(lambda node: {str(at): each for at, each in enumerate(node)}),
    "as the list of its values": of_object(lambda node: list(node.values())),
    "as a list of pairs": of_object(lambda node: [list(pair) for pair in node.items()]),
    "as a list of entries": of_object(
        lambda node: [{"Key": key, "Value": each} for key, each in node.items()]
    ),
}


def changed(tree: Tree, steps: Steps, change: Change) -> Tree:
    """`tree` with the node at `steps` changed."""
    if not steps:
        return change(tree)
    copied = copy.copy(tree)
    copied[steps[0]] = changed(tree[steps[0]], steps[1:], change)
    return copied


def check(call: Call, body: bytes, *said: Any, **terms: Any) -> bool:
    """Whether the answer was refused; if not it may not hold the canary. `terms` are those of the mask."""
    out = result(call, body, how=HOWS[len(body) % 3], **terms)
    assert not holds_canary(out), (call.name, call.protocol, terms, *said, body)
    return out.startswith(b"mask-")


def result(call: Call, body: bytes, paths: Sequence[str] = (), **terms: Any) -> bytes:
    """The body of the masked answer, or why it was refused."""
    assert holds_canary(body)
    try:
        return mask(call, answer(body), *paths, **terms).response.body
    except Refusal as refused:
        return str(refused).encode()


def holds_canary(body: bytes) -> bool:
    return any(canary in body for canary in CANARIES)


def recursive(path: str) -> str:
    """The path to whatever has the last name of `path`, at any depth."""
    return "$.." + path[path.rindex("['") :] if "['" in path else path


def check_values(service: str, operation: str, protocol: str, many: int) -> int:
    """Change the kinds in answers in JSON or CBOR; gives how many were refused."""
    chance = random.Random(operation)
    model = service_model(service).operation_model(operation)
    read: Callable[[bytes], Tree] = json.loads
    write: Callable[[Tree], bytes] = lambda tree: json.dumps(tree).encode()  # noqa: E731
    if "cbor" in protocol:
        read, write = (lambda body: cbor_spans.read(body)[0]), encoded
    shape, response = model.output_shape, response_of(model, protocol, value_of(model.output_shape) or {})
    if "payload" in shape.serialization:
        shape = shape.members[shape.serialization["payload"]]
    if not response.body or shape.type_name in ("blob", "string"):
        return 0
    tree, call, refused = read(response.body), make_call(service, operation, protocol), 0
    at = f"$['{model.output_shape.serialization['payload']}']" if shape is not model.output_shape else "$"
    found = list(leaves(shape, tree, at, ()))
    for path, steps in chance.sample(found, min(many, len(found))):
        one = planted(tree, steps)
        assert not check(call, write(one), "as it was", paths=[path])
        masks: list[dict[str, Any]] = [{"paths": [path]}, {"paths": [recursive(path)]}]
        if not holds_canary(result(call, write(one), sensitive=True)):
            masks.append({"sensitive": True})
        for length, (name, change) in itertools.product(range(len(steps) + 1), CHANGES.items()):
            body = write(changed(one, steps[:length], change))
            refused += sum(check(call, body, steps[:length], name, **terms) for terms in masks)
    return refused


def wrapped(element: ElementTree.Element, *tags: str) -> None:
    """What `element` holds stands in new elements within it."""
    for tag in reversed(tags):
        inner = ElementTree.Element(tag)
        inner.text, element.text = element.text, None
        inner.extend(list(element))
        for child in list(element):
            element.remove(child)
        element.append(inner)


def nested(element: ElementTree.Element) -> None:
    """What `element` holds stands in one of the same name within it, unless it has such a member."""
    name = element.tag.rpartition("}")[2]
    if all(child.tag.rpartition("}")[2] != name for child in element):
        wrapped(element, name)


def unlisted(names: set[str]) -> Callable[[ElementTree.Element], None]:
    """The items of an element, which are called one of `names`, stand in it without elements of their own."""

    def change(element: ElementTree.Element) -> None:
        for child in list(element):
            if child.tag.rpartition("}")[2] in names:
                element.remove(child)
                element.text = child.text
                element.extend(list(child))

    return change


def below(shape: Shape, depth: int = 0) -> Iterator[Shape]:
    """The shapes under `shape`, and itself, as far as a synthetic value goes."""
    if depth > DEPTH:
        return
    yield shape
    match shape:
        case StructureShape():
            for member in shape.members.values():
                yield from below(member, depth + 1)
        case ListShape():
            yield from below(shape.member, depth + 1)
        case MapShape():
            yield from below(shape.value, depth + 1)


def item_names(shape: Shape) -> set[str]:
    """What items are called in XML that have elements of their own, and members are not."""
    lists = [
        each
        for each in below(shape)
        if isinstance(each, ListShape) and not each.serialization.get("flattened")
    ]
    structures = [each for each in below(shape) if isinstance(each, StructureShape)]
    members = {xml_name(name, member) for each in structures for name, member in each.members.items()}
    return {str(each.member.serialization.get("name", "member")) for each in lists} - members


def turned_to_text(element: ElementTree.Element) -> None:
    text = "".join(ElementTree.tostring(child, "unicode") for child in element)
    for child in list(element):
        element.remove(child)
    element.text = (element.text or "") + text


def as_entry(element: ElementTree.Element) -> None:
    """The members of `element` stand in it as the entries of a map."""
    for child in list(element):
        key, value = ElementTree.Element("key"), ElementTree.Element("value")
        key.text, value.text = child.tag, child.text
        value.extend(list(child))
        element.remove(child)
        entry = ElementTree.SubElement(element, "entry")
        entry.extend([key, value])


def renamed(rename: Callable[[str], str]) -> Callable[[ElementTree.Element], None]:
    def change(element: ElementTree.Element) -> None:
        element.tag = rename(element.tag)

    return change


XML_CHANGES: dict[str, Callable[[ElementTree.Element], None]] = {
    "in member": lambda element: wrapped(element, "member"),
    "in item": lambda element: wrapped(element, "item"),
    "in item twice": lambda element: wrapped(element, "item", "item"),
    "in entry": lambda element: wrapped(element, "entry"),
    "in an element of its own name": nested,
    "in an unknown element": lambda element: wrapped(element, "x"),
    "as text": turned_to_text,
    "as entries": as_entry,
    "in another namespace": renamed(lambda tag: "{urn:x}" + tag.rpartition("}")[2]),
    "in lower case": renamed(str.lower),
    "in upper case": renamed(str.upper),
}


def check_xml(service: str, operation: str, protocol: str, many: int) -> int:
    """Change what elements are in answers in XML; gives how many were refused."""
    chance = random.Random(operation)
    model = service_model(service).operation_model(operation)
    value = value_of(model.output_shape)
    response = response_of(model, protocol, value or {})
    if not response.body.startswith(b"<"):
        return 0
    call, refused = make_call(service, operation, protocol), 0
    found = list(xml_leaves(model.output_shape, "$"))
    changes = XML_CHANGES | {"without the tags of items": unlisted(item_names(model.output_shape))}
    for path in chance.sample(found, min(many, len(found))):
        try:
            hidden = mask(call, answer(response.body), path).response.body
        except Refusal:
            continue
        tree, after = ElementTree.fromstring(response.body), ElementTree.fromstring(hidden)
        way = way_to_change(tree, after)
        if not way:
            # What the path leads to lies too deep for a synthetic value, or in a header.
            continue
        for element in tree.iter():
            element.attrib.clear()
            if not len(element):
                element.text = marked(element.text) if element is way[-1] else None
        for at in range(len(way)):
            for name, change in changes.items():
                copied = copy.deepcopy(tree)
                before = list(tree.iter())
                target = list(copied.iter())[before.index(way[at])]
                change(target)
                body = ElementTree.tostring(copied)
                if not holds_canary(body):
                    continue
                refused += check(call, body, way[at].tag, name, paths=[path])
            if at:
                copied = copy.deepcopy(tree)
                holder = list(copied.iter())[list(tree.iter()).index(way[at - 1])]
                twin = next(each for each in holder if each.tag == way[at].tag)
                holder.append(copy.deepcopy(twin))
                refused += check(call, ElementTree.tostring(copied), way[at].tag, "twice", paths=[path])
    return refused


def xml_leaves(shape: Shape, path: str, depth: int = 0) -> Iterator[str]:
    """The JSONPaths of strings and blobs as far as a synthetic value goes."""
    match shape:
        case _ if depth > DEPTH:
            return
        case StructureShape():
            for name, member in shape.members.items():
                yield from xml_leaves(member, f"{path}['{name}']", depth + 1)
        case ListShape():
            yield from xml_leaves(shape.member, path + "[*]", depth + 1)
        case MapShape():
            yield from xml_leaves(shape.value, path + ".*", depth + 1)
        case _ if shape.type_name in ("string", "blob"):
            yield path


def way_to_change(before: ElementTree.Element, after: ElementTree.Element) -> list[ElementTree.Element]:
    """The elements from the root down to the first whose text differs."""
    if before.text != after.text:
        return [before]
    for one, other in zip(before, after, strict=True):
        if way := way_to_change(one, other):
            return [before, *way]
    return []
