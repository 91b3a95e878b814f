"""Patterns of secrets that are found wherever a string holds them, without a path."""

from __future__ import annotations

import re
from typing import Final

PATTERNS: Final[dict[str, re.Pattern[str]]] = {}


def mask_text(text: str, names: tuple[str, ...]) -> str:
    """`text` with what the named patterns find masked."""
    return text


def mask_bytes(data: bytes, names: tuple[str, ...]) -> bytes:
    """`data` likewise; the patterns are ASCII, so any encoding that contains it serves."""
    return mask_text(data.decode("latin-1"), names).encode("latin-1")
