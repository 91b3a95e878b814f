"""Texts with `${principal.claim}` in them, and the globs that they become for one identity."""

from __future__ import annotations

import re
from functools import lru_cache

from callgate.identity.identity import Identity
from callgate.policy.facts import claim_literal
from callgate.policy.glob import Glob
from callgate.policy.logic import Truth

_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class Pattern:
    """A glob that may name claims (`claims`); a claim's value is literal, whatever it holds."""

    __slots__ = ("_fixed", "_text", "claims", "source")

    def __init__(self, source: str) -> None:
        """Raises ValueError if a variable is not `${principal.NAME}`."""
        names = _VARIABLE.findall(source)
        for name in names:
            if not re.fullmatch(r"principal\.\S+", name):
                raise ValueError(f"there is no variable ${{{name}}}; claims are ${{principal.NAME}}")
        if source.count("${") != len(names) or "\0" in source:
            raise ValueError(f"{source!r} has a variable that is not closed, or a NUL")
        self.source = source
        self.claims = tuple(name.removeprefix("principal.") for name in names)
        self._text = _VARIABLE.sub("\0", source)
        self._fixed = None if names else Glob(source)

    def glob(self, identity: Identity) -> Glob | None:
        """The glob for `identity`; None if a claim that it names is absent."""
        if self._fixed is not None:
            return self._fixed
        values: list[str] = []
        for name in self.claims:
            if (value := claim_literal(identity, name)) is None:
                return None
            values.append(value)
        return _bound(self._text, tuple(values))

    @property
    def with_any_claim(self) -> str:
        """The glob's text with `*` for each claim."""
        return self._text.replace("\0", "*")

    def matches(self, text: str, identity: Identity) -> Truth:
        """Does the glob for `identity` match `text`? None if a claim is absent."""
        return None if (glob := self.glob(identity)) is None else glob.matches(text)

    def matches_unknown(self, unknown: str, identity: Identity) -> Truth:
        """As `matches`, for a text with `*` for what is not known of it: None if it may match."""
        if (glob := self.glob(identity)) is None:
            return None
        if glob.covers(unknown):
            return True
        return None if glob.intersects(unknown) else False


@lru_cache(maxsize=8192)
def _bound(text: str, values: tuple[str, ...]) -> Glob:
    return Glob(text, values)
