"""What is wrong with a rule file, and where."""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any


class RuleError(ValueError):
    """A rule file cannot be used. The text is one line: `file:line: rule 'id': key: message`.

    `others` holds what else was wrong at the same time.
    """

    def __init__(
        self,
        file: str,
        message: str,
        *,
        line: int | None = None,
        rule: str | None = None,
        key: str | None = None,
    ) -> None:
        place = file if line is None else f"{file}:{line}"
        named = [f"rule {rule!r}"] if rule else []
        super().__init__(": ".join([place, *named, *([key] if key else []), message]))
        self.file = file
        self.line = line
        self.rule = rule
        self.key = key
        self.message = message
        self.others: tuple[RuleError, ...] = ()


class Misuse(ValueError):
    """Something is wrong at `key` of a rule that is being compiled."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


@contextmanager
def at(key: str) -> Iterator[None]:
    """Turns a ValueError from the block into a Misuse of `key`; a Misuse from within gets `key` in front."""
    try:
        yield
    except Misuse as error:
        raise Misuse(f"{key}.{error.key}", str(error))
    except ValueError as error:
        raise Misuse(key, str(error))


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line (from 1) on which what `path` names begins in the TOML `text`, or else its nearest parent.

    tomllib keeps no positions. But a TOML text may be cut after any statement, and only there, so the
    statement that brings `path` in is found by bisection over the beginnings of the text.
    """
    lines = text.split("\n")

    def present(path: Sequence[str | int], count: int) -> bool:
        beginnings = (_parse(lines[:n]) for n in range(count, len(lines) + 1))
        return _holds(next((whole for whole in beginnings if whole is not None), None), path)

    for length in range(len(path), 0, -1):
        if present(path[:length], len(lines)):
            return bisect.bisect_left(range(len(lines) + 1), True, key=partial(present, path[:length]))
    return None


def syntax_error_line(error: tomllib.TOMLDecodeError) -> int | None:
    """The line that a TOML error names."""
    found = re.search(r"at line (\d+)", str(error))
    return int(found[1]) if found else None


def _parse(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines) + "\n")
    except tomllib.TOMLDecodeError:
        return None


def _holds(value: object, path: Sequence[str | int]) -> bool:
    for step in path:
        if isinstance(step, int):
            if not isinstance(value, list) or step >= len(value):
                return False
            value = value[step]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        else:
            return False
    return value is not None
