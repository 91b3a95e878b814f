"""Backups while the gateway writes, and archives that verify together with the rest."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ledger_samples import intent, outcome

from callgate.cli import main
from callgate.journal import Record
from callgate.ledger import Ledger, LedgerError, read_public_keys, schema
from callgate.ledger.archive import archive
from callgate.ledger.backup import back_up
from callgate.ledger.entries import timestamp
from callgate.ledger.verify import verify


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_backup_under_load_is_never_short_and_verifies_by_itself(
    with_ledger: Callable[..., None], state: Path, tmp_path: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        stop = asyncio.Event()

        async def load(lane: int) -> None:
            n = 0
            while not stop.is_set():
                await ledger.append(intent(f"c{lane}-{n}"), outcome(f"c{lane}-{n}"))
                n += 1

        lanes = [asyncio.create_task(load(lane)) for lane in range(4)]
        for n in range(3):
            await asyncio.sleep(0.1)
            size = ledger.health().size
            made = await asyncio.to_thread(back_up, state, tmp_path / f"backup{n}")
            assert made.size >= size
            keys = read_public_keys(tmp_path / f"backup{n}" / "keys" / "ledger.pub")
            verdict = verify([tmp_path / f"backup{n}" / "ledger.db"], keys)
            assert (verdict.findings, verdict.size) == ((), made.size)
        stop.set()
        await asyncio.gather(*lanes)

    with_ledger(use, checkpoint_every=0.3)


def test_a_backup_names_the_keys_that_it_leaves_out(
    with_ledger: Callable[..., None], state: Path, tmp_path: Path
) -> None:
    with_ledger(lambda ledger: ledger.append(intent("c1")))
    (state / "ca").mkdir()
    (state / "ca" / "mitmproxy-ca.pem").write_text("private")
    result = run("backup", tmp_path / "backup", "--ledger", state)
    assert result.exit_code == 0, result.output
    flat = result.output.replace("\n", "")
    assert "ledger.key" in flat
    assert "mitmproxy-ca.pem" in flat
    copied = {
        str(path.relative_to(tmp_path / "backup"))
        for path in (tmp_path / "backup").rglob("*")
        if path.is_file()
    }
    assert copied == {"ledger.db", "checkpoint", "keys/ledger.pub"}
    assert run("verify", tmp_path / "backup").exit_code == 0
    assert run("backup", tmp_path / "backup", "--ledger", state).exit_code == 2


def test_a_gateway_goes_on_from_a_restored_backup_once_the_gap_is_declared(
    with_ledger: Callable[..., None], opened: Callable[..., Ledger], state: Path, tmp_path: Path
) -> None:
    with_ledger(lambda ledger: ledger.append(intent("c1")))
    back_up(state, tmp_path / "backup")
    with_ledger(lambda ledger: ledger.append(intent("c2")))
    (state / "ledger.db").write_bytes((tmp_path / "backup" / "ledger.db").read_bytes())
    with pytest.raises(LedgerError, match="rolled back"):
        opened()
    with_ledger(lambda ledger: ledger.append(intent("c3")), accept_gap="restored")
    assert run("verify", state).exit_code == 0


@pytest.fixture
def aged(with_ledger: Callable[..., None], state: Path) -> Path:
    """30 calls, an hour apart, a checkpoint every ten entries; a session that spans entries 12 to 38."""
    now = [1_700_000_000.0]

    async def use(ledger: Ledger) -> None:
        for n in range(30):
            now[0] += 3600
            await ledger.append(intent(f"c{n}"), outcome(f"c{n}"))
            if n in (6, 18):
                step = "opened" if n == 6 else "closed"
                await ledger.append(Record(f"session.{step}", {"sessionId": "s-1"}, "s-1", step))

    with_ledger(use, clock=lambda: now[0], checkpoint_entries=10)
    return state


def hours(count: int) -> str:
    return timestamp(1_700_000_000.0 + 3600 * count)


def checked(paths: list[Path], state: Path) -> tuple[int, int]:
    verdict = verify(paths, read_public_keys(state / "keys" / "ledger.pub"))
    assert verdict.findings == ()
    return verdict.first, verdict.size


def test_archived_entries_and_the_rest_verify_alone_and_together(
    aged: Path, with_ledger: Callable[..., None], tmp_path: Path
) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    assert archive(aged, first, hours(7)).last == 9
    assert checked([first], aged) == (0, 10)
    assert checked([aged / "ledger.db"], aged) == (10, 63)
    assert checked([first, aged / "ledger.db"], aged) == (0, 63)

    with_ledger(lambda ledger: ledger.append(intent("later")))
    moved = archive(aged, second, hours(25))
    assert moved.first == 10
    assert moved.last > 38
    assert checked([first, second, aged / "ledger.db"], aged) == (0, 66)
    assert run("verify", aged, "--archive", first, "--archive", second).exit_code == 0
    edited = first.read_bytes().replace(b"github:acme", b"github:evil")
    first.write_bytes(edited)
    assert run("verify", aged, "--archive", second, "--archive", first).exit_code == 1


def test_what_belongs_to_a_session_that_goes_on_is_not_archived(aged: Path, tmp_path: Path) -> None:
    moved = archive(aged, tmp_path / "archive.db", hours(15))
    assert moved.last == 9


def test_entries_after_an_archived_prefix_can_be_proved(aged: Path, tmp_path: Path) -> None:
    archive(aged, tmp_path / "archive.db", hours(25))
    for seq in (50, 55, 61):
        proof = run("prove", seq, "--ledger", aged)
        assert proof.exit_code == 0, proof.output
        (tmp_path / "proof").write_text(proof.output)
        assert run("check-proof", tmp_path / "proof", "--key", aged / "keys" / "ledger.pub").exit_code == 0
    assert "no entry 3" in run("prove", 3, "--ledger", aged).output
    assert run("prove", 3, "--ledger", tmp_path / "archive.db").exit_code == 0


def test_the_rest_without_its_archive_does_not_hide_a_cut(aged: Path, tmp_path: Path) -> None:
    archive(aged, tmp_path / "archive.db", hours(25))
    with closing(sqlite3.connect(aged / "ledger.db")) as db:
        db.execute("DROP TRIGGER entries_refuse_delete")
        db.execute("DELETE FROM entries WHERE seq < 53")
        db.commit()
    assert run("verify", aged).exit_code == 1


def test_a_beginning_that_was_taken_away_at_a_checkpoint_is_missing_unless_the_log_says_that_it_is_archived(
    aged: Path,
) -> None:
    with closing(sqlite3.connect(aged / "ledger.db")) as db, schema.unguarded(db):
        db.execute("DELETE FROM entries WHERE seq < 20")
        db.execute("DELETE FROM checkpoints WHERE size < 20")
        db.commit()
    (finding,) = verify([aged / "ledger.db"], read_public_keys(aged / "keys" / "ledger.pub")).findings
    assert (finding.kind, finding.seq) == ("missing", 0)


def test_an_archive_is_not_made_while_a_gateway_runs_or_where_nothing_is_old(
    aged: Path, with_ledger: Callable[..., None], tmp_path: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        assert run("archive", tmp_path / "archive.db", "--before", "1d", "--ledger", aged).exit_code == 2

    with_ledger(use)
    result = run("archive", tmp_path / "archive.db", "--before", "2020-01-01", "--ledger", aged)
    assert (result.exit_code, "nothing to move" in result.output) == (2, True)
