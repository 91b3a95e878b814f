"""ARNs: filled from templates and parameters, or taken from parameters that hold one.

The form is `arn:partition:service:region:account:resource` (AWS General Reference). A template is such a
text with `${Variable}` in it, as the Service Authorization Reference writes them.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")

UNTOLD: Final = "\0"
"""Stands in a name for a part that nothing tells. No name of AWS's has this character."""

Pair = tuple[str, str, bool]
"""An IAM action, a resource, and whether the resource is determined."""


class Scope(NamedTuple):
    """Where a call is made: partition, region (None if unknown), account of the caller (None if unknown)."""

    partition: str
    region: str | None
    account: str | None

    def arn(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> Resource:
        """A resource in this scope; some services' ARNs have no region or no account in them."""
        return Resource.of(self.written(service, resource, region=region, account=account))

    def written(self, service: str, resource: str, *, region: bool = True, account: bool = True) -> str:
        """The ARN of a resource in this scope, with `UNTOLD` in it for what is not known."""
        place = _told(self.region) if region else ""
        owner = _told(self.account) if account else ""
        return f"arn:{self.partition}:{service}:{place}:{owner}:{resource}"


class Resource(NamedTuple):
    """A resource ARN (or `*`), and whether all of it is determined."""

    arn: str
    determined: bool = True

    @classmethod
    def of(cls, text: str) -> Resource:
        """The resource of that ARN, in which `UNTOLD` stands for what is not known."""
        return cls(text.replace(UNTOLD, "*"), False) if UNTOLD in text else cls(text)


def _told(part: str | None) -> str:
    return UNTOLD if part is None else part


def is_arn(value: object) -> bool:
    """Whether `value` has the shape of an ARN."""
    return isinstance(value, str) and value.startswith("arn:") and value.count(":") >= 5


def last_segment(arn: str) -> str:
    """The name at the end of an ARN: what follows the last `/` or `:`."""
    return re.split(r"[/:]", arn)[-1]


class Path(NamedTuple):
    """Where a parameter stands. `constant` stands for itself; of some parameters only whole ARNs count."""

    steps: tuple[str, ...]
    constant: str | None = None
    arns_only: bool = False


def path(text: str) -> Path:
    """`Entries[].Detail` as a path, `[]` being each item of a list or map.

    `=text` is a constant: what AWS takes if nothing is given. `&` in front says that only ARNs count.
    """
    if text.startswith("="):
        return Path((), text[1:])
    return Path(tuple(text.lstrip("&").replace("[]", ".[]").split(".")), None, text.startswith("&"))


def values(parameters: Any, where: Path) -> list[str]:
    """The texts (numbers as texts) at a path; empty ones count as absent."""
    if where.constant is not None:
        return [where.constant]
    found: list[Any] = [parameters]
    for step in where.steps:
        if step == "[]":
            found = [item for value in found for item in _items(value)]
        else:
            found = [value[step] for value in found if isinstance(value, Mapping) and step in value]
        if not found:
            return []
    flat = [item for value in found for item in (value if isinstance(value, list) else (value,))]
    told = [str(item) for item in flat if isinstance(item, str | int) and not isinstance(item, bool)]
    return [text for text in told if text and (is_arn(text) or not where.arns_only)]


def mappings(value: Any) -> list[Mapping[str, Any]]:
    """The structures in a list of them; none if `value` is something else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def _items(value: Any) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list | tuple) else ()


class Template(NamedTuple):
    """An ARN template taken apart: texts and variables in turn, and the parameters that may hold them.

    `variables` are `Partition`, `Region`, `Account` or a number into `sources`. A source is the paths to
    try in turn; an empty one is a variable that no parameter holds, None one that AWS makes up for a new
    resource.
    """

    texts: tuple[str, ...]
    variables: tuple[str | int, ...]
    sources: tuple[tuple[Path, ...] | None, ...]

    @classmethod
    def compile(cls, text: str, sources: Mapping[str, Sequence[str] | None]) -> Template:
        """`text` with the paths (as texts) that hold each of its variables."""
        names = list(sources)
        parts = _VARIABLE.split(text)
        return cls(
            tuple(parts[::2]),
            tuple(names.index(part) if part in names else part for part in parts[1::2]),
            tuple(None if paths is None else tuple(map(path, paths)) for paths in sources.values()),
        )

    def fill(self, parameters: Mapping[str, Any], scope: Scope) -> tuple[list[Resource], int]:
        """The resources that `parameters` name, and how many variables they could tell (-1: none was needed).

        Where the last variable's parameter holds a whole ARN, that is the resource.
        """
        if not self.sources:
            return [self._write((), scope)], -1
        told = [self._values(source, parameters) for source in self.sources]
        leaf = told[-1]
        arns = [value for value in leaf if is_arn(value)]
        filled = [Resource.of(value) for value in arns]
        names = [value for value in leaf if not is_arn(value)]
        known = sum(bool(values) for values in told)
        if names or not leaf:
            place = self._place(told[:-1], scope)
            filled += (self._write(row, place) for row in _rows([*told[:-1], names]))
        return filled, len(told) if arns and not names else known

    @staticmethod
    def _values(source: tuple[Path, ...] | None, parameters: Mapping[str, Any]) -> list[str]:
        if source is None:
            return ["*"]
        return next((found for steps in source if (found := values(parameters, steps))), [])

    def _place(self, told: list[list[str]], scope: Scope) -> Scope:
        """`scope`, or where a parent that was given by its ARN is."""
        for arn in (value for column in told for value in column if is_arn(value)):
            _, partition, service, region, account, _ = arn.split(":", 5)
            if f":{service}:" in self.texts[1:2]:
                return Scope(partition, region or scope.region, account or scope.account)
        return scope

    def _write(self, row: tuple[str | None, ...], scope: Scope) -> Resource:
        text = self.texts[0]
        for variable, following in zip(self.variables, self.texts[1:], strict=True):
            part: str | None
            if isinstance(variable, int):
                part = row[variable]
            elif variable == "Partition":
                part = scope.partition
            elif variable == "Region":
                part = scope.region
            elif variable == "Account":
                part = scope.account
            else:
                part = None
            text += _told(part) + following
        return Resource.of(text)


_MOST_ROWS: Final = 1000


def _rows(columns: list[list[str]]) -> list[tuple[str | None, ...]]:
    """Every combination of the columns' values; columns of equal length over 1 go side by side.

    More combinations than anybody asks for are one that is not determined.
    """
    longest = max(map(len, columns))
    full: list[list[str | None]] = [[_name(part) for part in column] or [None] for column in columns]
    if longest > 1 and all(len(column) in (1, longest) for column in full):
        return list(zip(*(column * longest if len(column) == 1 else column for column in full), strict=True))
    if math.prod(map(len, full)) > _MOST_ROWS:
        full = [column if len(column) == 1 else [None] for column in full]
    return list(itertools.product(*full))


def _name(part: str) -> str:
    return last_segment(part) if is_arn(part) else part
