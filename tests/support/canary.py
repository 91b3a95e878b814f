"""Secrets that must not be found, and how they are looked for: in whatever form somebody might write them."""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

CANARY = "canary-7f3a9c"
AWKWARD = 'canary"5b&é/+\\d1 <'
"""What each coding writes differently."""
# The third part of a token is what makes it one; and a token within Basic credentials.
_TOKENS = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}|am9iOmV5[\w+/]{10,}")
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")


def forms(secret: str) -> dict[str, bytes]:
    """How a secret may be written: name of the coding, bytes."""
    text = secret.encode()
    escaped = json.dumps(secret)[1:-1]
    found = {
        "plain": text,
        "latin-1": secret.encode("latin-1"),
        "hex": text.hex().encode(),
        "JSON": escaped.encode(),
        "JSON in UTF-8": json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        "JSON in JSON": json.dumps(escaped)[1:-1].encode(),
        "JSON, escaped throughout": "".join(f"\\u{ord(char):04x}" for char in secret).encode(),
        "repr": repr(secret)[1:-1].encode(),
        "percent": quote(secret, safe="").encode(),
        "form": quote(secret, safe=" ").replace(" ", "+").encode(),
        "percent throughout": "".join(f"%{byte:02X}" for byte in text).encode(),
        "XML": secret.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;").encode(),
        "UTF-16": secret.encode("utf-16-le"),
        "UTF-16, big end first": secret.encode("utf-16-be"),
    }
    for before in range(3):
        # Only what no neighbour has a part in.
        whole = b64encode(b"\0" * before + text)
        start, end = (8 * before + 5) // 6, 8 * (before + len(text)) // 6
        found[f"Base64, {before} bytes in"] = whole[start:end]
        found[f"Base64 for URLs, {before} bytes in"] = whole[start:end].translate(
            bytes.maketrans(b"+/", b"-_")
        )
    return found


def unpacked(data: bytes) -> Iterator[bytes]:
    """`data`, and each gzip or zlib stream that begins in it."""
    yield data
    for begin in _PACKED.finditer(data):
        try:
            inner = zlib.decompressobj(47).decompress(data[begin.start() :], 8 * 1024 * 1024)
        except zlib.error:
            continue
        if len(inner) > 8:
            yield inner


def found_in(told: Mapping[str, bytes], secrets: Iterable[str] = (CANARY, AWKWARD)) -> dict[str, bytes]:
    """Where a secret stands in what was told, in any form, or a whole token: with what is around it."""
    sought = {
        f"{secret} ({name})": form for secret in secrets for name, form in forms(secret).items() if form
    }
    found = {}
    for place, data in told.items():
        for layer in unpacked(data):
            for name, form in sought.items():
                if (at := layer.find(form)) >= 0:
                    found[f"{place}: {name}"] = layer[max(0, at - 100) : at + 60]
            if token := _TOKENS.search(layer):
                found[f"{place}: a token"] = layer[max(0, token.start() - 100) : token.start() + 30]
    return found


def written(folder: Path) -> dict[str, bytes]:
    """All that a gateway wrote into its home, but for its keys."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent.name != "keys")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
