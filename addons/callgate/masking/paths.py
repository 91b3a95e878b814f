"""JSONPaths as automata: which members a path reaches, told step by step while a document is walked.

In: the text of a path as jsonpath-ng reads it (`.ext` grammar). Out: `Path`, whose states are positions
between its steps. Walking an automaton needs no tree of the whole document, so bodies can be changed at byte
spans. Supported: `$`, `.name`, `['a','b']`, `.*`, `[*]`, `[0]`, `[1:3]`, `..`, `[?(…)]`. Anything else is a
ValueError, so that a rule never masks less than it seems to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import Any, Final

from jsonpath_ng import jsonpath
from jsonpath_ng.ext import parser
from jsonpath_ng.ext.filter import Filter

ANY: Final = "any"
NAMES: Final = "names"
ITEMS: Final = "items"
DESCEND: Final = "descend"
FILTER: Final = "filter"


class UnknownValue(Exception):
    """Nobody can tell the value that a filter asks for: the filter is taken to like it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: to members by name, to items by index, to anything, deeper, or to what a filter
    likes."""

    kind: str
    names: frozenset[str] = frozenset()
    items: Callable[[int], bool] | None = None
    matches: Callable[[Any], bool] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A compiled path. `text` is what the rule says."""

    text: str
    steps: tuple[Step, ...] = field(repr=False)

    def start(self) -> frozenset[int]:
        """The states at the root of a document."""
        return self._settle([0])

    def ends(self, states: frozenset[int]) -> bool:
        """Whether the path ends at the place that is in `states`."""
        return len(self.steps) in states

    def wants_value(self, states: frozenset[int]) -> bool:
        """Whether only the value of a child tells if the path goes on there."""
        return any(state < len(self.steps) and self.steps[state].kind == FILTER for state in states)

    def to_member(
        self, states: frozenset[int], name: str, folded: Set[str], value: Callable[[], Any]
    ) -> frozenset[int]:
        """The states at the member `name`. `folded`: what else it may stand for, case-folded; empty where the
        model confirms the name."""

        def goes(step: Step) -> bool:
            if step.kind == NAMES:
                return name in step.names or any(each.casefold() in folded for each in step.names)
            return self._goes_anywhere(step, value)

        return self._move(states, goes)

    def to_item(self, states: frozenset[int], index: int, value: Callable[[], Any]) -> frozenset[int]:
        """The states at item `index` of a list."""

        def goes(step: Step) -> bool:
            if step.kind == ITEMS and step.items:
                return step.items(index)
            return self._goes_anywhere(step, value)

        return self._move(states, goes)

    def by_index(self, states: frozenset[int]) -> bool:
        """Whether the items of a list differ for the path."""
        return any(state < len(self.steps) and self.steps[state].kind == ITEMS for state in states)

    def onward(self, states: frozenset[int]) -> frozenset[int]:
        """Those of `states` in which the path has not ended."""
        return states - {len(self.steps)}

    def adrift(self, states: frozenset[int]) -> frozenset[int]:
        """`states`, and those behind the next steps to no name: where no model tells lists from what else
        stands there, items may be missing. By index or filter no path ends so."""
        found = set(states)
        for state in states:
            while state < len(self.steps) and self._may_be_missing(state):
                state += 1
                found.add(state)
        return self._settle(found)

    def _may_be_missing(self, state: int) -> bool:
        kind, last = self.steps[state].kind, state + 1 == len(self.steps)
        return kind == ANY or (kind in (ITEMS, FILTER) and not last)

    def leads(self, states: frozenset[int]) -> bool:
        """Whether the path goes on from just here, and not only from here or anywhere deeper."""
        return any(
            self.steps[state].kind != DESCEND and (not state or self.steps[state - 1].kind != DESCEND)
            for state in self.onward(states)
        )

    def last_names(self, states: frozenset[int]) -> frozenset[str] | None:
        """The names of which one must still be met for the path to end; None if names do not tell."""
        if not states:
            return frozenset()
        last = max((index for index, step in enumerate(self.steps) if step.kind == NAMES), default=-1)
        return self.steps[last].names if max(states) <= last else None

    def next_names(self, states: frozenset[int]) -> frozenset[str]:
        """The names of the members to which the path goes from here."""
        here = (self.steps[state] for state in states if state < len(self.steps))
        return frozenset(name for step in here if step.kind == NAMES for name in step.names)

    def later_names(self, states: frozenset[int]) -> frozenset[str] | None:
        """All names on the way from here to the path's end; None if its next step is to no name."""
        if any(self.steps[state].kind not in (NAMES, DESCEND) for state in self.onward(states)):
            return None
        ahead = self.steps[min(states, default=len(self.steps)) :]
        return frozenset(name for step in ahead for name in step.names)

    @staticmethod
    def _goes_anywhere(step: Step, value: Callable[[], Any]) -> bool:
        if step.kind == FILTER and step.matches:
            try:
                return step.matches(value())
            except UnknownValue:
                return True
        return step.kind == ANY

    def _move(self, states: frozenset[int], goes: Callable[[Step], bool]) -> frozenset[int]:
        reached = []
        for state in states:
            if state == len(self.steps):
                continue
            step = self.steps[state]
            if step.kind == DESCEND:
                reached.append(state)
            elif goes(step):
                reached.append(state + 1)
        return self._settle(reached)

    def _settle(self, states: Iterable[int]) -> frozenset[int]:
        settled = set(states)
        for state in list(settled):
            while state < len(self.steps) and self.steps[state].kind == DESCEND:
                state += 1
                settled.add(state)
        return frozenset(settled)


@functools.lru_cache(maxsize=4096)
def compile_path(text: str) -> Path:
    """The automaton of the JSONPath `text`. ValueError if it is not one, or uses what masks do not
    support."""
    try:
        parsed = parser.parse(text)
    except Exception as error:  # noqa: BLE001 jsonpath-ng raises bare Exception
        raise ValueError(f"{text!r} is not a JSONPath: {error}") from None
    return Path(text, tuple(_steps(parsed, text)))


def _likes(filter_: Any, value: Any) -> bool:
    return bool(filter_.find(jsonpath.DatumInContext([value])))


def _steps(node: Any, text: str) -> list[Step]:
    match node:
        case jsonpath.Root() | jsonpath.This():
            return []
        case jsonpath.Child() if not isinstance(node.right, jsonpath.Root):
            return _steps(node.left, text) + _steps(node.right, text)
        case jsonpath.Descendants():
            return [*_steps(node.left, text), Step(DESCEND), *_steps(node.right, text)]
        case jsonpath.Fields():
            return [Step(ANY) if "*" in node.fields else Step(NAMES, names=frozenset(node.fields))]
        case jsonpath.Index():
            wanted = frozenset(node.indices)
            if all(index >= 0 for index in wanted):
                return [Step(ITEMS, items=wanted.__contains__)]
        case jsonpath.Slice():
            start, end, step = node.start, node.end, node.step
            if (start, end, step) == (None, None, None):
                return [Step(ANY)]
            if all(bound is None or bound >= 0 for bound in (start, end)) and (step is None or step > 0):
                chosen = range(start or 0, 2**62 if end is None else end, step or 1)
                return [Step(ITEMS, items=chosen.__contains__)]
        case Filter():
            return [Step(FILTER, matches=functools.partial(_likes, node))]
        case _ if type(node).__name__ == "Wildcard":
            return [Step(ANY)]
    raise ValueError(f"{text!r}: masks do not support {type(node).__name__} as it is used here")
