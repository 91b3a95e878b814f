"""JSON that a parameter holds as text, such as a policy document."""

from __future__ import annotations

import decimal
import json
from typing import Any


def read_json(text: object) -> tuple[Any] | None:
    """What `text` holds, numbers exact; None if it is no JSON, or ambiguous (it has a name twice)."""
    if not isinstance(text, str | bytes | bytearray):
        return None
    try:
        return (
            json.loads(
                text, parse_float=decimal.Decimal, parse_constant=_no_number, object_pairs_hook=_unique
            ),
        )
    except (ValueError, RecursionError, decimal.InvalidOperation):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no JSON")
