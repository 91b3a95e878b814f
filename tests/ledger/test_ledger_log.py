"""callgate log: filters, one call in full, numbers; and declaring a gap."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ledger_samples import intent, outcome

from callgate.cli import main
from callgate.journal import Record
from callgate.ledger import Ledger, search
from callgate.ledger.search import Filter, moment

BATCH = [{"action": "s3:DeleteObject", "ARN": f"arn:aws:s3:::prod/{name}"} for name in ("a", "b")]


@pytest.fixture
def ledger(with_ledger: Callable[..., None], state: Path) -> Path:
    async def use(ledger: Ledger) -> None:
        claims = {
            "sessionId": "s-1",
            "principalId": "github:acme/infra",
            "issuer": "github",
            "claims": {"run_id": "1234"},
        }
        await ledger.append(Record("session.opened", claims, "s-1", "opened"))
        other = {"principalId": "gitlab:acme/app", "sessionId": "s-2", "accessKeyId": "ASIA1"}
        mine = {"principalId": "github:acme/infra", "sessionId": "s-1", "accessKeyId": "ASIA1"}
        await ledger.append(
            intent("c1", userIdentity=mine, service="s3", requestParameters={"Key": 'a "needle"'})
        )
        await ledger.append(outcome("c1", durationMs=12.5))
        await ledger.append(
            intent(
                "c2",
                userIdentity=other,
                service="s3",
                eventName="DeleteObjects",
                resources=BATCH,
                holdId="h-1",
                requestParameters={"Bucket": "prod"},
            )
        )
        await ledger.append(outcome("c2", errorCode="SlowDown", statusCode=503))
        refused = {
            **intent("c3", userIdentity=other, service="s3", requestParameters={"Bucket": "prod"}).body,
            "reason": "rule-deny",
            "message": "No.",
        }
        await ledger.append(Record("call.refused", refused, "c3", "end"))
        pending = {**refused, "reason": "hold-pending"}
        await ledger.append(Record("call.refused", pending, "c4", "end"))

    with_ledger(use)
    return state


def run(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize(
    ("filters", "calls"),
    [
        ([], ["c1", "c2", "c3", "c4"]),
        (["--principal", "github:*"], ["c1"]),
        (["--operation", "s3:DeleteObjects"], ["c2"]),
        (["--operation", "Delete*"], ["c2"]),
        (["--resource", "arn:aws:s3:::prod/b"], ["c2"]),
        (["--resource", "arn:aws:s3:::prod/*"], ["c2"]),
        (["--verdict", "denied"], ["c3"]),
        (["--verdict", "held"], ["c4"]),
        (["--verdict", "approved"], ["c2"]),
        (["--session", "s-1"], ["c1"]),
        (["--run", "1234"], ["c1"]),
        (["--search", "needle"], ["c1"]),
        (["--search", 'a "needle"'], ["c1"]),
        (["--search", '{"Key":"a '], ["c1"]),
        (["--search", "needle", "--principal", "gitlab:acme/app"], []),
        (["--search", "needle", "--principal", "github:*", "--since", "1h"], ["c1"]),
        (["--search", "GetObject"], []),
        (["--since", "1h"], ["c1", "c2", "c3", "c4"]),
        (["--until", "2020-01-01"], []),
        (["--limit", "1"], ["c4"]),
    ],
)
def test_filters_find_calls(ledger: Path, filters: list[str], calls: list[str]) -> None:
    output = run("log", "--ledger", ledger, "--json", *filters)
    assert [json.loads(line)["callId"] for line in output.splitlines()] == calls


def test_a_search_reads_back_from_the_newest_entry_until_it_has_found_enough(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "_STEP", 2)
    read: list[tuple[int, int]] = []
    with closing(sqlite3.connect(ledger / "ledger.db")) as database:
        size = database.execute("SELECT count(*) FROM entries").fetchone()[0]

        def find(limit: int, text: str) -> list[str]:
            read.clear()
            columns = [column[1] for column in database.execute("PRAGMA table_info(calls)")]
            rows = Filter(search=text).newest(database, limit, lambda done, of: read.append((done, of)))
            return [row[columns.index("callId")] for row in rows]

        assert find(2, "Bucket") == ["c4", "c3"]
        assert len(read) * 2 < size
        assert find(9, "Bucket") == ["c4", "c3", "c2"]
        assert read[-1] == (size, size)
        assert find(1, "nothing") == []


def test_calls_are_lines_that_people_read(ledger: Path) -> None:
    lines = run("log", "--ledger", ledger).splitlines()
    assert ["✔" in lines[0], "s3:GetObject" in lines[0], "200 12 ms" in lines[0]] == [True] * 3
    assert "503 SlowDown" in lines[1]
    assert "✘" in lines[2]
    assert "rule-deny" in lines[2]


def test_one_call_is_shown_in_full_by_its_id_or_an_entrys_number(ledger: Path) -> None:
    for name in ("c2", "3"):
        card = run("log", "--ledger", ledger, "show", name)
        assert all(
            part in card
            for part in ("gitlab:acme/app", "arn:aws:s3:::prod/b", "call.intent", "h-1", "SlowDown")
        )
    assert json.loads(run("log", "show", "c1", "--ledger", ledger, "--json"))["requestParameters"] == {
        "Key": 'a "needle"'
    }
    assert json.loads(run("log", "show", "0", "--ledger", ledger, "--json"))["kind"] == "session.opened"
    run("log", "show", "nobody", "--ledger", ledger, status=1)


def test_numbers_tell_who_does_what_and_which_keys_are_shared(ledger: Path) -> None:
    found: dict[str, Any] = json.loads(run("log", "stats", "--ledger", ledger, "--json"))
    assert {row["verdict"]: row["calls"] for row in found["verdicts"]} == {
        "allowed": 1,
        "approved": 1,
        "denied": 1,
        "held": 1,
    }
    assert found["principals"][0] == {
        "principalId": "gitlab:acme/app",
        "calls": 3,
        "denied": 1,
        "held": 1,
        "approved": 1,
        "operations": 2,
    }
    (shared,) = found["shared_keys"]
    assert (shared["accessKeyId"], shared["principals"]) == ("ASIA1", 2)
    assert {row["principalId"] for row in found["new_principals"]} == {"gitlab:acme/app", "github:acme/infra"}
    text = run("log", "--ledger", ledger, "stats")
    assert all(part in text for part in ("Who calls", "Denied", "Access keys that several principals use"))


def test_moments_are_ages_dates_and_times() -> None:
    assert moment("1h", now=7200.0) == "1970-01-01T01:00:00.000Z"
    assert moment("2027-01-31") == "2027-01-31T00:00:00.000Z"
    assert moment("2027-01-31T12:00:00+02:00") == "2027-01-31T10:00:00.000Z"
    with pytest.raises(ValueError, match="neither a time ago"):
        moment("yesterday")


def test_a_filter_puts_no_text_into_sql() -> None:
    condition, values = Filter(principal="x' OR 1", search="'; DROP").where()
    assert "DROP" not in condition
    assert values == ["x' OR 1", "'; DROP"]


def test_a_missing_ledger_is_one_line_and_status_2(tmp_path: Path) -> None:
    assert run("log", "--ledger", tmp_path / "none.db", status=2).count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (["log", "show", "9" * 30], 1, "there is no call 999"),
        (["log", "show", "99"], 1, "there is no entry 99"),
        (["prove", "99"], 1, "there is no entry 99"),
        (["prove", "9" * 30], 2, "is not in the range"),
        (["prove", "0", "--out", "/nowhere/proof"], 2, "/nowhere/proof: No such file"),
        (["export", "--out", "/nowhere/log"], 2, "/nowhere/log: No such file"),
        (["verify", "LEDGER", "--checkpoint", "/nowhere/kept"], 2, "/nowhere/kept: No such file"),
        (["verify", "LEDGER", "--key", "/nowhere/key"], 2, "/nowhere/key: No such file"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_with_its_status(
    ledger: Path, arguments: list[str], status: int, line: str
) -> None:
    where = [] if arguments[0] == "verify" else ["--ledger", str(ledger)]
    given = [str(ledger) if argument == "LEDGER" else argument for argument in arguments]
    result = CliRunner().invoke(main, [*given, *where])
    assert (result.exit_code, line in result.output) == (status, True), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "command",
    [
        "verify {0}",
        "log --ledger {0}",
        "log show c1 --ledger {0}",
        "log stats --ledger {0}",
        "prove 1 --ledger {0}",
        "export --ledger {0}",
        "report --ledger {0} --out {0}/r.html",
        "backup {0}/copy --ledger {0}",
        "archive {0}/old.db --before 1d --ledger {0}",
    ],
)
def test_a_newer_format_and_what_is_no_database_are_refused_in_a_line(ledger: Path, command: str) -> None:
    path = ledger / "ledger.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
    assert "newer Callgate" in run(*command.format(ledger).split(), status=2)
    path.write_text("no database")
    said = run(*command.format(ledger).split(), status=1 if command.startswith("verify") else 2)
    assert "not a database" in said
    assert said.count("\n") <= 2


@pytest.mark.parametrize("command", [["log", "--json"], ["export", "--format", "jsonl"]])
def test_who_follows_a_log_that_nobody_writes_sees_the_gateway_start(
    ledger: Path, with_ledger: Callable[..., None], command: list[str]
) -> None:
    program = [
        sys.executable,
        "-c",
        "from callgate.cli import main; main()",
        *command,
        "--ledger",
        str(ledger),
        "--follow",
    ]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        lines = iter(follower.stdout)
        assert any('c4"' in line for line in lines)

        async def use(opened: Ledger) -> None:
            await opened.append(intent("later"), outcome("later"))
            async with asyncio.timeout(20):
                assert await asyncio.to_thread(lambda: any('"later"' in line for line in lines))

        with_ledger(use)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 0
