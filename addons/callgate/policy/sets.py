"""Named lists: `"@prod"` stands for the members of the set `prod`; `"@@x"` is the plain text `@x`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence


class Sets:
    """The sets of a rule set, by name."""

    def __init__(self, members: Mapping[str, Sequence[str]]) -> None:
        self._members = members

    def expand(self, words: Sequence[str]) -> tuple[str, ...]:
        """`words` with the members of sets in place of their names. Raises ValueError for an unknown set."""
        return tuple(member for word in words for member in self._one(word))

    def _one(self, word: str) -> Sequence[str]:
        if not word.startswith("@"):
            return (word,)
        name = word[1:]
        if name.startswith("@"):
            return (name,)
        if name not in self._members:
            near = difflib.get_close_matches(name, self._members, n=1)
            raise ValueError(f"there is no set {word!r}" + (f"; did you mean '@{near[0]}'?" if near else ""))
        return [
            member.removeprefix("@") if member.startswith("@@") else member for member in self._members[name]
        ]
