"""The tampering table: whatever is done to the file is found, with the entry, or changes nothing."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ledger_samples import intent, outcome

from callgate.cli import main
from callgate.journal import Record
from callgate.ledger import Checkpoint, Ledger, Signer, read_public_keys
from callgate.ledger.tree import Frontier, leaf_hash
from callgate.ledger.verify import Verdict
from callgate.ledger.verify import verify as verify_log

ENTRIES = 60


@pytest.fixture
def ledger(with_ledger: Callable[..., None], state: Path) -> Path:
    """A closed ledger: 60 entries, checkpoints at 24, 48 and 60."""

    async def use(ledger: Ledger) -> None:
        for n in range(ENTRIES // 2 - 1):
            await ledger.append(intent(f"c{n}"), outcome(f"c{n}"))
        await ledger.append(Record("rules.loaded", {"n": 1}), Record("gateway.stopped", {}))

    with_ledger(use, checkpoint_entries=24)
    return state / "ledger.db"


def check(ledger: Path, **more: object) -> Verdict:
    keys = read_public_keys(ledger.parent / "keys" / "ledger.pub")
    return verify_log([ledger], keys, **more)  # type: ignore[arg-type]


def found(ledger: Path, **more: object) -> tuple[str, int | None]:
    first = check(ledger, **more).findings[0]
    return first.kind, first.seq


def tamper(ledger: Path, script: str) -> None:
    """Run `script` as somebody with write access would: without the triggers, which are put back."""
    with closing(sqlite3.connect(ledger)) as db:
        triggers = db.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.executescript(script)
        for _, sql in triggers:
            db.execute(sql)
        db.commit()


def rehash(ledger: Path, start: int = 0) -> None:
    with closing(sqlite3.connect(ledger)) as db:
        rows = db.execute("SELECT seq, entry FROM entries WHERE seq >= ?", (start,)).fetchall()
    tamper(
        ledger,
        "".join(
            f"UPDATE entries SET leaf = x'{leaf_hash(e.encode()).hex()}' WHERE seq = {s};" for s, e in rows
        ),
    )


def verify_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


EDIT = "UPDATE entries SET entry = replace(entry, 'github:acme/infra', 'github:evil/infra') WHERE seq = 30;"
SHIFT_DOWN = "UPDATE entries SET seq = -seq WHERE seq > 30; UPDATE entries SET seq = -seq - 1 WHERE seq < 0;"
SHIFT_UP = "UPDATE entries SET seq = -seq WHERE seq >= 30; UPDATE entries SET seq = -seq + 1 WHERE seq < 0;"
COPY = (
    "INSERT INTO entries (seq, entry, leaf) SELECT 30, replace(entry, '\"c1\"', '\"cx\"'), leaf FROM entries"
)


def test_an_untouched_ledger_is_what_was_signed(ledger: Path) -> None:
    verdict = check(ledger, kept={"elsewhere": (ledger.parent / "checkpoint").read_text()})
    assert (verdict.findings, verdict.notes) == ((), ())
    assert (verdict.first, verdict.size, verdict.signed, verdict.checkpoints) == (0, 60, 60, 3)


@pytest.mark.parametrize(
    ("script", "kind", "seq"),
    [
        (EDIT, "edited", 30),
        ("UPDATE entries SET leaf = randomblob(32) WHERE seq = 30;", "edited", 30),
        ("UPDATE entries SET entry = entry || ' ' WHERE seq = 30;", "edited", 30),
        ("DELETE FROM entries WHERE seq = 30;", "missing", 30),
        ("DELETE FROM entries WHERE seq < 30;", "missing", 0),
        ("DELETE FROM entries WHERE seq = 30;" + SHIFT_DOWN, "missing", 30),
        (
            "UPDATE entries SET seq = 99 WHERE seq = 30; UPDATE entries SET seq = 30 WHERE seq = 33;"
            "UPDATE entries SET seq = 33 WHERE seq = 99;",
            "reordered",
            30,
        ),
        (
            "DROP INDEX entries_step; CREATE TABLE t AS SELECT seq, entry FROM entries WHERE seq IN (30, 33);"
            "UPDATE entries SET entry = (SELECT t.entry FROM t WHERE t.seq = 63 - entries.seq)"
            " WHERE seq IN (30, 33);"
            "DROP TABLE t; CREATE UNIQUE INDEX entries_step ON entries (subject, step)",
            "reordered",
            30,
        ),
        (SHIFT_UP + COPY + " WHERE seq = 2;", "inserted", 30),
        (SHIFT_UP + "INSERT INTO entries VALUES (30, '{\"seq\":30}', x'00');", "edited", 30),
        ("DELETE FROM entries WHERE seq >= 50;", "truncated", 50),
        ("DELETE FROM checkpoints WHERE size > 24;", "unsigned tail", 24),
        ("DELETE FROM checkpoints;", "unsigned tail", 0),
        ("UPDATE checkpoints SET note = replace(note, '48', '49') WHERE size = 48;", "edited", 48),
        ("UPDATE checkpoints SET size = 47 WHERE size = 48;", "edited", 47),
        ("DROP VIEW calls; CREATE VIEW calls AS SELECT 1 AS callId;", "altered schema", None),
        ("CREATE VIEW more AS SELECT 1;", "altered schema", None),
        ("DROP INDEX calls_time;", "altered schema", None),
    ],
)
@pytest.mark.case("G01")
def test_tampering_is_found_with_its_kind_and_entry(
    ledger: Path, script: str, kind: str, seq: int | None
) -> None:
    tamper(ledger, script)
    assert found(ledger) == (kind, seq)
    assert verify_command(ledger).exit_code == 1


def test_an_entry_whose_hash_was_recomputed_is_found_by_the_next_checkpoint(ledger: Path) -> None:
    tamper(ledger, EDIT)
    rehash(ledger)
    verdict = check(ledger)
    assert (verdict.findings[0].kind, verdict.findings[0].seq) == ("edited", 24)
    assert "one of the entries 24 to 47" in verdict.findings[0].text


def test_entries_added_at_the_end_are_an_unsigned_tail(ledger: Path) -> None:
    with closing(sqlite3.connect(ledger)) as db:
        (entry,) = db.execute("SELECT entry FROM entries WHERE seq = 59").fetchone()
        entry = entry.replace('"seq":59', '"seq":60')
        db.execute(
            "INSERT INTO entries (seq, entry, leaf) VALUES (60, ?, ?)", (entry, leaf_hash(entry.encode()))
        )
        db.commit()
    assert found(ledger) == ("unsigned tail", 60)
    assert check(ledger, live=True).findings == ()


@pytest.mark.case("G03")
def test_everything_recomputed_with_another_key_is_found(ledger: Path, tmp_path: Path) -> None:
    tamper(ledger, EDIT)
    rehash(ledger)
    forger = Signer.create(tmp_path / "forged.key", "callgate.test/log")
    tree = Frontier()
    with closing(sqlite3.connect(ledger)) as db:
        for (leaf,) in db.execute("SELECT leaf FROM entries ORDER BY seq").fetchall():
            tree.push(leaf)
    note = Checkpoint.sign(forger, "callgate.test/log", tree.size, tree.root()).note
    values = f"60, '{note}', x'{tree.to_bytes().hex()}'"
    tamper(ledger, f"DELETE FROM checkpoints; INSERT INTO checkpoints VALUES ({values});")
    assert found(ledger) == ("edited", 60)


@pytest.mark.case("G02")
def test_a_cut_that_takes_the_checkpoints_along_is_found_by_one_kept_elsewhere(ledger: Path) -> None:
    kept = {"elsewhere": (ledger.parent / "checkpoint").read_text()}
    tamper(ledger, "DELETE FROM entries WHERE seq >= 48; DELETE FROM checkpoints WHERE size > 48;")
    assert check(ledger).findings == ()
    assert found(ledger, kept=kept) == ("truncated", 48)
    assert verify_command(ledger).exit_code == 1, "the checkpoint beside the database tells"


def test_a_fork_signed_with_the_right_key_is_found_by_one_kept_elsewhere(
    ledger: Path, with_ledger: Callable[..., None]
) -> None:
    kept = {"elsewhere": (ledger.parent / "checkpoint").read_text()}
    tamper(ledger, "DELETE FROM entries WHERE seq >= 48; DELETE FROM checkpoints WHERE size > 48;")
    (ledger.parent / "checkpoint").unlink()

    async def use(ledger: Ledger) -> None:
        for n in range(20):
            await ledger.append(intent(f"other{n}"), outcome(f"other{n}"))

    with_ledger(use)
    assert check(ledger).findings == ()
    assert found(ledger, kept=kept) == ("forked", 60)


def test_a_declared_gap_is_told_and_is_no_finding(ledger: Path, with_ledger: Callable[..., None]) -> None:
    kept = {"elsewhere": (ledger.parent / "checkpoint").read_text()}
    tamper(ledger, "DELETE FROM entries WHERE seq >= 48; DELETE FROM checkpoints WHERE size > 48;")
    with_ledger(lambda ledger: ledger.append(intent("later")), accept_gap="restored after a disk failure")
    verdict = check(ledger, kept=kept)
    assert verdict.findings == ()
    assert any("restored after a disk failure" in note for note in verdict.notes)


def test_a_checkpoint_that_the_key_did_not_sign_cannot_be_compared(ledger: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text((ledger.parent / "checkpoint").read_text().replace("60", "61"))
    result = verify_command(ledger, "--checkpoint", tmp_path / "kept")
    assert (result.exit_code, "kept: not a checkpoint of this log" in result.output) == (2, True)


@pytest.mark.parametrize("missing", ["ledger.db", "keys/ledger.pub"])
def test_what_cannot_be_checked_has_a_status_of_its_own(ledger: Path, missing: str) -> None:
    (ledger.parent / missing).unlink()
    assert verify_command(ledger).exit_code == 2


def test_the_command_tells_a_script_all_of_it(ledger: Path) -> None:
    tamper(ledger, EDIT)
    result = verify_command(ledger, "--json")
    (finding,) = json.loads(result.output)["findings"]
    assert (finding["kind"], finding["seq"], result.exit_code) == ("edited", 30, 1)


def test_a_live_ledger_verifies_while_it_is_written(with_ledger: Callable[..., None], state: Path) -> None:
    async def use(ledger: Ledger) -> None:
        await ledger.append(intent("c1"))
        result = verify_command(state)
        assert result.exit_code == 0
        assert "next checkpoint" in result.output

    with_ledger(use)


def test_copies_with_and_without_their_write_ahead_log_tell_what_they_hold(
    with_ledger: Callable[..., None], state: Path, tmp_path: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        for n in range(10):
            await ledger.append(intent(f"c{n}"))
        for name in ("with", "without"):
            shutil.copytree(state, tmp_path / name, ignore=shutil.ignore_patterns("lock", "*-shm", "*.sock"))
        (tmp_path / "without" / "ledger.db-wal").unlink()

    with_ledger(use, checkpoint_entries=10)
    assert verify_command(tmp_path / "with").exit_code == 0
    result = verify_command(tmp_path / "without")
    assert result.exit_code == 1
    assert "truncated" in result.output or "missing" in result.output


def rows(ledger: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{ledger}?immutable=1", uri=True)) as db:
        return [
            *db.execute("SELECT seq, entry FROM entries ORDER BY seq"),
            *db.execute("SELECT * FROM calls ORDER BY seq"),
            *db.execute("SELECT callId, seq FROM calls WHERE principalId = 'github:acme/infra' ORDER BY seq"),
            *db.execute(
                "SELECT seq FROM calls WHERE eventTime > '2020' AND eventName = 'GetObject' ORDER BY seq"
            ),
        ]


def flips(ledger: Path, count: int) -> None:
    original = ledger.read_bytes()
    expected = rows(ledger)
    copy = ledger.with_name("flipped.db")
    chance = random.Random(6962)
    unchanged = 0
    for _ in range(count):
        at = chance.randrange(len(original))
        flipped = bytearray(original)
        flipped[at] ^= 1 << chance.randrange(8)
        copy.write_bytes(flipped)
        result = verify_command(copy, "--key", ledger.parent / "keys" / "ledger.pub")
        if result.exit_code == 0:
            unchanged += 1
            assert rows(copy) == expected, f"byte {at} was flipped unnoticed"
        else:
            assert result.exit_code in (1, 2), result.exception
    assert unchanged < count


def test_a_flipped_bit_is_found_or_changes_nothing(ledger: Path) -> None:
    flips(ledger, 150)


@pytest.mark.full
@pytest.mark.timeout(900)
def test_many_flipped_bits_are_found_or_change_nothing(ledger: Path) -> None:
    flips(ledger, 5000)
