"""Header fields between mitmproxy's bytes and the text that the rooms read (latin-1 holds every byte)."""

from __future__ import annotations

from collections.abc import Iterable

from mitmproxy import http

TextFields = tuple[tuple[str, str], ...]


def as_text(headers: http.Headers) -> TextFields:
    """Names and values in wire order, spelled as they came."""
    return tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.fields])


def as_headers(fields: Iterable[tuple[str, str]]) -> http.Headers:
    """The inverse of `as_text`."""
    return http.Headers([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])
