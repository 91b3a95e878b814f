"""Finding calls: filters as people give them, as SQL over the views."""

from __future__ import annotations

import datetime
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from callgate.duration import parse_duration
from callgate.ledger.entries import timestamp

_GLOB = re.compile(r"[*?\[]")
_IN_PERIOD = "eventTime >= ? AND eventTime < ?"
# Entries that one step of a search reads, in some hundredths of a second.
_STEP = 20_000


@dataclass(frozen=True, slots=True)
class Filter:
    """What calls to find; None does not matter. Texts may be globs; `since` and `until` are RFC 3339.

    `operation` is `service:Operation` or the name alone, `resource` an ARN (any that the call touches),
    `search` a piece of the request parameters, as it is or as JSON writes it.
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

    def newest(
        self,
        database: sqlite3.Connection,
        limit: int,
        progress: Callable[[int, int], None] = lambda done, size: None,
    ) -> list[sqlite3.Row]:
        """The newest `limit` rows of the view `calls` that match, newest first.

        `progress` hears how many entries a search has read, of how many.
        """
        condition, values = self.where()
        # Of many that match, only the numbers are sorted.
        view = "requests" if self.run is None else "calls"
        # The plus sign has SQLite sort the few there are, instead of reading all from the end on.
        order = "+seq" if self._is_rare else "seq"
        found: list[int] = []
        for step, bounds in self._steps(database, progress):
            sql = f"SELECT seq FROM {view} WHERE {step} AND {condition} ORDER BY {order} DESC LIMIT ?"
            found += [seq for (seq,) in database.execute(sql, (*bounds, *values, limit - len(found)))]
            if len(found) == limit:
                break
        rows = "SELECT * FROM calls WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq DESC"
        return database.execute(rows, (json.dumps(found),)).fetchall()

    def _steps(
        self, database: sqlite3.Connection, progress: Callable[[int, int], None]
    ) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Conditions that divide the log, the newest part first, and their parameters."""
        exact = (self.principal, self.session, self.run, self.operation, self.resource)
        by_index = self.search is None or any(text is not None and not _GLOB.search(text) for text in exact)
        if by_index and self._period is None:
            yield "1", ()
            return
        within = "FROM entries" if self._period is None else f"FROM requests WHERE {_IN_PERIOD}"
        ends = f"coalesce((SELECT min(seq) {within}), 0), coalesce((SELECT max(seq) {within}), -1)"
        first, last = database.execute(f"SELECT {ends}", (self._period or ()) * 2).fetchone()
        if by_index:
            yield "seq BETWEEN ? AND ?", (first, last)
            return
        # No index leads to a piece of text; to look for it in whole entries first takes a fifth of the time.
        pieces = self._pieces
        holds = " OR ".join(["instr(entry, ?)"] * len(pieces))
        step = f"seq IN (SELECT seq FROM entries WHERE seq BETWEEN ? AND ? AND ({holds}))"
        for end in range(last, first - 1, -_STEP):
            yield step, (max(first, end - _STEP + 1), end, *pieces)
            progress(min(last - end + _STEP, last - first + 1), last - first + 1)

    @property
    def _period(self) -> tuple[str, str] | None:
        return (self.since or "", self.until or "9999") if self.since or self.until else None

    @property
    def _pieces(self) -> tuple[str, ...]:
        text = self.search or ""
        return tuple(dict.fromkeys((text, json.dumps(text, ensure_ascii=False)[1:-1])))

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
            pieces = self._pieces
            add(f"({' OR '.join(['instr(requestParameters, ?)'] * len(pieces))})", *pieces)
        if self._period is not None:
            add(_IN_PERIOD, *self._period)
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
