"""The ledger's SQLite schema: two append-only tables, views and generated columns over the entries.

Nothing that people query is stored a second time: an index is the only other copy of a value, and SQLite's
integrity check compares it with the entry. Names follow CloudTrail's.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

APPLICATION_ID = 0x43474C47  # "CGLG"
REVISION = 3
"""Of the whole schema, kept in `user_version`; entries carry their own format version."""

_TABLES = {
    "entries": """
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY,
  entry TEXT NOT NULL,
  leaf BLOB NOT NULL,
  kind TEXT AS (entry ->> '$.kind'),
  time TEXT AS (entry ->> '$.time'),
  subject TEXT AS (entry ->> '$.subject'),
  step TEXT AS (entry ->> '$.step'),
  principalId TEXT AS (entry ->> '$.body.userIdentity.principalId'),
  sessionId TEXT AS (entry ->> '$.body.userIdentity.sessionId'),
  accessKeyId TEXT AS (entry ->> '$.body.userIdentity.accessKeyId'),
  runId TEXT AS (coalesce(entry ->> '$.body.claims.run_id', entry ->> '$.body.claims.pipeline_id')),
  eventName TEXT AS (entry ->> '$.body.eventName'),
  operation TEXT AS (entry ->> '$.body.service' || ':' || (entry ->> '$.body.eventName')),
  resource TEXT AS (entry ->> '$.body.resources[0].ARN'),
  secondResource TEXT AS (entry ->> '$.body.resources[1].ARN'),
  holdId TEXT AS (entry ->> '$.body.holdId'),
  errorCode TEXT AS (entry ->> '$.body.errorCode'),
  person TEXT AS (entry ->> '$.body.by'),
  verdict TEXT AS (CASE entry ->> '$.kind'
    WHEN 'call.refused' THEN iif(entry ->> '$.body.reason' = 'hold-pending', 'held', 'denied')
    WHEN 'call.intent' THEN iif(entry ->> '$.body.holdId' IS NULL, 'allowed', 'approved') END)
) STRICT""",
    "checkpoints": """
CREATE TABLE checkpoints (
  size INTEGER PRIMARY KEY,
  note TEXT NOT NULL,
  frontier BLOB NOT NULL
) STRICT""",
}

_GUARDS = {
    # After, not before: a trigger before would have every generated column computed twice.
    "entries_grow_in_order": """
CREATE TRIGGER entries_grow_in_order AFTER INSERT ON entries
WHEN NEW.seq <> (SELECT max(seq) FROM entries) OR NEW.seq <> coalesce(
  (SELECT max(seq) + 1 FROM entries WHERE seq < NEW.seq), (SELECT max(size) FROM checkpoints), 0)
BEGIN SELECT RAISE(ABORT, 'the ledger only grows at its end'); END""",
    **{
        f"{table}_refuse_{verb.lower()}": f"""
CREATE TRIGGER {table}_refuse_{verb.lower()} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"""
        for table in ("entries", "checkpoints")
        for verb in ("UPDATE", "DELETE")
    },
}

_CALL = "kind IN ('call.intent', 'call.refused')"
_OTHER = "kind NOT IN ('call.intent', 'call.refused', 'call.outcome')"
_MASKS = "entry -> '$.body.decision.masks'"


@dataclass(frozen=True, slots=True)
class Index:
    """An index on entries: the columns in it, and of which entries (an SQL condition; empty: of all).

    `since` is the first revision that has it.
    """

    name: str
    columns: tuple[str, ...]
    where: str = ""
    unique: bool = False
    since: int = 2

    @property
    def statement(self) -> str:
        """The SQL that makes it."""
        kind = "UNIQUE INDEX" if self.unique else "INDEX"
        where = f" WHERE {self.where}" if self.where else ""
        return f"CREATE {kind} {self.name} ON entries ({', '.join(self.columns)}){where}"


INDEXES = (
    Index("entries_step", ("subject", "step"), unique=True),
    Index("entries_kind", ("kind", "subject", "runId", "person"), _OTHER),
    Index("calls_time", ("time", "verdict"), _CALL),
    Index("calls_principal", ("principalId", "time", "operation", "verdict", "accessKeyId"), _CALL),
    Index("calls_session", ("sessionId",), _CALL),
    Index("calls_key", ("accessKeyId",), _CALL),
    Index("calls_event", ("eventName", "time"), _CALL),
    Index("calls_resource", ("resource",), _CALL),
    Index("calls_many", ("eventName",), f"{_CALL} AND secondResource IS NOT NULL"),
    Index("calls_hold", ("holdId",), f"{_CALL} AND holdId IS NOT NULL"),
    Index(
        "calls_masked", ("eventName", "time"), f"{_CALL} AND ({_MASKS}) COLLATE BINARY IS NOT NULL", since=3
    ),
)
_INDEXES = {index.name: index.statement for index in INDEXES}

_REQUEST = f"""
  call.seq AS seq,
  call.subject AS callId,
  call.time AS eventTime,
  call.verdict AS verdict,
  call.principalId AS principalId,
  call.operation AS operation,
  call.entry ->> '$.body.eventSource' AS eventSource,
  call.eventName AS eventName,
  call.resource AS resource,
  call.sessionId AS sessionId,
  call.accessKeyId AS accessKeyId,
  call.entry ->> '$.body.userIdentity.accountId' AS accountId,
  call.entry ->> '$.body.awsRegion' AS awsRegion,
  call.entry ->> '$.body.host' AS host,
  call.entry ->> '$.body.sourceIPAddress' AS sourceIPAddress,
  call.entry ->> '$.body.userAgent' AS userAgent,
  call.entry -> '$.body.requestParameters' AS requestParameters,
  call.entry -> '$.body.resources' AS resources,
  call.entry ->> '$.body.decision.effect' AS effect,
  call.entry -> '$.body.decision.rules' AS rules,
  coalesce(call.entry ->> '$.body.decision.mode', 'enforce') AS mode,
  call.entry ->> '$.body.decision.would' AS would,
  call.{_MASKS} AS masks,
  call.holdId AS holdId"""

# A refused call's only entry has step 'end', so it joins itself and its columns come from one place.
_VIEWS = {
    # What was asked, without how it ended: nothing to join, so counting is fast.
    "requests": f"""
