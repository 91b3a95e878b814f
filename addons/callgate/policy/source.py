"""One rule file: its text, checked by itself, and where in it an error lies."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ValidationError

from callgate.policy import language
from callgate.policy.errors import RuleError, line_of, syntax_error_line

_Path = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Source:
    """One rule file: its name, its text, its data as TOML has it, and what it says."""

    name: str
    text: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    says: language.RuleFile = field(repr=False)

    def error(self, message: str, path: _Path, key: str | None = None) -> RuleError:
        """A RuleError about what stands at `path`; `key` is what to call it, if not by its path."""
        rule = None
        shown = list(path)
        if path[:1] == ["rule"] and len(path) > 1:
            number = int(path[1])
            rule = str(self.data["rule"][number].get("id", f"number {number + 1}"))
            shown = shown[2:]
        named = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in shown).lstrip(".")
        return RuleError(
            self.name, message, line=line_of(self.text, path), rule=rule, key=key or named or None
        )


def raise_all(errors: Sequence[RuleError]) -> None:
    """Raise the first of `errors`, if there is one, with the rest in its `others`."""
    if errors:
        first, *others = errors
        first.others = tuple(others)
        raise first


def parse_source(name: str, text: str) -> Source:
    """The rule file `name`. Raises RuleError."""
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
        raise_all([draft.error(*_explained(problem, data)) for problem in error.errors()])
        raise


def _explained(problem: Any, data: Mapping[str, Any]) -> tuple[str, _Path]:
    """Message and path of one of pydantic's errors."""
    path = list(problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    match problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(path[-1]), _keys(path[:-1]), n=1)
            message = "unknown key" + (f"; did you mean {near[0]}?" if near else "")
        case "missing":
            message = "is missing"
        case "literal_error":
            message = f"is {problem['input']!r}; it can be {problem['ctx']['expected']}"
        case "too_short":
            message = "is empty, so it could never match"
        case "string_pattern_mismatch" if path[-1:] == ["id"]:
            message = "wants letters, digits and . _ : / - (at most 100)"
    return message, path


def _keys(path: _Path) -> list[str]:
    """The keys that the table at `path` may have."""
    tables: dict[str, type[BaseModel]] = {
        "rule": language.Rule,
        "exemption": language.Exemption,
        "observe": language.Observe,
        "hold": language.Hold,
        "between": language.Between,
        "when": language.Condition,
        "any": language.Condition,
        "not": language.Tests,
        "size": language.Size,
    }
    model: type[BaseModel] = language.RuleFile
    for step in path:
        model = tables.get(str(step), model)
    return [info.alias or name for name, info in model.model_fields.items()]
