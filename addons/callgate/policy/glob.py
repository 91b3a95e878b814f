"""Globs as rules write them: `*` is any run of characters, `?` any one. Nothing else is special, and the
whole string counts.

A glob that is a whole ARN (`arn:` and five more colons or more) is compared field by field, as IAM does: no
wildcard in its first five fields reaches over a colon, so a crafted name cannot pass for another account.

A resource that could not be determined is itself written with `*` for its unknown parts, so a glob is
compared with a plain string (`matches`) or with everything that such a string could be (`covers`,
`intersects`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

_WILD = re.compile(r"[*?]")
_COLONS = 5
_Parts = tuple[str | None, ...]
"""A glob taken apart: a literal run, "" for `?`, None for `*`."""


class Glob:
    """One compiled glob.

    `text` may hold `*` and `?`; `literals`, spliced in where it has a NUL, are taken as they are. Matching is
    linear in pattern and string, since each `*` commits to its first fit, which is enough for globs.
    """

    __slots__ = ("_covers", "_exact", "_fields", "anything")

    def __init__(self, text: str, literals: tuple[str, ...] = ()) -> None:
        rest = iter(literals)
        self._fields = tuple(_parts(field, rest) for field in _arn_fields(text) or [text])
        self.anything = self._fields == ((None,),)
        *narrow, last = self._fields
        exact = [_regex(field, "[^:]", "[^:]", re.escape) for field in narrow]
        self._exact = re.compile(":".join([*exact, _regex(last, ".", ".", re.escape)]), re.DOTALL)
        # Against an unknown, the character `*` stands for something that only a `*` of ours can take in.
        self._covers = [
            re.compile(
                _regex(field, "[^*]", ".", lambda run: "(?!)" if "*" in run else re.escape(run)), re.DOTALL
            )
            for field in self._fields
        ]

    def matches(self, text: str) -> bool:
        """Is `text` one of the strings that this glob means?"""
        return self.anything or self._exact.fullmatch(text) is not None

    def covers(self, unknown: str) -> bool:
        """Does this glob match whatever `unknown` (with `*` for its unknown parts) could be?"""
        fields = self._split(unknown)
        return fields is not None and all(
            cover.fullmatch(field) for cover, field in zip(self._covers, fields, strict=True)
        )

    def intersects(self, unknown: str) -> bool:
        """Is there a string that both this glob and `unknown` (with `*` for its unknown parts) could be?"""
        if (fields := self._split(unknown)) is not None:
            return all(map(_intersect, self._fields, fields))
        whole = [part for field in self._fields for part in (":", *field)]
        return _intersect(tuple(whole[1:]), unknown)

    def _split(self, unknown: str) -> list[str] | None:
        """`unknown` in as many fields as this glob has; None if it cannot be split so."""
        return [unknown] if len(self._fields) == 1 else _arn_fields(unknown)


def is_literal(text: str) -> bool:
    """Does `text` mean only itself?"""
    return not _WILD.search(text)


def _arn_fields(text: str) -> list[str] | None:
    fields = text.split(":", _COLONS)
    return fields if len(fields) == _COLONS + 1 and fields[0] == "arn" else None


def _parts(text: str, literals: Iterator[str]) -> _Parts:
    parts: list[str | None] = []
    for run in re.split(r"([*?\0])", text):
        if run == "*":
            parts.append(None)
        elif run == "?":
            parts.append("")
        elif piece := next(literals) if run == "\0" else run:
            parts.append(piece)
    return tuple(parts)


def _regex(parts: _Parts, one: str, some: str, escape: Callable[[str], str]) -> str:
    segments = [""]  # what stands between the stars
    for part in parts:
        if part is None:
            segments.append("")
        else:
            segments[-1] += escape(part) if part else one
    first, *later = segments
    if not later:
        return first
    # Atomic groups keep `a*b*c*d` from backtracking: the leftmost fit of a segment never loses a match.
    middle = "".join(f"(?>{some}*?{segment})" for segment in later[:-1])
    return f"{first}{middle}{some}*{later[-1]}"


@lru_cache(maxsize=4096)
def _intersect(parts: _Parts, unknown: str) -> bool:
    """Can the glob `parts` and the glob `unknown` (in which only `*` is special) make one same string?

    Both are read side by side; bit j of `reached` says that what is read of `parts` can equal what stands
    before the j-th character of `unknown`.
    """
    places, stars = _places(unknown)
    every = (1 << len(unknown) + 1) - 1
    reached = _past_stars(1, stars)
    for part in parts:
        if part is None:
            reached = every & -(reached & -reached)  # from the first place reached on, all of them
        for char in [] if part is None else part or [None]:
            matching = every if char is None else places.get(char, 0)
            reached = _past_stars((reached & matching & ~stars) << 1 & every | reached & stars, stars)
        if not reached:
            return False
    return bool(reached >> len(unknown) & 1)


@lru_cache(maxsize=4096)
def _places(unknown: str) -> tuple[dict[str, int], int]:
    """For each character the places at which it stands, and those of the stars, as bits."""
    places: dict[str, int] = {}
    for j, char in enumerate(unknown):
        places[char] = places.get(char, 0) | 1 << j
    return places, places.get("*", 0)


def _past_stars(reached: int, stars: int) -> int:
    """An unknown run may be empty."""
    while skipped := (reached & stars) << 1 & ~reached:
        reached |= skipped
    return reached
