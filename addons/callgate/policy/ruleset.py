"""Rule files -> a RuleSet: checked, compiled, indexed by what a call asks for, with a digest."""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from callgate.decision import Mask
from callgate.policy.calltests import CallTest, principal_test
from callgate.policy.errors import Misuse, RuleError
from callgate.policy.facts import Facts
from callgate.policy.index import RuleIndex
from callgate.policy.rule import Rule, compile_rule
from callgate.policy.sets import Sets
from callgate.policy.source import Source, parse_source, raise_all
from callgate.policy.words import last_moment

MaskMistakes = Callable[[Mask], Iterable[tuple[str, str]]]
"""Tells what is wrong with a mask: keys of its rule, and messages. Only who masks knows."""


def _no_mistakes(mask: Mask) -> Iterable[tuple[str, str]]:
    return ()


@dataclass(frozen=True, slots=True)
class Exemption:
    """Lifts the rules `rules` for whom `applies` says True, until `until`."""

    rules: frozenset[str]
    applies: CallTest
    owner: str
    until: dt.datetime

    def lifts(self, rule: str, facts: Facts) -> bool:
        """Is `rule` lifted for this identity now?"""
        return rule in self.rules and facts.moment.now < self.until and self.applies(facts) is True


@dataclass(frozen=True, slots=True)
class Observe:
    """Puts whoever `applies` says True for into observe mode, until `until`."""

    applies: CallTest
    until: dt.datetime | None

    def covers(self, facts: Facts) -> bool:
        """Is this identity in observe mode now?"""
        return (self.until is None or facts.moment.now < self.until) and self.applies(facts) is True


@dataclass(frozen=True, slots=True, eq=False)
class RuleSet:
    """All rules in force, in the order of their ids. `digest` changes when what they say does."""

    rules: tuple[Rule, ...]
    exemptions: tuple[Exemption, ...]
    observed: tuple[Observe, ...]
    digest: str
    sources: tuple[Source, ...] = field(repr=False)
    sets: Sets = field(repr=False)
    index: RuleIndex = field(repr=False)

    def __len__(self) -> int:
        return len(self.rules)


def load_rules(paths: Sequence[Path], mask_mistakes: MaskMistakes = _no_mistakes) -> RuleSet:
    """The rules in files and folders (their `*.toml` except `*.cases.toml`, by name). Raises RuleError."""
    texts = {str(file): read_text(file) for path in paths for file in rule_files(path)}
    return parse_rules(texts, mask_mistakes)


def rule_files(path: Path) -> list[Path]:
    """The rule files that `path`, a file or a folder, stands for. Raises RuleError if there are none."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.glob("*.toml") if not file.name.endswith(".cases.toml"))
    if not files:
        raise RuleError(str(path), "holds no rule file (*.toml)")
    return files


def read_text(file: Path) -> str:
    """The text of a rule or case file. Raises RuleError."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise RuleError(str(file), "cannot be read: not UTF-8")
    except OSError as error:
        raise RuleError(str(file), f"cannot be read: {error.strerror}")


def parse_rules(texts: Mapping[str, str], mask_mistakes: MaskMistakes = _no_mistakes) -> RuleSet:
    """The rules in `texts`, given by file name. Raises RuleError (its `others` has further errors)."""
    errors: list[RuleError] = []
    sources: list[Source] = []
    for name, text in texts.items():
        try:
            sources.append(parse_source(name, text))
        except RuleError as error:
            errors.extend([error, *error.others])
    raise_all(errors)
    sets = _sets(sources, errors)
    rules = _rules(sources, sets, mask_mistakes, errors)
    exemptions = tuple(_exemptions(sources, sets, errors))
    observed = tuple(_observed(sources, sets, errors))
    raise_all(errors)
    return RuleSet(rules, exemptions, observed, _digest(sources), tuple(sources), sets, RuleIndex(rules))


def _sets(sources: Sequence[Source], errors: list[RuleError]) -> Sets:
    members: dict[str, tuple[str, ...]] = {}
    for source in sources:
        for name, words in source.says.sets.items():
            if name in members:
                errors.append(source.error("is defined in two files", ["sets", name]))
            for word in words:
                if word.startswith("@") and not word.startswith("@@"):
                    errors.append(source.error(f"{word!r}: a set cannot hold another", ["sets", name]))
            members[name] = words
    return Sets(members)


def _rules(
    sources: Sequence[Source], sets: Sets, mask_mistakes: MaskMistakes, errors: list[RuleError]
) -> tuple[Rule, ...]:
    rules: dict[str, Rule] = {}
    places: dict[str, tuple[Source, int]] = {}
    for source in sources:
        for number, said in enumerate(source.says.rule):
            if taken := places.get(said.id):
                first = taken[0].error("", ["rule", taken[1], "id"])
                errors.append(source.error(f"is taken by {first.file}:{first.line}", ["rule", number, "id"]))
                continue
            places[said.id] = source, number
            try:
                rule = rules[said.id] = compile_rule(said, sets)
            except Misuse as error:
                top = error.key.partition("[")[0].partition(".")[0]
                errors.append(source.error(str(error), ["rule", number, top], error.key))
                continue
            for key, message in mask_mistakes(rule.mask) if rule.mask else ():
                errors.append(source.error(message, ["rule", number, key]))
    return tuple(sorted(rules.values(), key=lambda rule: rule.id))


def _exemptions(sources: Sequence[Source], sets: Sets, errors: list[RuleError]) -> Iterator[Exemption]:
    effects = {said.id: said.effect for source in sources for said in source.says.rule}
    for source in sources:
        for number, said in enumerate(source.says.exemption):
            for name in said.rule:
                if name not in effects:
                    near = difflib.get_close_matches(name, effects, n=1)
                    message = f"there is no rule {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
                    errors.append(source.error(message, ["exemption", number, "rule"]))
                elif effects[name] not in ("deny", "hold"):
                    message = f"the effect of {name!r} is {effects[name]}; only deny and hold can be lifted"
                    errors.append(source.error(message, ["exemption", number, "rule"]))
            if applies := _principal(source, ["exemption", number], said.principal, sets, errors):
                yield Exemption(frozenset(said.rule), applies, said.owner, last_moment(said.until))


def _observed(sources: Sequence[Source], sets: Sets, errors: list[RuleError]) -> Iterator[Observe]:
    for source in sources:
        for number, said in enumerate(source.says.observe):
            if applies := _principal(source, ["observe", number], said.principal, sets, errors):
                yield Observe(applies, last_moment(said.until) if said.until else None)


def _principal(
    source: Source, path: list[str | int], principal: Any, sets: Sets, errors: list[RuleError]
) -> CallTest | None:
    try:
        return principal_test(principal, sets)
    except Misuse as error:
        errors.append(source.error(str(error), [*path, "principal", error.key]))
        return None


def _digest(sources: Sequence[Source]) -> str:
    """SHA-256 over what the files say. Comments and the order of files, tables and keys do not count."""
    said: dict[str, Any] = {"sets": {}, "rule": [], "exemption": [], "observe": []}
    for source in sources:
        said["sets"] |= source.data.get("sets", {})
        for table in ("rule", "exemption", "observe"):
            said[table] += map(_canonical, source.data.get(table, ()))
    for table in ("rule", "exemption", "observe"):
        said[table].sort()
    return "sha256:" + hashlib.sha256(_canonical(said).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=lambda day: {"$day": str(day)})
