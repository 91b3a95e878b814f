"""The ledger beside plain sqlite3: pairs per second, size, verify, and the questions of the documentation.

    scripts/bench ledger [--calls N] [--json]

Throughput: 64 calls at a time, each an intent that is synced and then an outcome that is synced, against
plain sqlite3 that inserts the same rows into the same schema in the same batches; the two alternate, the
figure is the median. Size: a log that grew call by call. Verify and questions: a log of N calls.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ledger_mix import calls

from callgate.ledger import Checkpoint, Ledger, Signer, schema
from callgate.ledger.entries import Draft
from callgate.ledger.group import Append, write_group
from callgate.ledger.stats import QUESTIONS, ask
from callgate.ledger.store import Row, Store
from callgate.ledger.tree import Frontier
from callgate.ledger.verify import verify

ORIGIN = "callgate.bench/log"
LANES = 64
PAGE = Path(__file__).parents[2] / "docs/ledger.md"


def pairs_per_second(folder: Path, count: int, batches: list[Sequence[Row]]) -> float:
    """Through the ledger; notes the batches that were committed."""
    insert = Store.insert

    def noting(store: Store, rows: Sequence[Row]) -> None:
        insert(store, rows)
        batches.append(rows)

    async def lane(ledger: Ledger, pairs: Iterator[tuple[object, ...]]) -> None:
        for records in pairs:
            for record in records:
                await ledger.append(record)  # type: ignore[arg-type]

    async def run() -> float:
        ledger = Ledger.open(folder, signer=Signer.create(folder / "keys/ledger.key", ORIGIN), origin=ORIGIN)
        pairs = iter(list(itertools.islice((c for c in calls(count * 2) if len(c) == 2), count)))
        start = time.perf_counter()
        await asyncio.gather(*(lane(ledger, pairs) for _ in range(LANES)))
        taken = time.perf_counter() - start
        await ledger.close()
        return count / taken

    Store.insert = noting  # type: ignore[method-assign]
    try:
        return asyncio.run(run())
    finally:
        Store.insert = insert  # type: ignore[method-assign]


def plain_pairs_per_second(path: Path, count: int, batches: Sequence[Sequence[Row]]) -> float:
    """The same rows in the same batches with nothing but sqlite3."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
        for pragma in (
            "page_size = 8192",
            "journal_mode = WAL",
            "synchronous = FULL",
            "wal_autocheckpoint = 2000",
        ):
            db.execute(f"PRAGMA {pragma}")
        schema.create(db)
        start = time.perf_counter()
        for rows in batches:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO entries (seq, entry, leaf) VALUES (?, ?, ?)", rows)
            db.execute("COMMIT")
        return count / (time.perf_counter() - start)


def throughput(count: int, rounds: int) -> dict[str, float]:
    """Medians of both, and of their ratio round by round."""
    ours, plain, ratios = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            batches: list[Sequence[Row]] = []
            ours.append(pairs_per_second(Path(folder) / "ours", count, batches))
            plain.append(plain_pairs_per_second(Path(folder) / "plain.db", count, batches))
            ratios.append(ours[-1] / plain[-1])
    return {
        "pairs_per_second": statistics.median(ours),
        "plain_sqlite3_pairs_per_second": statistics.median(plain),
        "ratio": statistics.median(ratios),
    }


def grow(folder: Path, count: int, *, indexed: bool) -> Path:
    """A signed log of `count` calls. Without syncs; with `indexed` false its indexes are built at the end."""
    signer = Signer.create(folder / "keys/ledger.key", ORIGIN)
    path = folder / "ledger.db"
    store = Store(path)
    database = store._connection
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA cache_size = -500000")
    if not indexed:
        for name in schema._INDEXES:
            database.execute(f"DROP INDEX {name}")
    tree, now = Frontier(), 1.79e9
    for group in itertools.batched(calls(count), 250):
        now += 250 * 30.0
        with store.transaction():
            tree, _ = write_group(
                store, tree, [Append(tuple(map(Draft.of, records))) for records in group], now
            )
            store.insert_checkpoint(Checkpoint.sign(signer, ORIGIN, tree.size, tree.root()), tree)
    if not indexed:
        with store.transaction():
            schema.rebuild(database)
    store.close()
    return path


def bytes_per_call(count: int) -> float:
    """On disk, with indexes."""
    with tempfile.TemporaryDirectory() as folder:
        return grow(Path(folder), count, indexed=True).stat().st_size / count


def verified_per_second(path: Path) -> float:
    """Entries a second that `callgate verify` checks, with SQLite's integrity check beside."""
    keys = (Signer.load(path.parent / "keys/ledger.key").public,)
    start = time.perf_counter()
    verdict = verify([path], keys)
    if verdict.findings:
        raise SystemExit(f"the log that was just written does not verify: {verdict.findings[0]}")
    return verdict.size / (time.perf_counter() - start)


def questions(path: Path) -> dict[str, float]:
    """Seconds for each question of docs/ledger.md, with names that are in this log, and of the statistics."""
    queries = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[:-1]
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:

        def one(sql: str) -> str:
            return str(db.execute(sql).fetchone()[0])

        names = {
            "arn:aws:s3:::prod/key": one(
                "SELECT resource FROM requests WHERE eventName = 'DeleteObject' LIMIT 1"
            ),
            "'1234'": "'10000000777'",
            "arn:aws:secretsmanager:eu-central-1:111111111111:secret:app/db-*": one(
                "SELECT resource FROM requests WHERE eventName = 'PutSecretValue' LIMIT 1"
            ),
            "ASIAIOSFODNN7EXAMPLE": one("SELECT accessKeyId FROM requests LIMIT 1"),
            "'now'": f"'{one('SELECT max(time) FROM entries')[:19]}'",
        }
        taken = {}
        for query in queries:
            for name, real in names.items():
                query = query.replace(name, real)
            start = time.perf_counter()
            db.execute(query).fetchall()
            taken[" ".join(query.split())] = time.perf_counter() - start
        for name in QUESTIONS:
            start = time.perf_counter()
            ask(db, [name])
            taken[f"stats: {name}"] = time.perf_counter() - start
    return taken


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench ledger", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    found: dict[str, object] = throughput(options.pairs, options.rounds)
    found["bytes_per_call"] = bytes_per_call(min(options.calls, 100_000))
    with tempfile.TemporaryDirectory() as folder:
        path = grow(Path(folder), options.calls, indexed=False)
        found["verified_entries_per_second"] = verified_per_second(path)
        found["question_seconds"] = questions(path)
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        return
    print(f"{found['pairs_per_second']:8.0f} pairs a second, intent and outcome synced, {LANES} at a time")
    print(
        f"{found['plain_sqlite3_pairs_per_second']:8.0f} the same rows in the same batches with plain sqlite3"
    )
    print(f"{found['ratio']:8.2f} of it")
    print(f"{found['bytes_per_call']:8.0f} bytes a call on disk, with indexes")
    print(f"{found['verified_entries_per_second']:8.0f} entries a second verified")
    print(f"\nSeconds for each question on {options.calls:,} calls:")
    for query, seconds in found["question_seconds"].items():  # type: ignore[attr-defined]
        print(f"{seconds:8.3f} {query[:100]}")


if __name__ == "__main__":
    main()
