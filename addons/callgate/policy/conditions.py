"""Conditions on request parameters (`when`, `any`), compiled."""

from __future__ import annotations

from collections.abc import Iterator

from callgate.policy.errors import at
from callgate.policy.facts import Facts
from callgate.policy.jsonpath import Path
from callgate.policy.jsontext import read_json
from callgate.policy.language import Condition, Tests
from callgate.policy.logic import Truth, every, negate, one
from callgate.policy.sets import Sets
from callgate.policy.template import Pattern
from callgate.policy.values import ValueTest, in_networks, is_equal, is_like, is_sized, is_within


class ParameterTest:
    """One condition. `claims` are those that its texts name."""

    def __init__(self, condition: Condition, sets: Sets, *, under_allow: bool) -> None:
        """Raises Misuse."""
        with at("path"):
            self._path = Path(condition.path)
        with at("inside"):
            self._inside = Path(condition.inside) if condition.inside is not None else None
        self._absent = condition.wants_absence
        self._quantifier = every if under_allow else one
        patterns: list[Pattern] = []
        self._tests = list(_value_tests(condition, sets, patterns))
        if condition.not_ is not None:
            with at("not"):
                inner = list(_value_tests(condition.not_, sets, patterns))
            self._tests.append(lambda value, facts: negate(one(test(value, facts) for test in inner)))
        self.claims = frozenset(name for pattern in patterns for name in pattern.claims)

    def __call__(self, facts: Facts) -> Truth:
        """Under allow all values must pass, and there must be one; under the other effects one is enough.

        What should be JSON and cannot be read as such is not known.
        """
        found = self._path.values(facts.call.parameters)
        readable = True
        if self._inside is not None:
            documents = [read_json(text) for text in found]
            readable = None not in documents
            found = [
                value for document in documents if document for value in self._inside.values(document[0])
            ]
        if self._absent:
            return False if found else readable or None
        if not found:
            return False if readable else None
        verdict = self._quantifier(every(test(value, facts) for test in self._tests) for value in found)
        if readable or (verdict is True and self._quantifier is one):
            return verdict
        return None


def _value_tests(tests: Tests, sets: Sets, patterns: list[Pattern]) -> Iterator[ValueTest]:
    """The tests that are given, compiled. Texts that they compare with are added to `patterns`."""
    if tests.equals is not None:
        with at("equals"):
            yield is_equal([tests.equals], patterns)
    if tests.in_ is not None:
        with at("in"):
            texts = sets.expand([value for value in tests.in_ if isinstance(value, str)])
            yield is_equal([*texts, *(value for value in tests.in_ if not isinstance(value, str))], patterns)
    if tests.like is not None:
        with at("like"):
            yield is_like(sets.expand(tests.like), patterns)
    if tests.greater is not None or tests.less is not None:
        yield is_within(tests.greater, tests.less)
    if tests.cidr is not None:
        with at("cidr"):
            yield in_networks(sets.expand(tests.cidr))
    if tests.size is not None:
        yield is_sized(tests.size)
