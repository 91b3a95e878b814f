"""Durations as people write them in configuration and rules: `45s`, `15m`, `2h`, `7d`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_FORM = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(text: object) -> float:
    """Seconds in `text` (`90s`, `1.5h`, `250ms`; one number and one unit). Raises ValueError otherwise."""
    if isinstance(text, str) and (found := _FORM.fullmatch(text)):
        return float(found[1]) * _UNITS[found[2]]
    raise ValueError(f'a duration is a string such as "45s", "15m" or "2h", not {text!r}')


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""A pydantic field in seconds, written as text; defaults are given in seconds."""
