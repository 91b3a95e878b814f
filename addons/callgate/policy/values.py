"""Tests of one value in a request's parameters. Each says True, False, or None where it cannot tell."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from callgate.call import Payload
from callgate.policy.facts import Facts
from callgate.policy.jsonpath import exact, is_number, same
from callgate.policy.language import Size
from callgate.policy.logic import Truth, one
from callgate.policy.networks import inside, network, networks
from callgate.policy.template import Pattern

ValueTest = Callable[[Any, Facts], Truth]


def is_equal(wanted: Sequence[object], patterns: list[Pattern]) -> ValueTest:
    """Equal to one of `wanted`: numbers by value, everything else by its text. A star is a star here."""
    texts = frozenset(item for item in wanted if isinstance(item, str) and "${" not in item)
    others = [exact(item) for item in wanted if not isinstance(item, str)]
    named = [item for item in wanted if isinstance(item, str) and "${" in item]
    if any("*" in item or "?" in item for item in named):
        raise ValueError("a text with a variable cannot hold * or ? here; like can")
    like_named = is_like(named, patterns)

    def test(value: Any, facts: Facts) -> Truth:
        if any(same(value, item) for item in others):
            return True
        if (text := text_of(value)) is None:
            return _opaque(value)
        return text in texts or like_named(value, facts)

    return test


def is_like(wanted: Sequence[str], patterns: list[Pattern]) -> ValueTest:
    """One of the globs `wanted` matches the value's text."""
    globs = [Pattern(text) for text in wanted]
    patterns.extend(globs)

    def test(value: Any, facts: Facts) -> Truth:
        if (text := text_of(value)) is None:
            return _opaque(value)
        return one(glob.matches(text, facts.identity) for glob in globs)

    return test


def is_within(greater: float | None, less: float | None) -> ValueTest:
    """A number between the bounds, both exclusive."""
    above, below = exact(greater), exact(less)

    def test(value: Any, facts: Facts) -> Truth:
        if not is_number(value) or (isinstance(value, decimal.Decimal) and not value.is_finite()):
            return None
        return (above is None or value > above) and (below is None or value < below)

    return test


def in_networks(wanted: Sequence[str]) -> ValueTest:
    """An address or network inside one of the networks `wanted`."""
    allowed = networks(wanted)

    def test(value: Any, facts: Facts) -> Truth:
        try:
            return inside(network(value), allowed)
        except ValueError:
            return None

    return test


def is_sized(size: Size) -> ValueTest:
    """A text, blob, list or map of a length."""
    bounds = is_within(size.greater, size.less)

    def test(value: Any, facts: Facts) -> Truth:
        if (length := _length(value)) is None:
            return None
        return bounds(length, facts) and (size.equals is None or length == size.equals)

    return test


def text_of(value: Any) -> str | None:
    """A scalar as text; None for lists, maps, null and bytes that are no text."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | decimal.Decimal() | float():
            return str(value)
        case bytes() | bytearray():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return None
        case dt.datetime():
            return value.isoformat().replace("+00:00", "Z")
    return None


def _opaque(value: Any) -> Truth:
    """What a text test says of a value without text: bytes and streamed bodies might hold anything."""
    return None if isinstance(value, bytes | bytearray | Payload) else False


def _length(value: Any) -> int | None:
    if isinstance(value, Payload):
        return value.length
    return len(value) if isinstance(value, str | bytes | bytearray | list | tuple | Mapping) else None
