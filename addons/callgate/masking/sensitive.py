"""Which members are sensitive: what botocore's models mark, and what `sensitive.toml` adds to it and takes
from it.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from fnmatch import translate
from importlib.resources import files
from typing import Any, Final

from botocore.model import Shape

from callgate.masking.places import IsSecret

TEXT: Final = frozenset({"string", "blob", "character"})


def is_secret(service: str, operation: str) -> IsSecret:
    """Tells the members that `sensitive = true` masks in the output of `operation`."""
    if _overlay("needed", "operations").match(f"{service}:{operation}"):
        return _nothing
    return functools.partial(_is_secret, service)


def is_unstored(service: str) -> IsSecret:
    """Tells the members of a request to `service` that may not be stored."""
    return functools.partial(_is_unstored, service)


@functools.lru_cache(maxsize=4096)
def is_sql(service: str, parent: str, name: str) -> bool:
    """Whether a member holds SQL, of which only the literals are secret."""
    return _overlay("sql", "members").match(f"{service}:{parent}.{name}") is not None


@functools.lru_cache(maxsize=4096)
def is_unstored_name(name: str) -> bool:
    """Whether a string under this name, of which no model is known, may not be stored."""
    plain = _plain(name)
    if plain in _names():
        return True
    words: list[str] = _table()["unstored"]["words"]
    endings: tuple[str, ...] = tuple(_table()["unstored"]["endings"])
    return any(word in plain for word in words) and not plain.endswith(endings)


def _nothing(parent: Shape, name: str, shape: Shape) -> bool:
    return False


def _is_secret(service: str, parent: Shape, name: str, shape: Shape) -> bool:
    member = f"{service}:{parent.name}.{name}"
    if _overlay("harmless", "members").match(member):
        return False
    named = shape.type_name in TEXT and _plain(name) in _names()
    if named or shape.metadata.get("sensitive"):
        return True
    return _overlay("secret", "members").match(member) is not None


def _is_unstored(service: str, parent: Shape, name: str, shape: Shape) -> bool:
    if shape.metadata.get("sensitive") or _is_secret(service, parent, name, shape):
        return True
    if shape.name == "AttributeValue" and service in ("dynamodb", "dynamodbstreams"):
        # Keys say which item is meant; all other attributes are data.
        return str(parent.name) != "Key"
    if is_sql(service, parent.name, name):
        return False
    named = shape.type_name in TEXT and is_unstored_name(name)
    return named or bool(_overlay("unstored", "members").match(f"{service}:{parent.name}.{name}"))


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads((files("callgate.masking") / "sensitive.toml").read_text())


@functools.cache
def _overlay(part: str, key: str) -> re.Pattern[str]:
    globs: Iterable[str] = _table()[part][key]
    return re.compile("|".join(translate(glob) for glob in globs))


@functools.cache
def _names() -> frozenset[str]:
    return frozenset(_table()["secret"]["names"])


def _plain(name: str) -> str:
    return re.sub("[-_ ]", "", name).lower()
