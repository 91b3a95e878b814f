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

    def newest(self, limit: int) -> tuple[str, list[object]]:
        """A query for the newest `limit` calls of the view `calls`, newest first, and its parameters."""
        condition, values = self.where()
        # Of many that match, only the numbers are sorted.
        view = "requests" if self.run is None else "calls"
        # The plus sign has SQLite sort the few there are, instead of reading all from the end on.
        order = "+seq" if self._is_rare else "seq"
        chosen = f"SELECT seq FROM {view} WHERE {condition} ORDER BY {order} DESC LIMIT ?"
        return f"SELECT * FROM calls WHERE seq IN ({chosen}) ORDER BY seq DESC", [*values, limit]

    @property
    def _is_rare(self) -> bool:
        return self.verdict in ("held", "approved")

    def where(self) -> tuple[str, list[str]]:
        """A condition over the view `calls`, and its parameters."""
        terms: list[str] = []
        values: list[str] = []

        def add(term: str, *given: str) -> None:
            terms.append(term)
            values.extend(given)

        for column, text in (
            ("principalId", self.principal),
            ("sessionId", self.session),
            ("runId", self.run),
            # The name alone is in an index; the service is looked at in the calls that have it.
            ("eventName", self.operation.rpartition(":")[2] if self.operation else None),
            ("operation", self.operation if self.operation and ":" in self.operation else None),
        ):
            if text is not None:
                add(f"{column} {_like(text)} ?", text)
        if self.verdict is not None:
            add("verdict = ?", self.verdict)
        if self._is_rare:
            add("eventTime >= ''")  # Verdicts stand in the index on times.
        if self.resource is not None:
            add(f"seq IN (SELECT seq FROM touched WHERE ARN {_like(self.resource)} ?)", self.resource)
        if self.search is not None:
            add("instr(requestParameters, ?)", self.search)
        if self.since is not None or self.until is not None:
            period = (self.since or "", self.until or "9999")
            within = "FROM requests WHERE eventTime >= ? AND eventTime < ?"
            add(f"seq BETWEEN (SELECT min(seq) {within}) AND (SELECT max(seq) {within})", *period, *period)
            add("eventTime >= ? AND eventTime < ?", *period)
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
