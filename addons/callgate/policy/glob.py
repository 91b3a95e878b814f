"""Globs as rules write them: `*` is any run of characters, `?` any one; nothing else is special, and the whole string counts.

A resource that could not be determined is itself written with `*` for its unknown parts, so a glob is compared with
a plain string (`matches`) or with everything that such a string could be (`covers`, `intersects`).
"""

from __future__ import annotations

import re
from functools import lru_cache

_WILD = re.compile(r"[*?]")


class Glob:
    """One compiled glob.

    `text` may hold `*` and `?`. `literals`, spliced in where `text` has a NUL, are taken as they are.
    Matching takes time linear in pattern and string (each `*` commits to its first fit, which is enough for globs).
    """

    __slots__ = ("_cover", "_exact", "anything", "parts")

    def __init__(self, text: str, literals: tuple[str, ...] = ()) -> None:
        parts: list[str | None] = []  # a literal run, "" for `?`, None for `*`
        rest = iter(literals)
        for run in re.split(r"([*?\0])", text):
            if run == "*":
                if not parts or parts[-1] is not None:
                    parts.append(None)
            elif run == "?":
                parts.append("")
            elif run == "\0":
                parts.extend([literal] if (literal := next(rest)) else [])
            elif run:
                parts.append(run)
        self.parts = tuple(parts)
        self.anything = self.parts == (None,)
        self._exact = _regex(self.parts, r".", re.escape)
        # Against an unknown, the character `*` stands for something that only a `*` of ours can take in.
        self._cover = _regex(self.parts, r"[^*]", lambda run: re.escape(run) if "*" not in run else r"(?!)")

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


def _regex(parts: tuple[str | None, ...], any_one: str, escape: object) -> re.Pattern[str]:
    assert callable(escape)
    segments = [""]  # what stands between the stars
    for part in parts:
        if part is None:
            segments.append("")
        else:
            segments[-1] += any_one if part == "" else escape(part)
    first, *later = segments
    if not later:
        return re.compile(first, re.DOTALL)
    # An atomic group keeps `a*b*c*d` from backtracking: the leftmost fit of each segment never loses a match.
    middle = "".join(f"(?>.*?{segment})" for segment in later[:-1])
    return re.compile(f"{first}{middle}.*{later[-1]}", re.DOTALL)


@lru_cache(maxsize=4096)
def _intersect(parts: tuple[str | None, ...], unknown: str) -> bool:
    """Can the glob `parts` and the glob `unknown` (only `*` is special in it) produce one same string?"""
    pattern: list[str | None] = []  # one entry a character: a character, "" for any one, None for any run
    for part in parts:
        pattern.extend([part] if not part else part)
    # reachable[j]: the part of `pattern` read so far and unknown[:j] can still be one string
    reachable = _skip_stars([True] + [False] * len(unknown), unknown)
    for wanted in pattern:
        if wanted is None:
            first = reachable.index(True) if True in reachable else len(reachable)
            reachable = [j >= first for j in range(len(unknown) + 1)]
        else:
            step = [False] * (len(unknown) + 1)
            for j, char in enumerate(unknown):
                if char == "*":
                    step[j] = step[j] or reachable[j]  # the unknown run takes the character and may take more
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
