"""What pydantic has against settings that people wrote, in words for them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

Place = Sequence[str | int]
_WANTED = {
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "string_type": "a string",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
}


def explain(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """What is wrong at the `loc` of `problem`, which `model` was found to have."""
    *parents, last = problem["loc"] or ("",)
    match kind := problem["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(last), _keys(model, parents), n=1)
            return "unknown key" + (f"; did you mean {near[0]}?" if near else "")
        case "missing":
            return "is missing"
        case "literal_error":
            return f"is {problem['input']!r}; it can be {problem['ctx']['expected']}"
        case _ if kind in _WANTED:
            return f"should be {_WANTED[kind]}"
    return problem["msg"].removeprefix("Value error, ").removeprefix("Input ")


def dotted(place: Place) -> str:
    """A place in a TOML file as people write it: `rule[0].when`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")


def _keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that the table at `place` may have."""
    models = [model]
    for step in place:
        fields = [
            info for at in models for name, info in at.model_fields.items() if step in (name, info.alias)
        ]
        # Numbers and the names in tables that people name themselves lead to no other model.
        models = [found for info in fields for found in _models(info.annotation)] or models
    return [info.alias or name for at in models for name, info in at.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
