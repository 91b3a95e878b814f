"""Calls for tests, from the short form of verdicts.toml."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from callgate.call import Call, Need
from callgate.policy import Moment

NOON = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
"""A Tuesday."""


def call_of(described: str | Mapping[str, Any]) -> Call:
    """The call that `ACTION RESOURCE [~]`, or a table with such needs and more, describes."""
    if isinstance(described, str):
        described = {"needs": [described]}
    texts = described.get("needs")
    if texts is None:
        texts = [f"{described['action']} {described.get('resource', '*')}"]
    first = texts[0].partition(" ")[0].partition("=")[0] if texts else None
    operation = described.get("operation") or described.get("action") or first
    service, name = operation.split(":")
    return Call(
        service=service,
        operation=name,
        candidates=((service, name),),
        protocol="json",
        region=described.get("region", "eu-west-1") or None,
        account=described.get("account"),
        auth=described.get("auth", "sigv4"),
        parameters=described.get("parameters", {}),
        needs=tuple(_need(text, operation, described.get("access")) for text in texts),
    )


def _need(text: str, operation: str, access: str | None) -> Need:
    action, resource, *unknown = text.split(" ")
    given, _, own = action.rpartition("=")  # OPERATION=ACTION names the operation that the need comes from
    return Need(own, resource, given or operation, determined=not unknown, access=access)


def moment_of(described: str | Mapping[str, Any]) -> Moment:
    """When and from where the described call comes."""
    if isinstance(described, str):
        described = {}
    return Moment(described.get("now", NOON), described.get("source"), described.get("mode", "enforce"))
