"""What a kind of issuer is: which claims its tokens carry, how each is checked, and how they
name a workload.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from callgate.identity.tokens import is_text

if TYPE_CHECKING:
    from callgate.identity.settings import IssuerSettings

Check = Callable[[Any], None]
"""Raises ValueError with what the claim must be."""

REGISTERED = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti"})


def text(value: Any) -> None:
    """Any printable text."""
    if not is_text(value):
        raise ValueError("must be printable text")


def _whole(value: Any) -> bool:
    # Larger ones do not survive as JSON numbers (RFC 8785).
    return type(value) is int and abs(value) < 2**53


def number(value: Any) -> None:
    """An id: digits, or a whole number."""
    if not (_whole(value) or (isinstance(value, str) and re.fullmatch(r"[0-9]{1,30}", value))):
        raise ValueError("must be a number")


def truth(value: Any) -> None:
    """A boolean, or its name."""
    if value not in (True, False, "true", "false") or isinstance(value, int) is not isinstance(value, bool):
        raise ValueError("must be true or false")


def scalar(value: Any) -> None:
    """Text, a whole number or a boolean."""
    if not (is_text(value) or isinstance(value, bool) or _whole(value)):
        raise ValueError("must be printable text, a whole number or a boolean")


def texts(value: Any) -> None:
    """A list of printable texts."""
    if not isinstance(value, list) or len(value) > 100 or not all(is_text(each) for each in value):
        raise ValueError("must be a list of printable texts")


def scalar_or_texts(value: Any) -> None:
    """A scalar or a list of texts: for claims that the configuration names."""
    if isinstance(value, list):
        texts(value)
    else:
        scalar(value)


def like(pattern: str) -> Check:
    """Text that `pattern` (a regular expression) matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: Any) -> None:
        if not is_text(value) or not compiled.fullmatch(value):
            raise ValueError(f"must have the form {pattern}")

    return check


def one_of(*values: str) -> Check:
    """One of `values`."""

    def check(value: Any) -> None:
        if value not in values:
            raise ValueError("must be one of " + ", ".join(values))

    return check


def nothing_more(claims: Mapping[str, Any], settings: IssuerSettings) -> None:
    """For profiles whose claims need no check across claims."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of issuer.

    `required` and `optional` map a claim, under the name that rules use, to its check; `paths` say where a
    claim is found when that is not a member of the same name. `principal` makes the stable name of the
    workload (without the issuer's name) out of checked claims; `consistent` checks what several claims say
    together (raises ValueError). `anchors` are the claims that must stay the same when a session is renewed.
    `url` is the issuer's URL where all share one. `max_token_life` is in seconds. `allowances` are the words
    that `allow` may hold.
    """

    principal: Callable[[Mapping[str, Any], IssuerSettings], str]
    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    consistent: Callable[[Mapping[str, Any], IssuerSettings], None] = nothing_more
    anchors: tuple[str, ...] = ()
    url: str | None = None
    algorithms: tuple[str, ...] = ("RS256",)
    max_token_life: float = 3600.0
    allowances: frozenset[str] = frozenset()
    ignored: frozenset[str] = frozenset()
