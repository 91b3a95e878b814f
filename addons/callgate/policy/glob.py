"""Globs as rules write them: `*` is any run of characters, `?` any one. Nothing else is special, and the
whole string counts.

A resource that could not be determined is itself written with `*` for its unknown parts, so a glob is
compared with a plain string (`matches`) or with everything that such a string could be (`covers`,
`intersects`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_WILD = re.compile(r"[*?]")
_Parts = tuple[str | None, ...]
"""A glob taken apart: a literal run, "" for `?`, None for `*`."""


class Glob:
    """One compiled glob.

    `text` may hold `*` and `?`; `literals`, spliced in where it has a NUL, are taken as they are. Matching is
    linear in pattern and string, since each `*` commits to its first fit, which is enough for globs.
    """

    __slots__ = ("_cover", "_exact", "anything", "parts")

    def __init__(self, text: str, literals: tuple[str, ...] = ()) -> None:
        parts: list[str | None] = []
        rest = iter(literals)
        for run in re.split(r"([*?\0])", text):
            if run == "*":
                parts.append(None)
            elif run == "?":
                parts.append("")
            elif piece := next(rest) if run == "\0" else run:
                parts.append(piece)
        self.parts: _Parts = tuple(parts)
        self.anything = self.parts == (None,)
        self._exact = _regex(self.parts, ".", re.escape)
        # Against an unknown, the character `*` stands for something that only a `*` of ours can take in.
        self._cover = _regex(self.parts, "[^*]", lambda run: "(?!)" if "*" in run else re.escape(run))

    def matches(self, text: str) -> bool:
        """Is `text` one of the strings that this glob means?"""
        return self.anything or self._exact.fullmatch(text) is not None

    def covers(self, unknown: str) -> bool:
        """Does this glob match whatever `unknown` (with `*` for its unknown parts) could be?"""
        return self.anything or self._cover.fullmatch(unknown) is not None

    def intersects(self, unknown: str) -> bool:
        """Is there a string that both this glob and `unknown` (with `*` for its unknown parts) could be?"""
        return self.anything or _intersect(self.parts, unknown)


def is_literal(text: str) -> bool:
    """Does `text` mean only itself?"""
    return not _WILD.search(text)


def _regex(parts: _Parts, any_one: str, escape: Callable[[str], str]) -> re.Pattern[str]:
    segments = [""]  # what stands between the stars
    for part in parts:
        if part is None:
            segments.append("")
        else:
            segments[-1] += escape(part) if part else any_one
    first, *later = segments
    if not later:
        return re.compile(first, re.DOTALL)
    # Atomic groups keep `a*b*c*d` from backtracking: the leftmost fit of a segment never loses a match.
    middle = "".join(f"(?>.*?{segment})" for segment in later[:-1])
    return re.compile(f"{first}{middle}.*{later[-1]}", re.DOTALL)


@lru_cache(maxsize=4096)
def _intersect(parts: _Parts, unknown: str) -> bool:
    """Can the glob `parts` and the glob `unknown` (in which only `*` is special) make one same string?"""
    pattern: list[str | None] = []  # as parts, but every literal is one character
    for part in parts:
        pattern.extend(part if part else [part])
    # reachable[j]: the pattern so far and unknown[:j] can make one same string
    reachable = _skip_stars([True] + [False] * len(unknown), unknown)
    for wanted in pattern:
        if wanted is None:
            first = reachable.index(True)
            reachable = [j >= first for j in range(len(unknown) + 1)]
        else:
            step = [False] * (len(unknown) + 1)
            for j, char in enumerate(unknown):
                if char == "*":
                    step[j] = step[j] or reachable[j]  # the unknown run takes this character, and maybe more
                elif reachable[j] and wanted in ("", char):
                    step[j + 1] = True
            reachable = _skip_stars(step, unknown)
        if True not in reachable:
            return False
    return reachable[-1]


def _skip_stars(reachable: list[bool], unknown: str) -> list[bool]:
    """An unknown run may be empty."""
    for j, char in enumerate(unknown):
        if char == "*" and reachable[j]:
            reachable[j + 1] = True
    return reachable
