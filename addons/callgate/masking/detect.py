"""Patterns of secrets, found wherever a string holds them.

The formats are those that the issuers publish. `detect-secrets`, the best known library for this, tells lines
of files and not spans (of a private key it knows the first line only) and would bring `requests` and PyYAML,
so the patterns are kept here. What a pattern's group `secret` matches is masked, or all of the match. Strings
that are Base64 are looked into as well.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from callgate.masking.ways import FIXED

AWS_SECRET: Final = (
    # 40 characters that are all of the string, or stand behind the word; session tokens.
    r"\A(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])(?=[^0-9/+]*[0-9/+])[A-Za-z0-9/+]{40}\Z"
    r"|(?i:secret)[^\n]{0,40}?(?<![A-Za-z0-9/+])(?P<secret>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])"
    r"|(?<![A-Za-z0-9/+])(?:FwoGZXIvYXdz|IQoJb3JpZ2lu|FQoGZXIvYXdz)[A-Za-z0-9/+]{60,}={0,2}"
)

PATTERNS: Final[dict[str, re.Pattern[str]]] = {
    name: re.compile(pattern)
    for name, pattern in {
        # Access key ids, with a secret key right behind if there is one; and what aws-secret-key finds.
        "aws-key": (
            r"(?<![A-Za-z0-9])(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])"
            r"(?:[^A-Za-z0-9/+]{1,20}[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=]))?|" + AWS_SECRET
        ),
        "aws-secret-key": AWS_SECRET,
        "private-key": (
            r"(?s)-----BEGIN[ A-Z0-9]{0,30}PRIVATE KEY(?: BLOCK)?-----(?P<secret>.*?)"
            r"(?:-----END[ A-Z0-9]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)"
        ),
        "jwt": r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}",
        "password-url": r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/?#:@\"'<>]*:(?P<secret>[^\s/?#\"'<>]+)@",
        "presigned-url": (
            r"(?i)[?&](?:amp;)?(?:X-Amz-Signature|X-Amz-Security-Token|X-Amz-Credential"
            r"|Signature|AWSAccessKeyId|sig)=(?P<secret>[^&\s\"'<>#]+)"
        ),
        "password-assignment": (
            # Quotes stay, so that JSON stays JSON; those of JSON within a string stand behind backslashes.
            r"(?i)(?:password|passwd|pwd|passphrase|secret|token|api_?key|access_?key)(?:\\{0,7}[\"'])?\s{0,3}"
            r"[=:]\s{0,3}(?:(?P<slashes>\\{0,7})(?P<quote>[\"']))?"
            r"(?P<secret>(?(quote)(?:(?!(?P=slashes)(?P=quote))(?:\\++[^\n]?|(?!(?P=quote))[^\\\n]))+"
            r"|[^\s\"'&;,<>]+))"
        ),
        "authorization": r"(?i)\b(?:Bearer|Basic)\s+(?P<secret>[A-Za-z0-9._~+/=-]{16,})",
        "github-token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{80,255})\b",
        "gitlab-token": r"\bgl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat)-[A-Za-z0-9_.-]{20,}",
        "slack-token": r"\bxox[abposer]-[A-Za-z0-9-]{10,}|https://hooks\.slack\.com/services/(?P<secret>[A-Za-z0-9/]+)",
        "stripe-key": r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}\b",
        "google-key": r"\bAIza[A-Za-z0-9_-]{35}\b|\bya29\.[A-Za-z0-9_-]{20,}",
        "npm-token": r"\bnpm_[A-Za-z0-9]{36}\b",
        "pypi-token": r"\bpypi-[A-Za-z0-9_-]{50,}",
        "ai-key": r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,}",
    }.items()
}
"""Name -> pattern: what rules may give as `detect`."""

_BASE64 = re.compile(r"[A-Za-z0-9+/\r\n]{24,}+={0,2}[\r\n]*")


def check_names(names: tuple[str, ...]) -> None:
    """ValueError if one of `names` is no pattern."""
    for name in names:
        if name not in PATTERNS:
            raise ValueError(f"{name!r} is no pattern; there are {', '.join(PATTERNS)}")


def mask_text(text: str, names: tuple[str, ...]) -> str:
    """`text` with what the named patterns find masked, also within Base64."""
    new = _masked(text, names)
    if new == text and _BASE64.fullmatch(text):
        try:
            data = base64.b64decode(text)
        except binascii.Error:
            return text
        inner = data.decode("latin-1")
        if (found := _masked(inner, names)) != inner:
            return base64.b64encode(found.encode("latin-1")).decode()
    return new


def mask_bytes(data: bytes, names: tuple[str, ...]) -> bytes:
    """`data` likewise; the patterns are ASCII, so any encoding that contains it serves."""
    return mask_text(data.decode("latin-1"), names).encode("latin-1")


def _masked(text: str, names: tuple[str, ...]) -> str:
    for name in names:
        text = PATTERNS[name].sub(_replace, text)
    return text


def _replace(found: re.Match[str]) -> str:
    group = "secret" if found.re.groups and found["secret"] is not None else 0
    start, end = (at - found.start() for at in found.span(group))
    return found[0][:start] + FIXED + found[0][end:]