CREATE VIEW requests AS SELECT {_REQUEST},
  coalesce(call.entry ->> '$.body.reason', call.entry ->> '$.body.decision.code', 'rule-allow') AS reason
FROM entries AS call WHERE call.{_CALL}""",
    "calls": f"""
CREATE VIEW calls AS SELECT {_REQUEST},
  session.runId AS runId,
  session.entry ->> '$.body.issuer' AS issuer,
  session.entry -> '$.body.claims' AS claims,
  coalesce(outcome.entry ->> '$.body.reason', call.entry ->> '$.body.decision.code', 'rule-allow') AS reason,
  coalesce(outcome.entry ->> '$.body.message', call.entry ->> '$.body.decision.reason') AS message,
  outcome.entry ->> '$.body.result' AS result,
  outcome.entry ->> '$.body.statusCode' AS statusCode,
  outcome.entry ->> '$.body.requestID' AS requestID,
  outcome.errorCode AS errorCode,
  outcome.entry ->> '$.body.errorMessage' AS errorMessage,
  outcome.entry ->> '$.body.durationMs' AS durationMs,
  outcome.entry ->> '$.body.bytesSent' AS bytesSent,
  outcome.entry ->> '$.body.bytesReceived' AS bytesReceived,
  outcome.entry -> '$.body.masked' AS masked,
  outcome.time AS endTime
FROM entries AS call
LEFT JOIN entries AS outcome ON outcome.subject = call.subject AND outcome.step = 'end'
LEFT JOIN entries AS session
  ON session.kind = 'session.opened' AND session.{_OTHER} AND session.subject = call.sessionId
WHERE call.{_CALL}""",
    # One row for each thing that a call touches; batches and copies touch several.
    "touched": f"""
CREATE VIEW touched AS SELECT
  seq, subject AS callId, time AS eventTime, verdict, principalId, operation, eventName, resource AS ARN,
  entry ->> '$.body.resources[0].action' AS action
FROM entries WHERE {_CALL}
UNION ALL SELECT
  seq, subject, time, verdict, principalId, operation, eventName, other.value ->> '$.ARN',
  other.value ->> '$.action'
FROM entries, json_each(entry, '$.body.resources') AS other
WHERE {_CALL} AND secondResource IS NOT NULL AND other.key > 0""",
    "denials": "CREATE VIEW denials AS SELECT * FROM requests WHERE verdict = 'denied'",
    # By principal first, which an index answers alone.
    "shared_keys": """
CREATE VIEW shared_keys AS SELECT
  accessKeyId, count(principalId) AS principals, sum(calls) AS calls,
  group_concat(principalId) AS who, max(latest) AS latest
FROM (
  SELECT principalId, accessKeyId, count(*) AS calls, max(eventTime) AS latest
  FROM requests GROUP BY principalId, accessKeyId)
WHERE accessKeyId IS NOT NULL GROUP BY accessKeyId HAVING principals > 1""",
    "sessions": f"""
