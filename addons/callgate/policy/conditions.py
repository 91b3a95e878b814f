"""Conditions on request parameters (`when`, `any`), compiled."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from callgate.call import Payload
from callgate.policy.facts import Facts
from callgate.policy.jsonpath import Path, is_number, same
from callgate.policy.language import Condition, Size, Tests
from callgate.policy.logic import Truth, every, negate, one
from callgate.policy.networks import network, networks
from callgate.policy.template import Pattern

ValueTest = Callable[[Any, Facts], Truth]
Expand = Callable[[Sequence[str]], tuple[str, ...]]
"""Puts the members of sets in place of `@name`. Raises ValueError for an unknown set."""


class ParameterTest:
    """One condition. `claims` are those that it names."""

    def __init__(self, condition: Condition, expand: Expand, *, under_allow: bool) -> None:
        """Raises ValueError with the key at fault in front of the message."""
        self._path = _keyed("path", Path, condition.path)
        self._inside = _keyed("inside", Path, condition.inside) if condition.inside is not None else None
        self._absent = condition.exists is False or condition.missing is True
        self._quantifier = every if under_allow else one
        patterns: list[Pattern] = []
        self._tests = _value_tests(condition, expand, patterns)
        if condition.not_ is not None:
            inner = _keyed("not", lambda tests: _value_tests(tests, expand, patterns), condition.not_)
            self._tests.append(lambda value, facts: negate(one(test(value, facts) for test in inner)))
        self.claims = frozenset(name for pattern in patterns for name in pattern.claims)

    def __call__(self, facts: Facts) -> Truth:
        """Under allow, all values must pass and there must be one; under the other effects one is enough."""
        found = self._path.values(facts.call.parameters)
        if self._inside is None:
            readable: Truth = True
        else:
            found, readable = _read_inside(found, self._inside)
        if self._absent:
            return not found and readable
        if not found:
            return None if readable is None else False
        verdict = self._quantifier(every(test(value, facts) for test in self._tests) for value in found)
        return verdict if readable or (verdict is True and self._quantifier is one) else None


def _keyed[X, Y](key: str, make: Callable[[X], Y], value: X) -> Y:
    try:
        return make(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}")


def _value_tests(tests: Tests, expand: Expand, patterns: list[Pattern]) -> list[ValueTest]:
    compiled: list[ValueTest] = []
    if tests.equals is not None:
        compiled.append(_keyed("equals", lambda wanted: _equals([wanted], patterns), tests.equals))
    if tests.in_ is not None:
        compiled.append(_keyed("in", lambda wanted: _equals(_expanded(wanted, expand), patterns), tests.in_))
    if tests.like is not None:
        compiled.append(_keyed("like", lambda wanted: _like(expand(wanted), patterns), tests.like))
    if tests.greater is not None or tests.less is not None:
        compiled.append(_within(tests.greater, tests.less))
    if tests.cidr is not None:
        compiled.append(_keyed("cidr", lambda wanted: _cidr(expand(wanted)), tests.cidr))
    if tests.size is not None:
        compiled.append(_size(tests.size))
    return compiled


def _expanded(values: Sequence[object], expand: Expand) -> list[object]:
    return [item for value in values for item in (expand([value]) if isinstance(value, str) else [value])]


def _pattern(text: str, patterns: list[Pattern]) -> Pattern:
    patterns.append(pattern := Pattern(text))
    return pattern


def _equals(wanted: Sequence[object], patterns: list[Pattern]) -> ValueTest:
    texts = [_literal_pattern(item, patterns) for item in wanted if isinstance(item, str)]
    others = [item for item in wanted if not isinstance(item, str)]

    def test(value: Any, facts: Facts) -> Truth:
        if any(same(value, _exact(item)) for item in others):
            return True
        return one(matches(value, facts) for matches in texts)

    return test


def _exact(number: object) -> object:
    """A float as it was written, so that 0.1 equals the exact number in a request."""
    return decimal.Decimal(repr(number)) if isinstance(number, float) else number


def _literal_pattern(text: str, patterns: list[Pattern]) -> ValueTest:
    if "${" not in text:
        return lambda value, facts: (read := text_of(value)) is not None and read == text
    # In `equals` and `in` a star is a star: whoever wants a glob writes `like`.
    if "*" in text or "?" in text:
        raise ValueError("a text with a variable cannot hold * or ? here; use like")
    return _like((text,), patterns)


def _like(wanted: Sequence[str], patterns: list[Pattern]) -> ValueTest:
    globs = [_pattern(text, patterns) for text in wanted]

    def test(value: Any, facts: Facts) -> Truth:
        if (text := text_of(value)) is None:
            return None if isinstance(value, bytes | bytearray | Payload) else False
        return one(
            None if (glob := pattern.glob(facts.identity)) is None else glob.matches(text)
            for pattern in globs
        )

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


def _within(greater: float | None, less: float | None) -> ValueTest:
    def test(value: Any, facts: Facts) -> Truth:
        if not is_number(value):
            return None
        if isinstance(value, decimal.Decimal) and not value.is_finite():
            return None
        return (greater is None or value > _exact(greater)) and (less is None or value < _exact(less))

    return test


def _cidr(wanted: Sequence[str]) -> ValueTest:
    allowed = networks(wanted)

    def test(value: Any, facts: Facts) -> Truth:
        try:
            asked = network(value)
        except ValueError:
            return None
        return any(asked.version == net.version and asked.subnet_of(net) for net in allowed)  # type: ignore[arg-type]

    return test


def _size(size: Size) -> ValueTest:
    bounds = _within(size.greater, size.less)

    def test(value: Any, facts: Facts) -> Truth:
        if (length := _length(value)) is None:
            return None
        return bounds(length, facts) and (size.equals is None or length == size.equals)

    return test


def _length(value: Any) -> int | None:
    if isinstance(value, Payload):
        return value.length
    return len(value) if isinstance(value, str | bytes | bytearray | list | tuple | Mapping) else None


def _read_inside(found: list[Any], inside: Path) -> tuple[list[Any], Truth]:
    """The values inside JSON texts, and True if all texts could be read, else None."""
    values: list[Any] = []
    readable: Truth = True
    for text in found:
        try:
            document = json.loads(
                text, parse_float=decimal.Decimal, parse_constant=_no_number, object_pairs_hook=_unique
            )
        except (ValueError, TypeError, RecursionError):
            readable = None
        else:
            values.extend(inside.values(document))
    return values, readable


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
