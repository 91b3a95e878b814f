"""Strict reading of what JOSE is made of: base64url (RFC 7515, section 2) and JSON without duplicate names
(RFC 8259).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any, NoReturn

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


def base64url(text: str) -> bytes:
    """The bytes that `text` encodes. Raises ValueError on padding, foreign characters and non-zero trailing
    bits.
    """
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise ValueError("not base64url without padding")
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url without padding") from None
    if base64.urlsafe_b64encode(octets).rstrip(b"=").decode() != text:
        raise ValueError("base64url with non-zero trailing bits")
    return octets


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a JSON object names a member twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def json_object(octets: bytes) -> dict[str, Any]:
    """The JSON object in `octets` (UTF-8). Raises ValueError on anything else, on duplicate names, NaN and
    deep nesting.
    """
    try:
        value = json.loads(octets.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except json.JSONDecodeError:
        raise ValueError("not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value