CREATE VIEW sessions AS SELECT
  opened.subject AS sessionId,
  opened.time AS openedTime,
  opened.entry ->> '$.body.principalId' AS principalId,
  opened.entry ->> '$.body.issuer' AS issuer,
  opened.entry -> '$.body.claims' AS claims,
  opened.runId AS runId,
  (SELECT last.kind FROM entries AS last
    WHERE last.{_OTHER}
      AND last.kind IN ('session.opened', 'session.renewed', 'session.closed', 'session.revoked')
      AND last.subject = opened.subject ORDER BY last.seq DESC LIMIT 1) AS state,
  opened.seq AS seq
FROM entries AS opened WHERE opened.{_OTHER} AND opened.kind = 'session.opened'""",
    "holds": f"""
CREATE VIEW holds AS SELECT
  opened.subject AS holdId,
  opened.time AS openedTime,
  opened.entry ->> '$.body.principalId' AS principalId,
  opened.entry ->> '$.body.issuer' AS issuer,
  opened.entry -> '$.body.asked' AS asked,
  opened.entry -> '$.body.terms' AS terms,
  opened.entry ->> '$.body.deadline' AS deadline,
  last.entry ->> '$.body.state' AS state,
  last.entry -> '$.body.approvals' AS approvals,
  last.entry ->> '$.body.usedBy' AS usedBy,
  last.time AS changedTime,
  opened.seq AS seq
FROM entries AS opened JOIN entries AS last
  ON last.seq = (SELECT max(seq) FROM entries WHERE subject = opened.subject AND {_OTHER})
WHERE opened.{_OTHER} AND opened.kind = 'hold.opened'""",
    "approvals": f"""
CREATE VIEW approvals AS SELECT
  decided.subject AS holdId,
  decided.time AS decidedTime,
  decided.person AS person,
  iif(decided.kind = 'hold.denied', 'denied', 'approved') AS verdict,
  decided.entry ->> '$.body.via' AS via,
  decided.entry ->> '$.body.reason' AS reason,
  opened.entry ->> '$.body.principalId' AS principalId,
  opened.entry -> '$.body.asked' AS asked,
  decided.seq AS seq
FROM entries AS decided JOIN entries AS opened ON opened.subject = decided.subject AND opened.step = 'opened'
WHERE decided.{_OTHER} AND decided.kind IN ('hold.approval', 'hold.approved', 'hold.denied')""",
    "gateway_events": f"""
CREATE VIEW gateway_events AS SELECT seq, time, kind, subject, entry -> '$.body' AS body
FROM entries WHERE {_OTHER}""",
}

_OBJECTS = {**_TABLES, **_GUARDS, **_INDEXES, **_VIEWS}


def create(connection: sqlite3.Connection) -> None:
    """Make the schema in an empty database. The caller owns the transaction."""
    for statement in _OBJECTS.values():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {REVISION}")


def rebuild(connection: sqlite3.Connection) -> None:
    """Make views, indexes and triggers anew as this release has them; entries stay untouched. As `create`."""
    rows = connection.execute(
        "SELECT type, name FROM sqlite_schema WHERE sql IS NOT NULL AND type <> 'table'"
    )
    for kind, name in rows.fetchall():
        connection.execute(f'DROP {kind} "{name}"')
    for name, statement in _OBJECTS.items():
        if name not in _TABLES:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {REVISION}")


@contextlib.contextmanager
def unguarded(connection: sqlite3.Connection) -> Iterator[None]:
    """Without the triggers: for cutting whole ends off a log, at a checkpoint."""
    for name in _GUARDS:
        connection.execute(f"DROP TRIGGER {name}")
    yield
    for statement in _GUARDS.values():
        connection.execute(statement)


def indexes(connection: sqlite3.Connection) -> list[Index]:
    """The indexes that a file of its revision has: an archive is never rebuilt."""
    (revision,) = connection.execute("PRAGMA user_version").fetchone()
    return [index for index in INDEXES if index.since <= revision]


def differences(connection: sqlite3.Connection) -> list[str]:
    """How the schema in the file differs from its revision's: an altered view could hide entries."""
    # SQLite's own are its statistics and what has no statement.
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema"
        " WHERE sql IS NOT NULL AND name NOT IN ('sqlite_stat1', 'sqlite_stat4')"
    )
    found = {_text(name): _text(sql).strip() for name, sql in rows}
    later = {index.name for index in INDEXES} - {index.name for index in indexes(connection)}
    expected = {name: statement.strip() for name, statement in _OBJECTS.items() if name not in later}
    return [
        *(f"{name} is missing" for name in sorted(expected.keys() - found.keys())),
        *(f"{name} does not belong here" for name in sorted(found.keys() - expected.keys())),
        *(
            f"{name} is not what Callgate made it"
            for name in expected
            if found.get(name, expected[name]) != expected[name]
        ),
    ]


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
