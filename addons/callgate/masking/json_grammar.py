"""JSON as text (RFC 8259): what regular expressions pass over at one go, and where names stand.

All of them check the grammar of what they pass. Names are case-folded.
"""

from __future__ import annotations

import functools
import re
from typing import Final

WS: Final = r"[ \t\n\r]*+"
STRING: Final = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
NUMBER: Final = r"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
SCALAR: Final = f"(?:{STRING}|{NUMBER}|true|false|null)"
PLAIN: Final = r"[ !#-\[\]-~]*+"
"""What names are made of if they are ASCII and written without escapes."""
LEVELS: Final = 2
"""How deep the values nest that a regular expression passes over; deeper ones are walked."""

comma = re.compile(rf"{WS},{WS}")
spaces = re.compile(WS)
items = re.compile(f"(?:{WS}{SCALAR}{WS},)*+")


def _passed_name(names: frozenset[str]) -> str:
    """A name, its colon behind it, that is plainly written and none of `names`."""
    avoid = f'(?!(?i:{"|".join(map(re.escape, sorted(names)))})")' if names else ""
    return f'"{avoid}{PLAIN}"{WS}:{WS}'


def _passed_value(names: frozenset[str], levels: int) -> str:
    """A value that nests `levels` deep at most and holds no name of `names`."""
    if not levels:
        return SCALAR
    value = _passed_value(names, levels - 1)
    items = rf"\[{WS}(?:{value}{WS}(?:,{WS}(?!\])|(?=\])))*+\]"
    members = rf"\{{{WS}(?:{_passed_name(names)}{value}{WS}(?:,{WS}(?!\}})|(?=\}})))*+\}}"
    return f"(?:{SCALAR}|{items}|{members})"


@functools.cache
def events(names: frozenset[str] | None, inner: frozenset[str] | None) -> re.Pattern[str]:
    """Matches what comes next in an object, as far as it is plainly written.

    That is a run of members that nothing can be masked in (group 1): their names are none of `names` (None:
    any name matters), and their values hold none of `inner` (None: they are no objects). Then the name of a
    member (2) and its scalar value (3) with the sign behind it (4).
    """
    run = ""
    if names is not None:
        scalars = rf"(?:{SCALAR}|\[{WS}(?:{SCALAR}{WS}(?:,{WS}(?!\])|(?=\])))*+\])"
        value = scalars if inner is None else _passed_value(inner, LEVELS)
        run = rf"(?:{WS}{_passed_name(names)}{value}{WS}(?:,|(?=\}})))*+"
    member = rf'"({PLAIN})"{WS}:{WS}(?:({SCALAR}){WS}([,}}])?+)?+'
    return re.compile(rf"({run}){WS}(?:{member})?+")


class Needles:
    """Where in a text some names stand: strings that are one of them, or names that escapes could make
    one."""

    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.text = text
        self.others = _others(names)
        self.next = 0

    def after(self, at: int) -> int:
        """The first of them from `at` on, where a value begins; positions are asked in rising order."""
        if self.next <= at:
            passed = self.others.match(self.text, at)
            self.next = passed.end() if passed else at
        return self.next


@functools.cache
def _others(names: frozenset[str]) -> re.Pattern[str]:
    """Matches all up to the next string that is one of `names`, or may be one if it is a name."""
    plain = rf'"(?!(?i:{"|".join(map(re.escape, sorted(names)))})"){PLAIN}"'
    return re.compile(rf'(?:[^"]++|{plain}|{STRING}(?!{WS}:))*+')
