"""Rule files -> a RuleSet: checked, compiled, indexed by what a call asks for, with a digest."""

from __future__ import annotations

import datetime as dt
import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from callgate.call import Need
from callgate.policy import language
from callgate.policy.compiling import CallTest, Rule, compile_rule, principal_test
from callgate.policy.conditions import Expand
from callgate.policy.errors import RuleError, line_of, syntax_error_line
from callgate.policy.facts import Facts

_REMEMBERED = 8192
"""(action, operation) pairs whose rules are remembered. Both come from AWS's models, so there are not many."""


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
    """All rules in force, in the order of their ids. `digest` changes when, and only when, what they say does."""

    rules: tuple[Rule, ...]
    exemptions: tuple[Exemption, ...]
    observed: tuple[Observe, ...]
    digest: str
    sources: tuple[Source, ...]
    _index: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.rules)

    def concerning(self, need: Need) -> tuple[Rule, ...]:
        """The rules whose actions or operations name `need`, in the order of their ids."""
        key = (need.action, need.operation)
        if (found := self._index.get(key)) is None:
            found = tuple(rule for rule in self.rules if rule.concerns(need))
            if len(self._index) >= _REMEMBERED:
                self._index.clear()
            self._index[key] = found
        return found


@dataclass(frozen=True, slots=True)
class Source:
    """One rule file: its text, its data as TOML has it, and what it says."""

    name: str
    text: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    says: language.RuleFile = field(repr=False)

    def error(self, message: str, path: Sequence[str | int], key: str | None = None) -> RuleError:
        """A RuleError about what stands at `path`."""
        table = self.data
        rule = None
        if len(path) >= 2 and path[0] == "rule":
            rule = str(table["rule"][path[1]].get("id", f"number {int(path[1]) + 1}"))
        return RuleError(self.name, message, line=line_of(self.text, path), rule=rule, key=key)


def load_rules(paths: Sequence[Path]) -> RuleSet:
    """The rules in files and folders (their `*.toml` except `*.cases.toml`, in order). Raises RuleError."""
    return parse_rules({str(file): _read(file) for path in paths for file in rule_files(path)})


def rule_files(path: Path) -> list[Path]:
    """The rule files that `path`, a file or a folder, stands for. Raises RuleError if there are none."""
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.glob("*.toml") if not file.name.endswith(".cases.toml"))
    if not files:
        raise RuleError(str(path), "holds no rule file (*.toml)")
    return files


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(str(file), f"cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}")


def parse_rules(texts: Mapping[str, str]) -> RuleSet:
    """The rules in `texts`, given by file name. Raises RuleError (its `others` has further errors)."""
    errors: list[RuleError] = []
    sources: list[Source] = []
    for name, text in texts.items():
        try:
            sources.append(parse_source(name, text))
        except RuleError as error:
            errors.extend([error, *error.others])
    _raise(errors)
    ruleset = _assemble(sources, errors)
    _raise(errors)
    return ruleset


def _raise(errors: list[RuleError]) -> None:
    if errors:
        first, *others = errors
        first.others = tuple(others)
        raise first


def parse_source(name: str, text: str) -> Source:
    """One rule file, checked by itself. Raises RuleError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(name, f"is not TOML: {error}", line=syntax_error_line(error))
    except RecursionError:
        raise RuleError(name, "is not TOML: nested too deeply")
    try:
        return Source(name, text, data, language.RuleFile.model_validate(data))
    except ValidationError as error:
        draft = Source(name, text, data, language.RuleFile())
        _raise([draft.error(*_explained(problem, data)) for problem in error.errors()])
        raise


def _explained(problem: Any, data: Mapping[str, Any]) -> tuple[str, Sequence[str | int], str | None]:
    """Message, path and key of one of pydantic's errors."""
    path = _real_path(problem["loc"], data)
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), _known_keys(path), n=1)
        message = "unknown key" + (f"; did you mean {near[0]}?" if near else "")
    elif problem["type"] == "missing":
        message = "is missing"
    elif problem["type"] == "literal_error":
        message = f"is {problem['input']!r}; it can be {problem['ctx']['expected']}"
    shown = path[2:] if path[:1] == ["rule"] else path  # a rule is named by its id
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in shown).lstrip(".")
    return message, path, key or None


def _real_path(loc: Sequence[str | int], data: Any) -> list[str | int]:
    """`loc` without the names of union branches that pydantic puts in."""
    path: list[str | int] = []
    for number, step in enumerate(loc):
        if isinstance(data, Mapping) and step in data:
            data = data[step]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        elif number == len(loc) - 1 and isinstance(data, Mapping):
            data = None
        else:
            continue
        path.append(step)
    return path


