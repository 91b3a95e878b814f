"""Names of actions or operations (`service:Name`), looked up by glob without looking at every service's."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from callgate.policy.glob import Glob, is_literal


class Names:
    """A fixed collection of names. Lookups ignore case, as IAM does."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_service: dict[str, list[str]] = {}
        for name in names:
            self._by_service.setdefault(name.partition(":")[0].lower(), []).append(name)

    def meant(self, word: str) -> list[str]:
        """The names that the glob `word` means."""
        service, _, _ = word.lower().partition(":")
        glob = Glob("*:*" if word == "*" else word.lower())
        if is_literal(service):
            return [name for name in self._by_service.get(service, ()) if glob.matches(name.lower())]
        return [name for names in self._by_service.values() for name in names if glob.matches(name.lower())]

    def near(self, word: str) -> str:
        """`; did you mean …?` for a word that means nothing, or nothing if no name is near."""
        service = word.partition(":")[0].lower()
        if names := self._by_service.get(service):
            return near(word, names)
        if hint := near(service, self._by_service):
            return f"; there is no service {service}{hint}"
        return near(word, [name for names in self._by_service.values() for name in names])


def near(word: str, names: Collection[str]) -> str:
    """`; did you mean …?` with the nearest of `names`, or nothing if none is near."""
    lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), lower, n=1)
    return f"; did you mean {lower[found[0]]}?" if found else ""
