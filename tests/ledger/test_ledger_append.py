"""Appending: order, atomicity, uniqueness, threads, shutdown and start."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import rfc8785
from ledger_samples import intent, outcome

from callgate.call import Refusal
from callgate.journal import Record, StepTaken
from callgate.ledger import Checkpoint, Ledger, LedgerError, read_public_keys
from callgate.ledger.tree import leaf_hash, root_of


def rows(state: Path) -> list[tuple[int, str, bytes]]:
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        return db.execute("SELECT seq, entry, leaf FROM entries ORDER BY seq").fetchall()


def test_entries_are_canonical_json_with_their_place_time_and_kind(
    with_ledger: Callable[..., None], state: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        (entry,) = await ledger.append(Record("rules.loaded", {"digest": "sha256:é", "files": ["a"]}))
        assert (entry.seq, entry.kind, entry.time) == (0, "rules.loaded", 1_700_000_000.123)

    with_ledger(use, clock=lambda: 1_700_000_000.123)
    ((_, text, leaf),) = rows(state)
    said = json.loads(text)
    assert said == {
        "body": {"digest": "sha256:é", "files": ["a"]},
        "kind": "rules.loaded",
        "seq": 0,
        "step": None,
        "subject": None,
        "time": "2023-11-14T22:13:20.123Z",
        "v": 1,
    }
    assert rfc8785.dumps(said) == text.encode()
    assert leaf == leaf_hash(text.encode())


def test_a_taken_step_fails_only_the_append_that_repeats_it(with_ledger: Callable[..., None]) -> None:
    async def use(ledger: Ledger) -> None:
        await ledger.append(intent("c1"))
        results = await asyncio.gather(
            ledger.append(intent("c2")),
            ledger.append(Record("hold.used", {}, subject="h1", step="used"), intent("c1")),
            ledger.append(intent("c3"), outcome("c3")),
            return_exceptions=True,
        )
        assert isinstance(results[1], StepTaken)
        assert [entry.seq for entry in results[0] + results[2]] == [1, 2, 3]
        assert [row["subject"] for row in ledger.query("SELECT subject FROM entries ORDER BY seq")] == [
            "c1",
            "c2",
            "c3",
            "c3",
        ]
        # Nothing of the failed append is left, so its other step is still free.
        await ledger.append(Record("hold.used", {}, subject="h1", step="used"))

    with_ledger(use)


def test_appends_from_several_event_loops_share_one_sequence(
    with_ledger: Callable[..., None], state: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        seqs: list[int] = []

        def other_loop(name: str) -> None:
            async def append() -> None:
                for n in range(25):
                    entries = await asyncio.gather(
                        *(ledger.append(intent(f"{name}-{n}-{m}")) for m in range(4))
                    )
                    seqs.extend(entry.seq for (entry,) in entries)

            asyncio.run(append())

        threads = [threading.Thread(target=other_loop, args=(f"t{n}",)) for n in range(3)]
        for thread in threads:
            thread.start()
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
        assert sorted(seqs) == list(range(300))

    with_ledger(use)
    assert [seq for seq, _, _ in rows(state)] == list(range(300))


def test_checkpoints_come_after_so_many_entries_and_at_the_end(
    with_ledger: Callable[..., None], state: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        for n in range(25):
            await ledger.append(intent(f"c{n}"))
        assert ledger.health().checkpoint_size == 20

    with_ledger(use, checkpoint_entries=10)
    keys = read_public_keys(state / "keys" / "ledger.pub")
    leaves = [leaf for _, _, leaf in rows(state)]
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        notes = [note for (note,) in db.execute("SELECT note FROM checkpoints ORDER BY size")]
    checkpoints = [Checkpoint.verified(note, keys) for note in notes]
    assert [checkpoint.size for checkpoint in checkpoints] == [10, 20, 25]
    assert all(checkpoint.root == root_of(leaves[: checkpoint.size]) for checkpoint in checkpoints)
    assert (state / "checkpoint").read_text() == notes[-1]


def test_a_checkpoint_comes_after_so_many_seconds(with_ledger: Callable[..., None]) -> None:
    async def use(ledger: Ledger) -> None:
        await ledger.append(intent("c1"))
        async with asyncio.timeout(10):
            while ledger.health().checkpoint_size != 1:
                await asyncio.sleep(0.01)

    with_ledger(use, checkpoint_every=0.2)


def test_a_second_gateway_on_the_same_folder_refuses_to_start(
    with_ledger: Callable[..., None], opened: Callable[..., Ledger]
) -> None:
    async def use(ledger: Ledger) -> None:
        with pytest.raises(LedgerError, match="another gateway"):
            opened()

    with_ledger(use)
    with_ledger(lambda ledger: ledger.append(intent("c1")))


def test_the_next_start_goes_on_where_the_last_one_ended(
    with_ledger: Callable[..., None], state: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        size = ledger.health().size
        (entry,) = await ledger.append(Record("rules.loaded", {"n": size}))
        assert entry.seq == size

    for _ in range(4):
        with_ledger(use)
    assert [seq for seq, _, _ in rows(state)] == [0, 1, 2, 3]


def test_an_intent_without_an_outcome_gets_one_at_the_next_start(with_ledger: Callable[..., None]) -> None:
    async def first(ledger: Ledger) -> None:
        await ledger.append(Record("gateway.started", {}))
        await ledger.append(intent("c1"), intent("c2"), outcome("c2"))

    async def second(ledger: Ledger) -> None:
        unknown = "SELECT callId, result FROM calls WHERE result = 'unknown'"
        assert ledger.query(unknown) == [{"callId": "c1", "result": "unknown"}]
        with pytest.raises(StepTaken):
            await ledger.append(outcome("c1"))

    with_ledger(first)
    with_ledger(second)
    with_ledger(second)


def test_a_clock_that_goes_back_is_noted_and_a_small_step_is_held(with_ledger: Callable[..., None]) -> None:
    now = [1000.0]

    async def use(ledger: Ledger) -> None:
        for reading in (1000.0, 999.5, 1001.0, 400.0):
            now[0] = reading
            await ledger.append(Record("rules.loaded", {}))
        found = ledger.query("SELECT kind, time FROM entries ORDER BY seq")
        assert [(row["kind"], row["time"][14:19]) for row in found] == [
            ("rules.loaded", "16:40"),
            ("rules.loaded", "16:40"),
            ("rules.loaded", "16:41"),
            ("clock.stepped", "06:40"),
            ("rules.loaded", "06:40"),
        ]

    with_ledger(use, clock=lambda: now[0])


def test_last_entries_are_the_last_of_each_subject_oldest_first(with_ledger: Callable[..., None]) -> None:
    async def use(ledger: Ledger) -> None:
        for subject, step in [("a", "opened"), ("b", "opened"), ("c", "opened"), ("a", "closed")]:
            await ledger.append(Record(f"session.{step}", {"n": subject}, subject=subject, step=step))
        await ledger.append(Record("session.other", {}, subject="b", step="other"), intent("c1"))
        last = list(ledger.last_entries(["session.opened", "session.closed"]))
        assert [(entry.subject, entry.kind, entry.body) for entry in last] == [
            ("b", "session.opened", {"n": "b"}),
            ("c", "session.opened", {"n": "c"}),
            ("a", "session.closed", {"n": "a"}),
        ]

    with_ledger(use)


def test_what_cannot_be_recorded_is_refused_and_what_follows_is_not(with_ledger: Callable[..., None]) -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    async def use(ledger: Ledger) -> None:
        with pytest.raises(Refusal, match="ledger-unrecordable"):
            await ledger.append(intent("c1", requestParameters=deep))
        await ledger.append(intent("c1"))

    with_ledger(use)


def test_a_closed_ledger_refuses(with_ledger: Callable[..., None]) -> None:
    kept: list[Ledger] = []

    async def use(ledger: Ledger) -> None:
        kept.append(ledger)

    with_ledger(use)
    with pytest.raises(Refusal, match="ledger-unavailable"):
        asyncio.run(kept[0].append(intent("c1")))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET entry = '{}'",
        "DELETE FROM entries WHERE seq = 1",
        "INSERT INTO entries (seq, entry, leaf) VALUES (7, '{}', x'00')",
        "INSERT OR REPLACE INTO entries (seq, entry, leaf) VALUES (0, '{}', x'00')",
        "UPDATE checkpoints SET note = ''",
        "DELETE FROM checkpoints",
    ],
)
def test_sqlite_itself_refuses_to_change_the_log(
    with_ledger: Callable[..., None], state: Path, statement: str
) -> None:
    with_ledger(lambda ledger: ledger.append(intent("c1"), outcome("c1")))
    with closing(sqlite3.connect(state / "ledger.db")) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute(statement)


@pytest.mark.case("G04")
def test_an_older_copy_of_the_database_is_refused_until_the_gap_is_declared(
    with_ledger: Callable[..., None], opened: Callable[..., Ledger], state: Path
) -> None:
    with_ledger(lambda ledger: ledger.append(intent("c1"), outcome("c1")))
    older = (state / "ledger.db").read_bytes()
    with_ledger(lambda ledger: ledger.append(intent("c2"), outcome("c2")))
    (state / "ledger.db").write_bytes(older)

    with pytest.raises(LedgerError, match="rolled back: it holds 2 entries, but a checkpoint over 4"):
        opened()

    async def use(ledger: Ledger) -> None:
        (gap,) = ledger.query(
            "SELECT entry ->> '$.body.reason' AS reason FROM entries WHERE kind = 'ledger.gap'"
        )
        assert gap == {"reason": "disk lost, restored from backup"}

    with_ledger(use, accept_gap="disk lost, restored from backup")
    with_ledger(use)


def test_a_database_of_a_newer_release_is_refused(
    with_ledger: Callable[..., None], opened: Callable[..., Ledger], state: Path
) -> None:
    with_ledger(lambda ledger: ledger.append(intent("c1")))
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="newer Callgate"):
        opened()


def test_an_upgrade_rebuilds_views_and_indexes_and_leaves_the_entries(
    with_ledger: Callable[..., None], state: Path
) -> None:
    with_ledger(lambda ledger: ledger.append(intent("c1"), outcome("c1")))
    before = rows(state)
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        db.executescript(
            "DROP VIEW calls; DROP INDEX calls_time; CREATE VIEW calls AS SELECT 1; PRAGMA user_version = 0"
        )

    async def use(ledger: Ledger) -> None:
        assert [row["result"] for row in ledger.query("SELECT result FROM calls")] == ["completed"]

    with_ledger(use)
    assert rows(state) == before


def test_a_database_that_is_no_ledger_is_refused(opened: Callable[..., Ledger], state: Path) -> None:
    with closing(sqlite3.connect(state / "ledger.db")) as db:
        db.execute("CREATE TABLE t (a)")
    with pytest.raises(LedgerError, match="not a Callgate ledger"):
        opened()
