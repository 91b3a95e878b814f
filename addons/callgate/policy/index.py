"""Finds the rules that may match a need, so that the number of other rules does not count.

First by action or operation; then, among rules that want one exact value of a claim (a rule for each
repository, say), by that claim.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from callgate.call import Need
from callgate.identity.identity import Identity
from callgate.policy.facts import claim_texts
from callgate.policy.rule import Rule

_REMEMBERED = 8192
"""(action, operation) pairs whose rules are remembered; both come from AWS's models, so they are not many."""


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Rules that concern one need: `pinned` has for a claim the rules by its value, and all of them."""

    loose: tuple[Rule, ...]
    pinned: tuple[tuple[str, dict[str, list[Rule]], tuple[Rule, ...]], ...]

    @classmethod
    def of(cls, rules: Sequence[Rule]) -> _Shelf:
        by_claim: dict[str, list[tuple[Rule, frozenset[str]]]] = {}
        for rule in rules:
            if rule.pin:
                claim, values = rule.pin
                by_claim.setdefault(claim, []).append((rule, values))
        pinned = []
        for claim, entries in by_claim.items():
            by_value: dict[str, list[Rule]] = {}
            for rule, values in entries:
                for value in values:
                    by_value.setdefault(value, []).append(rule)
            pinned.append((claim, by_value, tuple(rule for rule, _ in entries)))
        return cls(tuple(rule for rule in rules if not rule.pin), tuple(pinned))

    def for_identity(self, identity: Identity) -> Iterator[Rule]:
        yield from self.loose
        for claim, by_value, rules in self.pinned:
            if (texts := claim_texts(identity, claim)) is None:
                yield from rules  # an absent claim is for the rule to judge
            else:
                for text in dict.fromkeys(texts):
                    yield from by_value.get(text, ())


class RuleIndex:
    """Over a fixed list of rules. It remembers what it found, by action and operation."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._shelves: dict[tuple[str, str], _Shelf] = {}

    def candidates(self, need: Need, identity: Identity) -> Iterator[Rule]:
        """The rules that may match `need` for `identity`, in no order; a rule may come twice."""
        key = (need.action, need.operation)
        if (shelf := self._shelves.get(key)) is None:
            if len(self._shelves) >= _REMEMBERED:
                self._shelves.clear()
            shelf = self._shelves[key] = _Shelf.of([rule for rule in self._rules if rule.concerns(need)])
        return shelf.for_identity(identity)
