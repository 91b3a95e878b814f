"""SQL without its literals, as people may read it.

What begins and does not end reaches to the end of the text, so that no text takes long to read.
"""

from __future__ import annotations

import re
from typing import Final

LITERAL: Final = "?"

_quoted = re.compile(
    r"'(?:[^'\\]|''|\\.?)*+(?:'|(?P<open>\Z))"
    r'|"(?P<name>(?:[^"\\]|""|\\.?)*+)(?:"|(?P<open_name>\Z))'
    r"|\$(?P<tag>(?:[^\W\d]\w*)?)\$(?:.*?\$(?P=tag)\$|(?P<open_tag>.*))",
    re.DOTALL,
)


def without_literals(text: str, *, mysql: bool) -> str | None:
    """`text` with `?` for each literal; None where it is in doubt what is one.

    `mysql`: double quotes hold strings, and not names, as well.
    """
    parts = []
    at = 0
    for found in _quoted.finditer(text):
        name = found["name"]
        is_name = name is not None and not mysql
        if any(found[group] is not None for group in ("open", "open_name", "open_tag")):
            return None
        if is_name and any(sign in name for sign in "'$\\"):
            return None
        parts += [text[at : found.start()], found[0] if is_name else LITERAL]
        at = found.end()
    return "".join([*parts, text[at:]])
