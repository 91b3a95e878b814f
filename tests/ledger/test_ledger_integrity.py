"""Changes beneath the entries: an index, or the schema itself. They could hide what the entries say."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from ledger_samples import intent, outcome

from callgate.journal import Record
from callgate.ledger import Ledger, integrity, read_public_keys, schema
from callgate.ledger.diagnose import Finding
from callgate.ledger.verify import verify


@pytest.fixture
def ledger(with_ledger: Callable[..., None], state: Path) -> Path:
    """A closed ledger whose entry 30 belongs in every index of calls, and entry 60 in that of other kinds."""

    async def use(ledger: Ledger) -> None:
        for n in range(30):
            resources = [
                {"action": "s3:DeleteObject", "ARN": f"arn:aws:s3:::prod/{n}/{part}"} for part in "ab"
            ]
            decision = {"effect": "allow", "masks": ["secrets"]}
            call = intent(f"c{n}", resources=resources, holdId=f"hold-{n}", decision=decision)
            await ledger.append(call, outcome(f"c{n}"))
        await ledger.append(Record("rules.loaded", {"n": 1}))

    with_ledger(use, checkpoint_entries=24)
    return state / "ledger.db"


def findings(ledger: Path) -> tuple[Finding, ...]:
    return verify([ledger], read_public_keys(ledger.parent / "keys" / "ledger.pub")).findings


@contextmanager
def editing(ledger: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("PRAGMA writable_schema = ON")
        yield db
    with closing(sqlite3.connect(ledger)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def behind_the_indexes(ledger: Path, names: set[str], before: str, after: str) -> None:
    """Run `before` with all indexes in place, and `after` while those in `names` do not notice."""
    marks = ",".join("?" * len(names))
    with editing(ledger) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        kept = db.execute("SELECT seq, entry, leaf FROM entries").fetchall()
        db.executescript(before)
        rows = db.execute(f"SELECT * FROM sqlite_schema WHERE name IN ({marks})", [*names]).fetchall()
        db.execute(f"DELETE FROM sqlite_schema WHERE name IN ({marks})", [*names])
    with editing(ledger) as db:
        db.execute("CREATE TEMP TABLE kept (seq, entry, leaf)")
        db.executemany("INSERT INTO kept VALUES (?, ?, ?)", kept)
        db.executescript(after)
        db.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", rows)
    with editing(ledger) as db:
        for statement in schema._GUARDS.values():
            db.execute(statement)


BACK = "UPDATE entries SET entry = (SELECT entry FROM kept WHERE kept.seq = entries.seq) WHERE seq = {};"
TAKEN_OUT = "DELETE FROM entries WHERE seq = {0};"
PUT_IN = "INSERT INTO entries (seq, entry, leaf) SELECT seq, entry, leaf FROM kept WHERE seq = {0};"


@pytest.fixture(params=["threads", "processes"])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the parts of the check run."""
    if request.param == "processes":
        monkeypatch.setattr(integrity, "_PART", 10)


@pytest.mark.usefixtures("workers")
def test_an_index_that_lacks_an_entry_is_found_with_the_entry(ledger: Path) -> None:
    behind_the_indexes(ledger, {"calls_resource"}, TAKEN_OUT.format(30), PUT_IN.format(30))
    finding, *_ = findings(ledger)
    assert (finding.kind, finding.seq) == ("damaged", 30)
    assert "calls_resource" in finding.text


@pytest.mark.parametrize("index", [index.name for index in schema.INDEXES])
def test_every_index_is_compared_with_the_entries(ledger: Path, index: str) -> None:
    seq = 60 if index == "entries_kind" else 30
    behind_the_indexes(ledger, {index}, TAKEN_OUT.format(seq), PUT_IN.format(seq))
    finding, *_ = findings(ledger)
    assert (finding.kind, finding.seq) == ("damaged", seq)


def test_an_index_that_says_otherwise_is_found(ledger: Path) -> None:
    said = (
        "UPDATE entries SET entry = replace(entry, 'github:acme/infra', 'github:evil/infra') WHERE seq = 30;"
    )
    behind_the_indexes(ledger, {"calls_principal"}, said, BACK.format(30))
    finding, *_ = findings(ledger)
    assert ("calls_principal" in finding.text, finding.seq) == (True, 30)


