"""What a client says of itself when it opens a session: bounded, printable, without secrets.
Kept as claimed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from callgate.call import Refusal
from callgate.identity.jose import json_object

MAX_CONTEXT = 16 * 1024
"""Bytes of JSON that a client may send."""
_TEXTS = ("host", "cwd", "jobUrl", "commit", "actor", "ci")
_MAX_TEXT = 512
_MAX_WORDS = 64

_HIDDEN = "***"
_SECRET_NAME = (
    r"[\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|credential|auth)[\w.-]*"
)
_SECRET_OPTION = re.compile(rf"--?{_SECRET_NAME}", re.IGNORECASE)
_SECRET_ASSIGNMENT = re.compile(
    rf"""(?<![\w.-])((?:--?)?{_SECRET_NAME}["']?\s*[=:]\s*)"""
    r"""(?:"[^"]*"|'[^']*'|(?:Bearer\s+|Basic\s+)?[^\s"',;&]+)""",
    re.IGNORECASE,
)
_SECRET_SHAPES = re.compile(
    r"eyJ[\w-]{8,}\.[\w.-]+"  # JSON Web Tokens
    r"|cgs_[\w-]{20,}"
    r"|(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-)[\w-]{16,}"
    # An AWS secret access key: 40 characters of base64 of several kinds, so that a commit is none.
    r"|(?<![A-Za-z0-9/+])(?=[A-Za-z0-9/+]*[0-9])(?=[A-Za-z0-9/+]*[A-Z])(?=[A-Za-z0-9/+]*[a-z])"
    r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    r"|(?<=://)[^/\s@]+(?=@)"
    r"|(?<=[Bb]earer )[^\s\"']+|(?<=[Bb]asic )[^\s\"']+"
    r"|-----BEGIN[^-]*PRIVATE KEY-----[\s\S]*"
)
# In these, `-p` is a password; elsewhere it is a port, a path or something else that is worth keeping.
_TAKES_P = re.compile(r"(?:mysql|mariadb|mongo|sshpass|docker)[\w-]*")
_USER_OPTIONS = ("-u", "--user", "--proxy-user")


def read_context(octets: bytes) -> dict[str, Any]:
    """The context in `octets` (a JSON object). Raises Refusal (400, `context-malformed`). Unknown members are
    dropped.
    """
    try:
        said = json_object(octets) if len(octets) <= MAX_CONTEXT else None
    except ValueError:
        said = None
    if said is None:
        raise Refusal("context-malformed", "callgate_context is not a small JSON object.", status=400)
    return clean_context(said)


def clean_context(said: Mapping[str, Any]) -> dict[str, Any]:
    """`said` as it may be kept: `host`, `cwd`, `jobUrl`, `commit`, `actor`, `ci`, `command` (words)."""
    kept: dict[str, Any] = {
        name: scrub(value)[:_MAX_TEXT]
        for name in _TEXTS
        if isinstance(value := said.get(name), str) and value
    }
    words = said.get("command")
    if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
        kept["command"] = scrub_command(words)
    return kept


def scrub(text: str) -> str:
    """`text` with what looks like a secret, and everything unprintable, replaced."""
    text = _SECRET_SHAPES.sub(_HIDDEN, text)
    text = _SECRET_ASSIGNMENT.sub(rf"\1{_HIDDEN}", text)
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def scrub_command(words: list[str]) -> list[str]:
    """A command line's words, bounded in number and length, without secrets."""
    takes_p = bool(_TAKES_P.fullmatch(words[0].rpartition("/")[2]))
    kept: list[str] = []
    before = ""
    for word in words[:_MAX_WORDS]:
        if (before == "-p" and takes_p) or (_SECRET_OPTION.fullmatch(before) and not word.startswith("--")):
            kept.append(_HIDDEN)
        elif takes_p and word.startswith("-p") and word != "-p":
            kept.append("-p" + _HIDDEN)
        elif before in _USER_OPTIONS and ":" in word:
            kept.append(f"{scrub(word.partition(':')[0])[:_MAX_TEXT]}:{_HIDDEN}")
        else:
            kept.append(scrub(word)[:_MAX_TEXT])
        before = word
    if len(words) > _MAX_WORDS:
        kept.append("…")
    return kept
