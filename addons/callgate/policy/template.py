"""Texts with `${principal.claim}` in them, and the globs that they become for one identity."""

from __future__ import annotations

import re
from functools import lru_cache

from callgate.identity.identity import Identity
from callgate.policy.facts import claim_literal
from callgate.policy.glob import Glob

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Pattern:
    """A glob that may name claims. `claims` are the names; a claim's value is always literal, whatever it holds."""

    __slots__ = ("_fixed", "_text", "claims", "source")

    def __init__(self, source: str) -> None:
        """Raises ValueError if a variable is not `${principal.NAME}`."""
        if "\0" in source:
            raise ValueError("holds a NUL character")
        names = _VARIABLE.findall(source)
        for name in names:
            if not re.fullmatch(r"principal\.\S+", name):
                raise ValueError(f"there is no variable ${{{name}}}; claims are ${{principal.NAME}}")
        if source.count("${") != len(names):
            raise ValueError("a variable ${…} is not closed")
        self.source = source
        self.claims = tuple(name.removeprefix("principal.") for name in names)
        self._text = _VARIABLE.sub("\0", source)
        self._fixed = None if names else Glob(source)

    def glob(self, identity: Identity) -> Glob | None:
        """The glob for `identity`; None if a claim that it names is absent."""
        if self._fixed is not None:
            return self._fixed
        values = tuple(claim_literal(identity, name) for name in self.claims)
        if None in values:
            return None
        return _bound(self._text, tuple(value for value in values if value is not None))


@lru_cache(maxsize=8192)
def _bound(text: str, values: tuple[str, ...]) -> Glob:
    return Glob(text, values)