@pytest.mark.parametrize("seq", [-1, 61, 2**63 - 1])
def test_an_index_with_an_entry_that_does_not_exist_is_found(ledger: Path, seq: int) -> None:
    ghost = f"INSERT INTO entries (seq, entry, leaf) SELECT {seq}, replace(entry, 'c15', 'cx'), leaf"
    names = {index.name for index in schema.INDEXES}
    behind_the_indexes(
        ledger, names, f"{ghost} FROM entries WHERE seq = 30;", f"DELETE FROM entries WHERE seq = {seq};"
    )
    assert {finding.kind for finding in findings(ledger)} == {"damaged"}


def test_two_indexes_that_were_swapped_are_found(ledger: Path) -> None:
    with editing(ledger) as db:
        swap = (
            "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema AS o WHERE o.name = ?)"
            " WHERE name = ?"
        )
        roots = dict(db.execute("SELECT name, rootpage FROM sqlite_schema"))
        db.execute(swap, ("calls_key", "calls_session"))
        db.execute(
            "UPDATE sqlite_schema SET rootpage = ? WHERE name = 'calls_key'", (roots["calls_session"],)
        )
    assert findings(ledger)


def test_a_file_of_an_earlier_revision_has_its_own_indexes(ledger: Path) -> None:
    with editing(ledger) as db:
        db.execute("DROP INDEX calls_masked")
    assert [finding.text for finding in findings(ledger)] == ["calls_masked is missing"]
    with editing(ledger) as db:
        db.execute("PRAGMA user_version = 2")
    assert findings(ledger) == ()
    with editing(ledger) as db:
        db.execute("PRAGMA user_version = 1")
    assert findings(ledger)


@pytest.mark.parametrize("name", ["sqlite_extra", "entries_more"])
def test_a_trigger_that_does_not_belong_is_found_under_any_name(ledger: Path, name: str) -> None:
    trigger = f"CREATE TRIGGER {name} BEFORE INSERT ON entries BEGIN SELECT RAISE(IGNORE); END"
    with editing(ledger) as db:
        db.execute("INSERT INTO sqlite_schema VALUES ('trigger', ?, 'entries', 0, ?)", (name, trigger))
    assert [finding.kind for finding in findings(ledger)] == ["altered schema"]


def test_statistics_of_sqlite_are_no_finding(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as db:
        db.execute("ANALYZE")
    assert findings(ledger) == ()


def test_an_entry_of_another_type_with_the_same_bytes_is_found(ledger: Path) -> None:
    with editing(ledger) as db:
        (strict,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'entries'").fetchone()
        others = db.execute("SELECT * FROM sqlite_schema WHERE type IN ('trigger', 'index')").fetchall()
        db.execute("DELETE FROM sqlite_schema WHERE type IN ('trigger', 'index')")
        db.execute(
            "UPDATE sqlite_schema SET sql = ? WHERE name = 'entries'", (strict.removesuffix(" STRICT"),)
        )
    with editing(ledger) as db:
        db.execute("UPDATE entries SET entry = CAST(entry AS BLOB) WHERE seq = 30")
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'entries'", (strict,))
        db.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", others)
    assert {finding.kind for finding in findings(ledger)} == {"damaged"}


def test_a_changed_write_ahead_log_is_found(
    ledger: Path, with_ledger: Callable[..., None], tmp_path: Path
) -> None:
    async def use(opened: Ledger) -> None:
        for n in range(40):
            await opened.append(intent(f"later{n}"))
        for name in ("ledger.db", "ledger.db-wal"):
            (tmp_path / name).write_bytes((ledger.parent / name).read_bytes())

    with_ledger(use, checkpoint_entries=20)
    keys = read_public_keys(ledger.parent / "keys" / "ledger.pub")
    log = tmp_path / "ledger.db-wal"
    assert verify([tmp_path / "ledger.db"], keys, live=True).findings == ()
    whole = bytearray(log.read_bytes())
    at = whole.index(b"later5")
    whole[at : at + 6] = b"earlie"
    log.write_bytes(whole)
    kept = {"kept": (ledger.parent / "checkpoint").read_text()}
    found = verify([tmp_path / "ledger.db"], keys, live=True, kept=kept).findings
    assert found
    assert found[0].kind in ("truncated", "damaged")