def _known_keys(path: Sequence[str | int]) -> list[str]:
    model: type[BaseModel] = language.RuleFile
    names = [step for step in path if isinstance(step, str)]
    if len(names) >= 2:
        tables = {"rule": language.Rule, "exemption": language.Exemption, "observe": language.Observe}
        model = tables.get(names[0], language.RuleFile)
    for name in names[1:-1]:
        inner = {"hold": language.Hold, "between": language.Between, "when": language.Condition,
                 "any": language.Condition, "not": language.Tests, "size": language.Size}  # fmt: skip
        model = inner.get(name, model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _assemble(sources: Sequence[Source], errors: list[RuleError]) -> RuleSet:
    expand = _sets(sources, errors)
    rules: dict[str, Rule] = {}
    places: dict[str, RuleError] = {}
    for source in sources:
        for number, said in enumerate(source.says.rule):
            if said.id in rules:
                first = places[said.id]
                errors.append(
                    source.error(f"is in {first.file}:{first.line} already", ["rule", number, "id"], "id")
                )
                continue
            places[said.id] = source.error("", ["rule", number, "id"])
            try:
                rules[said.id] = compile_rule(said, expand)
            except ValueError as error:
                key, _, message = str(error).partition(": ")
                path = ["rule", number, key.partition("[")[0].partition(".")[0]]
                errors.append(source.error(message, path, key))
    effects = {said.id: said.effect for source in sources for said in source.says.rule}
    exemptions = list(_exemptions(sources, effects, expand, errors))
    observed = list(_observed(sources, expand, errors))
    return RuleSet(
        rules=tuple(sorted(rules.values(), key=lambda rule: rule.id)),
        exemptions=tuple(exemptions),
        observed=tuple(observed),
        digest=_digest(sources),
        sources=tuple(sources),
    )


def _sets(sources: Sequence[Source], errors: list[RuleError]) -> Expand:
    sets: dict[str, tuple[str, ...]] = {}
    for source in sources:
        for name, words in source.says.sets.items():
            if name in sets:
                errors.append(source.error("is defined twice", ["sets", name], f"sets.{name}"))
            if nested := [word for word in words if word.startswith("@") and not word.startswith("@@")]:
                errors.append(
                    source.error(f"{nested[0]!r}: sets do not nest", ["sets", name], f"sets.{name}")
                )
            sets[name] = words

    def expand(words: Sequence[str]) -> tuple[str, ...]:
        expanded: list[str] = []
        for word in words:
            if word.startswith("@@"):
                expanded.append(word[1:])
            elif word.startswith("@"):
                if word[1:] not in sets:
                    near = difflib.get_close_matches(word[1:], sets, n=1)
                    raise ValueError(
                        f"there is no set {word!r}" + (f"; did you mean '@{near[0]}'?" if near else "")
                    )
                expanded.extend(member.removeprefix("@") for member in sets[word[1:]])
            else:
                expanded.append(word)
        return tuple(expanded)

    return expand


def _exemptions(
    sources: Sequence[Source], effects: Mapping[str, str], expand: Expand, errors: list[RuleError]
) -> Iterable[Exemption]:
    for source in sources:
        for number, said in enumerate(source.says.exemption):
            for name in said.rule:
                path = ["exemption", number, "rule"]
                if name not in effects:
                    near = difflib.get_close_matches(name, effects, n=1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    errors.append(
                        source.error(f"there is no rule {name!r}{hint}", path, f"exemption[{number}].rule")
                    )
                elif effects[name] not in ("deny", "hold"):
                    message = f"the effect of {name!r} is {effects[name]}; only deny and hold can be lifted"
                    errors.append(source.error(message, path, f"exemption[{number}].rule"))
            try:
                applies = principal_test(said.principal, expand)
            except ValueError as error:
                key, _, message = str(error).partition(": ")
                errors.append(
                    source.error(message, ["exemption", number, "principal"], f"exemption[{number}].{key}")
                )
            else:
                yield Exemption(frozenset(said.rule), applies, said.owner, language.last_moment(said.until))


def _observed(sources: Sequence[Source], expand: Expand, errors: list[RuleError]) -> Iterable[Observe]:
    for source in sources:
        for number, said in enumerate(source.says.observe):
            try:
                applies = principal_test(said.principal, expand)
            except ValueError as error:
                key, _, message = str(error).partition(": ")
                errors.append(
                    source.error(message, ["observe", number, "principal"], f"observe[{number}].{key}")
                )
            else:
                yield Observe(applies, language.last_moment(said.until) if said.until else None)


def _digest(sources: Sequence[Source]) -> str:
    """SHA-256 over what the files say: the order of files, rules, exemptions and keys does not count, nor do comments."""
    said: dict[str, Any] = {"sets": {}, "rule": [], "exemption": [], "observe": []}
    for source in sources:
        said["sets"].update(source.data.get("sets", {}))
        for table in ("rule", "exemption", "observe"):
            said[table].extend(_canonical(entry) for entry in source.data.get(table, ()))
    text = _canonical(
        {key: sorted(value) if isinstance(value, list) else value for key, value in said.items()}
    )
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=lambda other: {"$": str(other)})
