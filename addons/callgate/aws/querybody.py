"""Parameters of the query and EC2 query protocols: dotted keys back to lists, maps and structures.

Follows Smithy's awsQuery and ec2Query. Indices must run from 1 without gaps, since servers treat gaps
differently.
"""

from __future__ import annotations

import re
from typing import Any

from botocore.model import Shape

from callgate.aws.jsonbody import shown
from callgate.aws.limits import Limits
from callgate.aws.scalars import from_text, twice, unknown, wrong
from callgate.aws.target import Pairs

_INDEX = re.compile(r"[1-9][0-9]{0,5}")


class _Tree(dict[str, "_Tree"]):
    """One level of keys; `text` is the value that stands at it, if any."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        super().__init__()
        self.text: str | None = None


def read_pairs(shape: Shape | None, pairs: Pairs, limits: Limits, *, ec2: bool) -> dict[str, Any]:
    """`pairs` as `shape` (an operation's input) has them. Raises Refusal for what the shape does not have."""
    root = _Tree()
    for key, value in pairs:
        node = root
        parts = key.split(".")
        # A level of a list or map takes two parts.
        if len(parts) > 2 * limits.depth:
            raise limits.too_deep()
        for part in parts:
            step = node.get(part)
            if step is None:
                step = node[part] = _Tree()
            node = step
        if node.text is not None:
            raise twice(shown(key))
        node.text = value
    if shape is None:
        if root:
            raise unknown(shown(next(iter(root))))
        return {}
    found = _structure(shape, root, "", ec2)
    assert isinstance(found, dict)
    return found


def _read(shape: Shape, node: _Tree, where: str, ec2: bool) -> Any:
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, node, where, ec2)
    if kind == "list":
        return _list(shape, node, where, ec2)
    if kind == "map":
        return _map(shape, node, where, ec2)
    if node or node.text is None:
        raise wrong(where, "a single value")
    return from_text(shape, node.text, where, "iso8601")


def _structure(shape: Shape, node: _Tree, where: str, ec2: bool) -> dict[str, Any]:
    if node.text:
        raise wrong(where, "a structure")
    members = _wire(shape, ec2)
    found: dict[str, Any] = {}
    for key, inner in node.items():
        known = members.get(key)
        if known is None:
            raise unknown(f"{where}.{shown(key)}" if where else shown(key))
        name, member = known
        found[name] = _read(member, inner, f"{where}.{name}" if where else name, ec2)
    return found


def _wire(shape: Shape, ec2: bool) -> dict[str, tuple[str, Shape]]:
    """Wire name to (member, shape), as this protocol names members. Kept on the shape."""
    slot = "_callgate_ec2" if ec2 else "_callgate_query"
    found: dict[str, tuple[str, Shape]] | None = shape.__dict__.get(slot)
    if found is None:
        found = {}
        for name, member in shape.members.items():
            ways = member.serialization
            wire = ways.get("name", name)
            if ec2:
                wire = ways.get("queryName") or (wire[0].upper() + wire[1:] if "name" in ways else name)
            elif member.type_name == "list" and ways.get("flattened"):
                wire = member.member.serialization.get("name", wire)
            found[wire] = (name, member)
        shape.__dict__[slot] = found
    return found


def _list(shape: Shape, node: _Tree, where: str, ec2: bool) -> list[Any]:
    if not node and node.text == "":
        return []
    if node.text is not None:
        raise wrong(where, "a list")
    if not ec2 and not shape.serialization.get("flattened"):
        node = _only(node, shape.member.serialization.get("name", "member"), where)
    return [_read(shape.member, item, where + "[]", ec2) for item in _numbered(node, where)]


def _map(shape: Shape, node: _Tree, where: str, ec2: bool) -> dict[str, Any]:
    if not node and node.text == "":
        return {}
    if node.text is not None:
        raise wrong(where, "a map")
    if not ec2 and not shape.serialization.get("flattened"):
        node = _only(node, "entry", where)
    key_name = shape.key.serialization.get("name", "key")
    value_name = shape.value.serialization.get("name", "value")
    found: dict[str, Any] = {}
    for entry in _numbered(node, where):
        if entry.text is not None or key_name not in entry or not set(entry) <= {key_name, value_name}:
            raise wrong(where, "a map")
        key = entry[key_name]
        if key or key.text is None:
            raise wrong(where, "a map")
        if key.text in found:
            raise twice(where)
        found[key.text] = (
            _read(shape.value, entry[value_name], where + ".*", ec2) if value_name in entry else None
        )
    return found


def _only(node: _Tree, name: str, where: str) -> _Tree:
    if len(node) != 1 or name not in node or node[name].text is not None:
        raise wrong(where, f"a list or map of {name}")
    return node[name]


def _numbered(node: _Tree, where: str) -> list[_Tree]:
    if not all(_INDEX.fullmatch(key) for key in node):
        raise wrong(where, "numbered from 1")
    rows = sorted((int(key), item) for key, item in node.items() if key)
    if [number for number, _ in rows] != list(range(1, len(rows) + 1)):
        raise wrong(where, "numbered from 1 without gaps")
    return [item for _, item in rows]
