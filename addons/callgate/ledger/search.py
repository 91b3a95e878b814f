"""Finding calls: filters as people give them, as SQL over the views."""

from __future__ import annotations

import datetime
import re
import time
from dataclasses import dataclass

from callgate.duration import parse_duration
from callgate.ledger.entries import timestamp

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Filter:
    """What calls to find; None does not matter. Texts may be globs; `since` and `until` are RFC 3339.

    `operation` is `service:Operation` or the name alone, `resource` an ARN (any that the call touches),
    `search` a piece of the request parameters.
    """

    principal: str | None = None
    operation: str | None = None
    resource: str | None = None
    verdict: str | None = None
    session: str | None = None
    run: str | None = None
    search: str | None = None
    since: str | None = None
    until: str | None = None

    def where(self) -> tuple[str, list[str]]:
        """A condition over the view `calls`, and its parameters."""
        terms: list[str] = []
        values: list[str] = []

        def add(term: str, *given: str) -> None:
            terms.append(term)
            values.extend(given)

        for column, text in (
            ("principalId", self.principal),
            ("verdict", self.verdict),
            ("sessionId", self.session),
            ("runId", self.run),
            ("operation" if self.operation and ":" in self.operation else "eventName", self.operation),
        ):
            if text is not None:
                add(f"{column} {_like(text)} ?", text)
        if self.resource is not None:
            add(f"seq IN (SELECT seq FROM touched WHERE ARN {_like(self.resource)} ?)", self.resource)
        if self.search is not None:
            add("instr(requestParameters, ?)", self.search)
        if self.since is not None:
            add("eventTime >= ?", self.since)
        if self.until is not None:
            add("eventTime < ?", self.until)
        return " AND ".join(terms) or "1", values


def moment(text: str, now: float | None = None) -> str:
    """RFC 3339 of what a person typed: a time ago (`90m`, `2d`), a date, or a time (UTC if it has no zone).

    Raises ValueError.
    """
    try:
        return timestamp((time.time() if now is None else now) - parse_duration(text))
    except ValueError:
        pass
    try:
        given = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is neither a time ago (90m, 2d) nor a date or time (2027-01-31)"
        ) from None
    if given.tzinfo is None:
        given = given.replace(tzinfo=datetime.UTC)
    return timestamp(given.timestamp())


def _like(text: str) -> str:
    return "GLOB" if _GLOB.search(text) else "="
