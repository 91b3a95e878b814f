"""Reads a request target strictly: what two servers could decode to different paths or queries is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from callgate.aws.limits import Limits
from callgate.call import Refusal

# RFC 3986 pchar without `;`, at which servlet containers cut a path.
_PATH = re.compile(r"/(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*,=:@/?]|%[0-9A-Fa-f]{2})*")
_FORM = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*,=:@/?+]|%[0-9A-Fa-f]{2})*")
# Letters, digits, `-`, `.` and `_` need no encoding; whoever encodes them hopes to be read differently.
_NEEDLESS = re.compile(r"%(?:2[DEde]|3[0-9]|[46][1-9A-Fa-f]|5[0-9AaFf]|7[0-9Aa])")
_CONTROL = re.compile("[\x00-\x1f\x7f]")

Pairs = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Target:
    """A target taken apart. `segments` are the decoded parts of the path (`/a/b/` is `a`, `b` and an empty
    one), `slashed` says which hold a slash that was encoded; `pairs` are the decoded query in wire order.
    """

    segments: tuple[str, ...]
    pairs: Pairs
    slashed: tuple[bool, ...] | None = None


def read_target(target: str, base: str = "") -> Target:
    """Takes the raw origin-form `target` apart, below the path `base` of a stand-in. Raises Refusal."""
    path, mark, query = target.partition("?")
    if not _PATH.fullmatch(path):
        raise Refusal(
            "malformed-target", "The path has characters that a URL must not hold, or a broken escape."
        )
    if base:
        if path != base and not path.startswith(base + "/"):
            raise Refusal("wrong-path", f"The path is not below {base}, where the stand-in lives.")
        path = path[len(base) :] or "/"
    segments = path[1:].split("/")
    slashed = None
    if "%" in path:
        if _NEEDLESS.search(path):
            raise Refusal("ambiguous-encoding", "The path encodes characters that need no encoding.")
        raw = segments
        segments = [decode(segment) if "%" in segment else segment for segment in raw]
        slashed = tuple("/" in segment for segment in segments)
        if any(_CONTROL.search(segment) for segment in segments):
            raise Refusal("ambiguous-path", "The path has control characters in it.")
        if not any(slashed):
            slashed = None
    if "" in segments[:-1] or "." in segments or ".." in segments:
        raise Refusal("ambiguous-path", "The path has empty or dot segments, which servers read differently.")
    return Target(tuple(segments), read_query(query) if mark else [], slashed)


def read_query(query: str) -> Pairs:
    """The pairs of a query string; a key without `=` has the value ''. Raises Refusal."""
    return _pairs(query, _QUERY, "query")


def read_form(body: bytes, limits: Limits) -> Pairs:
    """The pairs of an application/x-www-form-urlencoded body, where `+` is a space. Raises Refusal."""
    limits.judge_count(body.count(b"&") + 1)
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise Refusal("malformed-form", "The form holds bytes that should be percent-encoded.") from None
    return _pairs(text, _FORM, "form")


def _pairs(text: str, allowed: re.Pattern[str], where: str) -> Pairs:
    if not text:
        return []
    if not allowed.fullmatch(text):
        raise Refusal(
            f"malformed-{where}", f"The {where} has characters that it must not hold, or a broken escape."
        )
    escaped = "%" in text
    if escaped and _NEEDLESS.search(text):
        raise Refusal("ambiguous-encoding", f"The {where} encodes characters that need no encoding.")
    plus = allowed is _FORM and "+" in text
    pairs = []
    for part in text.split("&"):
        if not part:
            raise Refusal(f"malformed-{where}", f"The {where} has an empty part.")
        key, _, value = part.partition("=")
        if plus:
            key, value = key.replace("+", " "), value.replace("+", " ")
        if escaped:
            key, value = decode(key), decode(value)
        if not key:
            raise Refusal(f"malformed-{where}", f"The {where} has a value without a name.")
        pairs.append((key, value))
    return pairs


def decode(text: str) -> str:
    """Percent-decodes `text` once; what it encodes must be UTF-8."""
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal("malformed-target", "Percent-encoded text is not UTF-8.") from None
