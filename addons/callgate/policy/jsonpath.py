"""JSONPath over a call's parameters.

The syntax is jsonpath-ng's (`jsonpath_ng.ext`), whose parser reads it. The walk is our own, because a rule
must not miss a match that hostile or unusual parameters hide: it takes exact numbers (Decimal) and any
mapping, has a bound on its work, and knows only what cannot run away or fail silently (no regular
expressions, arithmetic, sorting or parents).
"""

from __future__ import annotations

import decimal
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonpath_ng
from jsonpath_ng.ext import filter as filters
from jsonpath_ng.ext.parser import parse as parse_jsonpath

MAX_STEPS = 200_000
"""Values that one search may touch."""
MAX_LENGTH = 500
"""Characters that a path may have."""


class TooMuchWork(Exception):
    """A path touched more values than it may."""


class _Walk:
    """One search: the root (for `$` inside filters) and what is left of the work that it may do."""

    __slots__ = ("left", "root")

    def __init__(self, root: Any) -> None:
        self.root = root
        self.left = MAX_STEPS

    def touch(self, count: int = 1) -> None:
        self.left -= count
        if self.left < 0:
            raise TooMuchWork(f"a JSONPath touched more than {MAX_STEPS} values")


_Step = Callable[[Any, _Walk], Iterator[Any]]


class Path:
    """A compiled JSONPath. `text` is how the rule wrote it, `tree` what jsonpath-ng read in it."""

    __slots__ = ("_step", "text", "tree")

    def __init__(self, text: str) -> None:
        """Raises ValueError if `text` is not a JSONPath that rules may use."""
        self.text = text
        self.tree = _parse(text)
        self._step = _compile(self.tree)

    def values(self, data: Any) -> list[Any]:
        """All values at this path in `data`, in document order. Raises TooMuchWork."""
        return list(self._step(data, _Walk(data)))


@lru_cache(maxsize=4096)
def _parse(text: str) -> Any:
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a JSONPath has at most {MAX_LENGTH} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return parse_jsonpath(text)
    except Exception as error:  # noqa: BLE001 - releases of jsonpath-ng differ in what they raise
        raise ValueError(f"{text!r} is not a JSONPath: {str(error).partition(chr(10))[0] or error!r}")


def _compile(node: Any) -> _Step:
    match node:
        case jsonpath_ng.Root():
            return lambda value, walk: iter((walk.root,))
        case jsonpath_ng.This():
            if type(node) is not jsonpath_ng.This:
                raise ValueError(f"{node} cannot be used in a rule's path")
            return lambda value, walk: iter((value,))
        case jsonpath_ng.Child():
            return _child(_compile(node.left), _compile(node.right))
        case jsonpath_ng.Descendants():
            return _descendants(_compile(node.left), _compile(node.right))
        case jsonpath_ng.Fields():
            return _every if node.fields == ("*",) else _fields(tuple(node.fields))
        case jsonpath_ng.Index():
            return _index(tuple(node.indices))
        case jsonpath_ng.Slice():
            return _slice(slice(node.start, node.end, node.step))
        case filters.Filter():
            return _filter([_test(expression) for expression in node.expressions])
        case _ if type(node).__name__ == "Wildcard":
            return _every
    raise ValueError(f"{node} cannot be used in a rule's path (names, [n], [a:b], *, .. and [?(…)] can)")


def _child(left: _Step, right: _Step) -> _Step:
    def step(value: Any, walk: _Walk) -> Iterator[Any]:
        for inner in left(value, walk):
            yield from right(inner, walk)

    return step


def _descendants(left: _Step, right: _Step) -> _Step:
    def step(value: Any, walk: _Walk) -> Iterator[Any]:
        stack = list(left(value, walk))[::-1]
        while stack:
            inner = stack.pop()
            walk.touch()
            yield from right(inner, walk)
            stack.extend(reversed(_children(inner)))

    return step


def _children(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _every(value: Any, walk: _Walk) -> Iterator[Any]:
    for inner in _children(value):
        walk.touch()
        yield inner


def _fields(names: tuple[str, ...]) -> _Step:
    def step(value: Any, walk: _Walk) -> Iterator[Any]:
        walk.touch()
        if isinstance(value, Mapping):
            for name in names:
                if name in value:
                    yield value[name]

    return step


def _index(indices: tuple[int, ...]) -> _Step:
    def step(value: Any, walk: _Walk) -> Iterator[Any]:
        walk.touch()
        if isinstance(value, list | tuple):
            for index in indices:
                if -len(value) <= index < len(value):
                    yield value[index]

    return step


def _slice(part: slice) -> _Step:
    if part.step == 0:
        raise ValueError("a slice's step cannot be 0")

    def step(value: Any, walk: _Walk) -> Iterator[Any]:
        if isinstance(value, list | tuple):
            for inner in value[part]:
                walk.touch()
                yield inner

    return step


_Test = Callable[[Any, _Walk], bool]


def _filter(tests: list[_Test]) -> _Step:
    def step(value: Any, walk: _Walk) -> Iterator[Any]:
        for inner in _children(value):
            walk.touch()
            if all(test(inner, walk) for test in tests):
                yield inner

    return step


def _test(node: Any) -> _Test:
    match node:
        case filters.Expression():
            return _comparison(node)
        case _ if type(node).__name__ in ("And", "Or"):
            tests = [_test(operand) for operand in node.operands]
            if type(node).__name__ == "And":
                return lambda value, walk: all(test(value, walk) for test in tests)
            return lambda value, walk: any(test(value, walk) for test in tests)
    raise ValueError(f"{node} cannot be used in a filter")


_Order = Callable[[Any, Any], bool]
_ORDER: dict[str, _Order] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _comparison(node: Any) -> _Test:
    target = _compile(node.target)
    if node.op == "=~":
        raise ValueError("=~ cannot be used in a rule's path: write like = [...] instead")
    if node.op is None:
        return lambda value, walk: any(True for _ in target(value, walk))
    if node.op == "!":
        return lambda value, walk: not any(True for _ in target(value, walk))
    other: _Step
    if isinstance(node.value, jsonpath_ng.JSONPath):
        other = _compile(node.value)
    else:
        literal = exact(node.value)

        def other(value: Any, walk: _Walk) -> Iterator[Any]:
            return iter((literal,))

    negated: bool = node.op == "!="
    order = _ORDER.get(node.op)

    def test(value: Any, walk: _Walk) -> bool:
        wanted = list(other(value, walk))
        found = list(target(value, walk))
        if order is not None:
            return any(_ordered(order, left, right) for left in found for right in wanted)
        if not found or not wanted:
            return negated != (not found and not wanted)
        return any(negated != same(left, right) for left in found for right in wanted)

    return test


def same(left: Any, right: Any) -> bool:
    """Are two values equal as JSON has it (RFC 9535, 2.3.5.2.2): numbers by value, booleans never numbers?"""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def is_number(value: Any) -> bool:
    """An exact or a floating number, and no boolean."""
    return isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool)


def exact(number: Any) -> Any:
    """A float as it was written, so that 0.1 equals the exact number in a request; all else as it is."""
    return decimal.Decimal(repr(number)) if isinstance(number, float) else number


def _ordered(order: _Order, left: Any, right: Any) -> bool:
    if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return order(left, right)
    return order in (operator.le, operator.ge) and same(left, right)
