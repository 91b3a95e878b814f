"""One rule file: its text, checked by itself, and where in it an error lies."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from callgate.misfit import Place, dotted, explain
from callgate.policy import language
from callgate.policy.errors import RuleError, line_of, syntax_error_line


@dataclass(frozen=True, slots=True)
class Source:
    """One rule file: its name, its text, its data as TOML has it, and what it says."""

    name: str
    text: str = field(repr=False)
    data: Mapping[str, Any] = field(repr=False)
    says: language.RuleFile = field(repr=False)

    def error(self, message: str, path: Place, key: str | None = None) -> RuleError:
        """A RuleError about what stands at `path`; `key` is what to call it, if not by its path."""
        rule = None
        shown = list(path)
        if path[:1] == ["rule"] and len(path) > 1:
            number = int(path[1])
            rule = str(self.data["rule"][number].get("id", f"number {number + 1}"))
            shown = shown[2:]
        key = key or dotted(shown) or None
        return RuleError(self.name, message, line=line_of(self.text, path), rule=rule, key=key)


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
        raise_all([draft.error(_explained(problem), list(problem["loc"])) for problem in error.errors()])
        raise


def _explained(problem: ErrorDetails) -> str:
    match problem["type"]:
        case "too_short":
            return "is empty, so it could never match"
        case "string_pattern_mismatch" if problem["loc"][-1] == "id":
            return "wants letters, digits and . _ : / - (at most 100)"
    return explain(problem, language.RuleFile)
