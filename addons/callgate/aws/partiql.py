"""Reads as much of a PartiQL statement for DynamoDB as tells its verb, its table and its index.

Follows "PartiQL - a SQL-compatible query language for Amazon DynamoDB": SELECT, INSERT INTO, UPDATE,
DELETE FROM, and EXISTS(SELECT …) in transactions. Whatever is not plainly one of these is not read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<word>[A-Za-z_][A-Za-z0-9_]*)|"(?P<quoted>(?:[^"]|"")+)"|(?P<text>'(?:[^']|'')*')"""
    r"""|(?P<comment>--|/\*)|(?P<mark>[^\s"']))"""
)


_LONGEST: Final = 8192
"""Characters that DynamoDB takes in a statement."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: `verb` is Select, Insert, Update, Delete or Exists; `index` None where none is named."""

    verb: str
    table: str
    index: str | None = None


class _Token(NamedTuple):
    kind: str
    text: str

    def says(self, *words: str) -> bool:
        return self.kind == "word" and self.text.upper() in words


def read(text: object) -> Statement | None:
    """The statement, None if any of it is in doubt: a comment, a second FROM, a name that is not plain."""
    tokens = _tokens(text) if isinstance(text, str) and len(text) <= _LONGEST else None
    if not tokens:
        return None
    if tokens[0].says("EXISTS") and len(tokens) > 2 and tokens[1].text == "(" and tokens[-1].text == ")":
        inner = _read(tokens[2:-1])
        return replace(inner, verb="Exists") if inner and inner.verb == "Select" else None
    return _read(tokens)


def _tokens(text: str) -> list[_Token] | None:
    tokens: list[_Token] = []
    text, position = text.strip().removesuffix(";").rstrip(), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup in (None, "comment") or match["mark"] == ";":
            return None
        tokens.append(_Token(str(match.lastgroup), match[str(match.lastgroup)].replace('""', '"')))
        position = match.end()
    return tokens


def _read(tokens: list[_Token]) -> Statement | None:
    keywords = [token.text.upper() if token.kind == "word" else "" for token in tokens]
    if "UNION" in keywords or "JOIN" in keywords:
        return None
    match keywords[:2]:
        case ["SELECT", _]:
            if keywords.count("FROM") != 1 or keywords.count("SELECT") != 1:
                return None
            return _target("Select", tokens[keywords.index("FROM") + 1 :], ("WHERE", "ORDER"))
        case ["INSERT", "INTO"]:
            return _target("Insert", tokens[2:], ("VALUE",))
        case ["UPDATE", _]:
            return _target("Update", tokens[1:], ("SET", "REMOVE"))
        case ["DELETE", "FROM"]:
            return _target("Delete", tokens[2:], ("WHERE",))
    return None


def _target(verb: str, tokens: list[_Token], followed_by: tuple[str, ...]) -> Statement | None:
    """`table` or `table.index`, with nothing behind it but one of the clauses that the verb has."""
    names: list[str] = []
    while tokens and tokens[0].kind in ("word", "quoted") and len(names) < 2:
        names.append(tokens[0].text)
        tokens = tokens[1:]
        if not tokens or tokens[0].text != ".":
            break
        tokens = tokens[1:]
    if not names or (tokens and not tokens[0].says(*followed_by)):
        return None
    if verb != "Select" and (len(names) > 1 or not tokens):
        return None
    return Statement(verb, *names)
