"""Three-valued logic (Kleene's): True, False, and None for what cannot be known.

Whatever is not known counts against the caller: an allow needs True, the other effects take None for a match.
"""

from __future__ import annotations

from collections.abc import Iterable

Truth = bool | None


def negate(value: Truth) -> Truth:
    """Not known stays not known."""
    return None if value is None else not value


def one(values: Iterable[Truth]) -> Truth:
    """True if one value is, None if one may be."""
    found: Truth = False
    for value in values:
        if value:
            return True
        if value is None:
            found = None
    return found


def every(values: Iterable[Truth]) -> Truth:
    """False if one value is, None if one may be."""
    found: Truth = True
    for value in values:
        if value is None:
            found = None
        elif not value:
            return False
    return found
