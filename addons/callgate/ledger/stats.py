"""What the log says in numbers, for `callgate log stats` and the report."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

# A period becomes a range of numbers once, so that the questions are answered from an index alone.
_RANGE = """
SELECT coalesce((SELECT seq FROM entries WHERE time >= :since AND kind IN ('call.intent', 'call.refused')
                 ORDER BY time LIMIT 1), -1),
       coalesce((SELECT seq FROM entries WHERE time < :until AND kind IN ('call.intent', 'call.refused')
                 ORDER BY time DESC LIMIT 1), -2)
"""

QUESTIONS: Mapping[str, str] = {
    "verdicts": """
SELECT verdict, count(*) AS calls FROM requests WHERE seq BETWEEN :first AND :last
GROUP BY 1 ORDER BY 2 DESC""",
    "principals": """
SELECT principalId, count(*) AS calls, sum(verdict = 'denied') AS denied, sum(verdict = 'held') AS held,
  sum(verdict = 'approved') AS approved, count(DISTINCT operation) AS operations
FROM requests WHERE seq BETWEEN :first AND :last GROUP BY 1 ORDER BY 2 DESC LIMIT :limit""",
    "operations": """
SELECT operation, count(*) AS calls, sum(verdict = 'denied') AS denied,
  count(DISTINCT principalId) AS principals
FROM requests WHERE seq BETWEEN :first AND :last GROUP BY 1 ORDER BY 2 DESC LIMIT :limit""",
    "who_does_what": """
SELECT principalId, operation, count(*) AS calls
FROM requests WHERE seq BETWEEN :first AND :last GROUP BY 1, 2 ORDER BY 3 DESC LIMIT :limit""",
    "denials": """
SELECT reason, principalId, operation, count(*) AS calls, max(eventTime) AS latest
FROM requests WHERE verdict = 'denied' AND seq BETWEEN :first AND :last
GROUP BY 1, 2, 3 ORDER BY 4 DESC LIMIT :limit""",
    "shared_keys": """
SELECT accessKeyId, count(DISTINCT principalId) AS principals, count(*) AS calls,
  group_concat(DISTINCT principalId) AS who
FROM requests WHERE accessKeyId IS NOT NULL AND seq BETWEEN :first AND :last
GROUP BY 1 HAVING principals > 1 ORDER BY 2 DESC, 3 DESC LIMIT :limit""",
    "new_principals": """
SELECT principalId, min(seq) AS firstSeq, count(*) AS calls, min(eventTime) AS firstTime
FROM requests WHERE principalId IS NOT NULL AND seq <= :last
GROUP BY 1 HAVING firstSeq >= :first ORDER BY 2 LIMIT :limit""",
    "newcomers": """
SELECT count(*) AS principals FROM (
  SELECT min(seq) AS firstSeq FROM requests WHERE principalId IS NOT NULL AND seq <= :last
  GROUP BY principalId)
WHERE firstSeq >= :first""",
    "first_operations": """
SELECT principalId, operation, min(seq) AS firstSeq, count(*) AS calls, min(eventTime) AS firstTime
FROM requests WHERE principalId IS NOT NULL AND seq <= :last
GROUP BY 1, 2 HAVING firstSeq >= :first ORDER BY 3 LIMIT :limit""",
    "approvals": """
SELECT person, verdict, count(*) AS holds, max(decidedTime) AS latest
FROM approvals WHERE decidedTime >= :since AND decidedTime < :until
GROUP BY 1, 2 ORDER BY 3 DESC LIMIT :limit""",
    "masked": """
SELECT principalId, operation, count(*) AS calls FROM requests
WHERE masks IS NOT NULL AND verdict IN ('allowed', 'approved') AND seq BETWEEN :first AND :last
GROUP BY 1, 2 ORDER BY 3 DESC LIMIT :limit""",
    "days": """
SELECT substr(eventTime, 1, :width) AS moment, count(*) AS calls, sum(verdict = 'allowed') AS allowed,
  sum(verdict = 'approved') AS approved, sum(verdict = 'held') AS held, sum(verdict = 'denied') AS denied
FROM requests WHERE seq BETWEEN :first AND :last GROUP BY 1 ORDER BY 1""",
}


def ask(
    database: sqlite3.Connection,
    questions: Sequence[str],
    *,
    since: str = "",
    until: str = "9999",
    limit: int = 15,
) -> dict[str, list[dict[str, Any]]]:
    """The answers to `questions` (names in QUESTIONS) for calls from `since` to before `until` (RFC 3339)."""
    values: dict[str, Any] = {"since": since, "until": until, "limit": limit}
    values["first"], values["last"] = database.execute(_RANGE, values).fetchone()
    # Hours where the period is short, else days.
    values["width"] = 13 if _hours(database, values) <= 72 else 10
    return {name: _rows(database, QUESTIONS[name], values) for name in questions}


def _hours(database: sqlite3.Connection, values: Mapping[str, Any]) -> float:
    sql = """SELECT 24 * (julianday((SELECT time FROM entries WHERE seq = :last))
                        - julianday((SELECT time FROM entries WHERE seq = :first)))"""
    return database.execute(sql, values).fetchone()[0] or 0.0


def _rows(database: sqlite3.Connection, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor = database.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]
