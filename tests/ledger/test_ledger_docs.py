"""What the documentation says of the ledger works: each query finds something, a proof holds without us."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from ledger_samples import intent, outcome

from callgate.cli import main
from callgate.journal import Record
from callgate.ledger import Ledger

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ledger.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
README_QUERIES = re.findall(r'sqlite-utils \S*ledger\.db "(.*?)"', README, re.DOTALL)

SECRET = "arn:aws:secretsmanager:eu-central-1:111111111111:secret:app/db-*"
TRAIL = """
CREATE TABLE cloudtrail (eventTime, eventSource, eventName, sourceIPAddress, userAgent, requestID);
INSERT INTO cloudtrail VALUES
  ('2027-01-31T08:00:00Z', 's3.amazonaws.com', 'GetObject', '10.0.0.1',
   'Boto3 callgate/cg-000000000000000000000001', 'R1'),
  ('2027-01-31T08:00:01Z', 's3.amazonaws.com', 'GetObject', '10.6.6.6', 'Boto3', 'R2'),
  ('2027-01-31T08:00:02Z', 's3.amazonaws.com', 'GetObject', '10.6.6.6', 'x callgate/cg-forged', 'R3');
"""


def body(call_id: str, name: str, arn: str, principal: str = "github:acme/infra", **more: object) -> Record:
    identity = {
        "principalId": principal,
        "sessionId": f"s-{principal}",
        "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
    }
    resources = [{"action": "x:y", "ARN": arn}, {"action": "s3:DeleteObject", "ARN": "arn:aws:s3:::prod/key"}]
    resources = resources if name == "DeleteObjects" else resources[:1]
    return intent(call_id, userIdentity=identity, service="s3", eventName=name, resources=resources, **more)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger in which every question of the documentation has an answer."""
    import asyncio

    from callgate.ledger import Signer

    state = tmp_path_factory.mktemp("docs") / "state"
    key = Signer.create(state / "keys" / "ledger.key", "callgate.test/log")

    async def fill() -> None:
        ledger = Ledger.open(state, signer=key, origin="callgate.test/log")
        pods = {"run_id": "1234", "kubernetes.io": {"pod": {"name": "web-7d4b9"}}}
        for principal in ("github:acme/infra", "kubernetes:prod:web"):
            session = {"sessionId": f"s-{principal}", "principalId": principal, "issuer": "i", "claims": pods}
            await ledger.append(Record("session.opened", session, f"s-{principal}", "opened"))
        hold = {"holdId": "h-1", "principalId": "github:acme/infra", "asked": {}, "state": "pending"}
        await ledger.append(Record("hold.opened", hold, "h-1", "opened"))
        approved = {
            "holdId": "h-1",
            "state": "approved",
            "by": "ada",
            "via": "cli",
            "reason": "ok",
            "approvals": [],
        }
        await ledger.append(Record("hold.approved", approved, "h-1", "decided"))
        masks = {"effect": "allow", "rules": ["r"], "code": "rule-allow", "masks": ["secrets"]}
        calls = [
            body("cg-000000000000000000000001", "DeleteObjects", "arn:aws:s3:::prod/other", holdId="h-1"),
            body("cg-2", "PutSecretValue", SECRET, "kubernetes:prod:web"),
            body("cg-3", "GetSecretValue", SECRET, decision=masks),
            body("cg-4", "DeleteBucket", "arn:aws:s3:::billing"),
        ]
        for call in calls:
            await ledger.append(call)
            await ledger.append(outcome(str(call.subject), masked=["$.SecretString"]))
        refused = {
            **body("cg-5", "DeleteBucket", "arn:aws:s3:::billing").body,
            "reason": "rule-deny",
            "result": "refused",
        }
        await ledger.append(Record("call.refused", refused, "cg-5", "end"))
        await ledger.close()

    asyncio.run(fill())
    return state / "ledger.db"


def test_the_page_answers_ten_questions() -> None:
    assert len(QUERIES) == 10


@pytest.mark.parametrize("query", QUERIES[:-1], ids=lambda query: " ".join(query.split())[:60])
def test_every_question_of_the_page_finds_its_answer(ledger: Path, query: str) -> None:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        assert db.execute(query).fetchall()


