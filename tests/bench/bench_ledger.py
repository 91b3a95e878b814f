"""The ledger beside plain sqlite3: pairs per second, size, verify, and the questions of the documentation.

    scripts/bench ledger [--calls N] [--log FOLDER] [--json]

Throughput: 64 calls at a time, each an intent that is synced and then an outcome that is synced, against
plain sqlite3 that inserts the same rows into the same schema in the same batches; the two alternate, the
figure is the median. Size: a log that grew call by call. Verify and questions: a log of N calls, a million
unless told; some six minutes, of which building it takes four. `--log` keeps it for the next run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import math
import re
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ledger_mix import calls
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from callgate.ledger import Checkpoint, Ledger, Signer, schema
from callgate.ledger.entries import Draft
from callgate.ledger.group import Append, write_group
from callgate.ledger.stats import QUESTIONS, ask
from callgate.ledger.store import Row, Store
from callgate.ledger.tree import Frontier
from callgate.ledger.verify import verify

ORIGIN = "callgate.bench/log"
LANES = 64
ROOT = Path(__file__).parents[2]
ERRORS = Console(stderr=True)


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
        pairs = iter(
            list(itertools.islice((c for c in calls(count * 2) if c[0].kind == "call.intent"), count))
        )
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
    for _ in track(range(rounds), "Pairs of entries", console=ERRORS):
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
    groups = itertools.batched(calls(count), 250)
    for group in track(groups, f"A log of {count:,} calls", math.ceil(count / 250), console=ERRORS):
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
    """Entries a second that `callgate verify` checks, pages and indexes included."""
    keys = (Signer.load(path.parent / "keys/ledger.key").public,)
    start = time.perf_counter()
    with Progress(console=ERRORS) as bar:
        task = bar.add_task("Verify")
        verdict = verify(
            [path], keys, progress=lambda done, size: bar.update(task, completed=done, total=size)
        )
    if verdict.findings:
        raise SystemExit(f"{path} does not verify: {verdict.findings[0].text}")
    return verdict.size / (time.perf_counter() - start)


def documented() -> list[str]:
    """The queries of README and docs/ledger.md, but for those that want CloudTrail's records."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
    queries = [
        *re.findall(r'sqlite-utils \S*ledger\.db "(.*?)"', readme, re.DOTALL),
        *re.findall(r"```sql\n(.*?)```", page, re.DOTALL),
    ]
    return [query for query in queries if "cloudtrail" not in query]


def questions(path: Path) -> dict[str, float]:
    """Seconds for each documented question, with names that are in this log, and of the statistics."""
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:

        def one(sql: str) -> str:
            return str(db.execute(sql).fetchone()[0])

        names = {
            "'DeleteBucket'": "'DeleteObject'",
            "'1234'": "'10000000777'",
            "ASIAIOSFODNN7EXAMPLE": one("SELECT accessKeyId FROM requests LIMIT 1"),
            "'now'": f"'{one('SELECT max(time) FROM entries')[:19]}'",
        }
        for arn, operation in (
            ("arn:aws:s3:::prod/key", "DeleteObject"),
            ("arn:aws:s3:::billing", "DeleteObject"),
            ("arn:aws:secretsmanager:eu-central-1:111111111111:secret:app/db-*", "PutSecretValue"),
        ):
            names[arn] = one(f"SELECT resource FROM requests WHERE eventName = '{operation}' LIMIT 1")
        taken = {}
        for query in track(documented(), "Questions", console=ERRORS):
            asked = query
            for name, real in names.items():
                asked = asked.replace(name, real)
            start = time.perf_counter()
            db.execute(asked).fetchall()
            taken[" ".join(query.split())] = time.perf_counter() - start
        for name in track(QUESTIONS, "Statistics", console=ERRORS):
            start = time.perf_counter()
            ask(db, [name])
            taken[f"stats: {name}"] = time.perf_counter() - start
    return taken


def limit(question: str) -> float:
    """Seconds that a question may take: what filters answers at once, what counts a whole log need not."""
    counts = "group by" in question.lower() or "shared_keys" in question or question.startswith("stats: ")
    return 10.0 if counts else 0.1


def show(found: dict[str, float], taken: dict[str, float], count: int) -> Table:
    """All figures beside their limits."""
    table = Table("what", "measured", "limit", "", title=f"The ledger, {count:,} calls")
    for name, label, form, low, high in (
        ("pairs_per_second", f"pairs a second, synced, {LANES} at a time", ",.0f", None, None),
        ("plain_sqlite3_pairs_per_second", "the same with plain sqlite3", ",.0f", None, None),
        ("ratio", "of it", ".2f", 0.6, None),
        ("bytes_per_call", "bytes a call on disk, indexes included", ",.0f", None, 2000),
        ("verified_entries_per_second", "entries a second verified", ",.0f", 100_000, None),
    ):
        value, bound = found[name], low or high
        good = bound is None or (value >= bound if low else value <= bound)
        sign = "≥" if low else "≤"
        table.add_row(label, format(value, form), f"{sign} {bound:,}" if bound else "", "✔" if good else "✘")
    table.add_section()
    for question, seconds in taken.items():
        bound = limit(question)
        table.add_row(question, f"{seconds:.3f} s", f"≤ {bound} s", "✔" if seconds <= bound else "✘")
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench ledger", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--log", type=Path, help="keep the log of N calls here, and use the one that is there"
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout, the table on stderr")
    options = parser.parse_args(arguments)
    found = throughput(options.pairs, options.rounds)
    found["bytes_per_call"] = bytes_per_call(min(options.calls, 100_000))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.log or Path(temporary)
        path = folder / "ledger.db"
        if not path.exists():
            path = grow(folder, options.calls, indexed=False)
        found["verified_entries_per_second"] = verified_per_second(path)
        taken = questions(path)
    Console(stderr=options.json).print(show(found, taken, options.calls))
    if options.json:
        json.dump({**found, "question_seconds": taken}, sys.stdout, indent=2)


if __name__ == "__main__":
    main()