@pytest.mark.parametrize("query", README_QUERIES, ids=lambda query: " ".join(query.split())[:60])
def test_every_question_of_the_readme_finds_its_answer(ledger: Path, query: str) -> None:
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        assert db.execute(query).fetchall()


def test_masked_secrets_are_found_by_an_index_however_many_were_read(ledger: Path) -> None:
    (query,) = [query for query in README_QUERIES if "masks is not null" in query]
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db:
        assert any("calls_masked" in row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}"))


def test_calls_in_cloudtrail_that_did_not_come_this_way_are_found(ledger: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "trail.db")) as db:
        db.executescript(TRAIL)
        db.execute("ATTACH ? AS callgate", (str(ledger),))
        assert [row[4] for row in db.execute(QUERIES[-1])] == ["Boto3", "x callgate/cg-forged"]


def test_a_proof_is_checked_by_the_page_s_program_and_a_changed_one_is_not(
    ledger: Path, tmp_path: Path
) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    key = ledger.parent / "keys" / "ledger.pub"
    size = 13
    for seq in (0, 5, size - 1):
        proof = tmp_path / f"{seq}.tlog-proof"
        result = CliRunner().invoke(main, ["prove", str(seq), "--ledger", str(ledger), "--out", str(proof)])
        assert result.exit_code == 0, result.output
        checked = subprocess.run([sys.executable, "-c", program, proof, key], capture_output=True, text=True)
        assert f"entry {seq} is in the log callgate.test/log of {size} entries" in checked.stdout, (
            checked.stderr
        )
        ours = CliRunner().invoke(main, ["check-proof", str(proof), "--key", str(key)])
        assert (ours.exit_code, f"entry {seq}" in ours.output) == (0, True)
    forged = proof.read_text().replace(f"index {size - 1}", "index 3")
    (tmp_path / "forged").write_text(forged)
    assert subprocess.run(
        [sys.executable, "-c", program, tmp_path / "forged", key], capture_output=True
    ).returncode
    ours = CliRunner().invoke(main, ["check-proof", str(tmp_path / "forged"), "--key", str(key)])
    assert ours.exit_code == 1


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b"index 5", b"index 6", "does not lead"),
        (b"index 5", b"index " + b"9" * 5000, "not a proof"),
        (b"extra e", b"extra f", "does not lead"),
        (b"callgate.test/log\n", b"callgate.test/other\n", "signature"),
        (b"c2sp", b"\xff", "not text"),
        (b"\n\n", b"\n", "not a proof"),
        ("— callgate.test".encode(), "— callgate.else".encode(), "no key that is trusted"),
    ],
)
def test_a_proof_that_was_changed_in_any_part_does_not_hold(
    ledger: Path, old: bytes, new: bytes, why: str
) -> None:
    proof = CliRunner().invoke(main, ["prove", "5", "--ledger", str(ledger)]).stdout_bytes
    assert old in proof
    key = str(ledger.parent / "keys" / "ledger.pub")
    checked = CliRunner().invoke(main, ["check-proof", "-", "--key", key], input=proof.replace(old, new))
    assert (checked.exit_code, why in checked.output) == (1, True), checked.output


@pytest.mark.parametrize(
    "name", ["verify", "prove", "check-proof", "log", "report", "export", "backup", "archive"]
)
def test_every_command_on_the_ledger_is_on_the_page_and_has_an_example_in_its_help(name: str) -> None:
    assert f"callgate {name}" in PAGE
    help_text = CliRunner().invoke(main, [name, "--help"]).output
    assert f"callgate {name}" in help_text.partition("Options:")[0].replace("Usage: callgate", "")


def test_reading_goes_on_while_the_gateway_writes(with_ledger: Callable[..., None], state: Path) -> None:
    async def use(ledger: Ledger) -> None:
        with closing(sqlite3.connect(f"file:{state}/ledger.db?mode=ro", uri=True)) as db:
            for n in range(5):
                await ledger.append(intent(f"c{n}"))
                started = time.monotonic()
                assert db.execute("SELECT count(*) FROM calls").fetchone() == (n + 1,)
                assert time.monotonic() - started < 5

    with_ledger(use)
