"""Exports: valid OCSF, CloudTrail log files, CSV, JSON lines; resumed, followed, to S3."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
from click.testing import CliRunner, Result
from ledger_samples import intent, outcome
from moto import mock_aws

from callgate.cli import main
from callgate.journal import Record
from callgate.ledger import Ledger
from callgate.ledger.export import FORMATS, Place
from callgate.ledger.export import export as export_log
from callgate.ledger.export.sinks import StreamSink
from callgate.ledger.store import open_for_reading
from callgate.ledger.tree import leaf_hash

SCHEMA = json.loads((Path(__file__).parents[1] / "data/ledger/ocsf-api-activity.schema.json").read_text())


@pytest.fixture
def ledger(with_ledger: Callable[..., None], state: Path) -> Path:
    async def use(ledger: Ledger) -> None:
        session = {
            "sessionId": "s-1",
            "principalId": "github:acme/infra",
            "issuer": "github",
            "issuerUrl": "https://token.actions.githubusercontent.com",
            "subject": "repo:acme/infra:ref:refs/heads/main",
            "claims": {"run_id": "1234"},
            "openedAt": 1_700_000_000.5,
        }
        await ledger.append(Record("session.opened", session, "s-1", "opened"))
        await ledger.append(
            intent("c1", userAgent="=cmd()", awsRegion="eu-central-1", sourceIPAddress="10.0.0.7")
        )
        await ledger.append(intent("c2", holdId="hold-1", eventName="DeleteObject"))
        await ledger.append(
            outcome("c2", errorCode="NoSuchKey", statusCode=404, requestID="REQ2", durationMs=12.5)
        )
        await ledger.append(outcome("c1", requestID="REQ1", bytesReceived=5, masked=["$.SecretString"]))
        refused = {
            **intent("c3").body,
            "reason": "rule-deny",
            "message": "No.",
            "statusCode": 403,
            "result": "refused",
        }
        await ledger.append(Record("call.refused", refused, "c3", "end"))
        nobody = {
            "reason": "ambiguous-host",
            "message": "Two hosts.",
            "statusCode": 400,
            "host": "s3.amazonaws.com",
        }
        await ledger.append(Record("call.refused", nobody, "c4", "end"))
        connection = {
            "reason": "no-credential",
            "sourceIPAddress": "unix",
            "target": "x:443",
            "statusCode": 407,
        }
        await ledger.append(Record("connection.refused", {**connection, "count": 3}))

    with_ledger(use)
    return state / "ledger.db"


def run(ledger: Path, *arguments: object) -> Result:
    result = CliRunner().invoke(main, ["export", "--ledger", str(ledger), *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result


def events(ledger: Path, form: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(ledger, "--format", form).output.splitlines()]


def test_ocsf_events_are_valid_and_say_who_what_and_how_it_ended(ledger: Path) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    found = events(ledger, "ocsf")
    for event in found:
        validator.validate(event)
    assert [event["metadata"]["uid"] for event in found] == ["c2", "c1", "c3", "c4", "7"]
    deleted, read, denied, nobody, connection = found
    assert (deleted["type_uid"], deleted["status"], deleted["status_code"]) == (
        600304,
        "Failure",
        "NoSuchKey",
    )
    assert (read["activity_name"], read["status"], read["src_endpoint"]) == (
        "Read",
        "Success",
        {"ip": "10.0.0.7"},
    )
    assert read["actor"]["user"]["name"] == "repo:acme/infra:ref:refs/heads/main"
    assert (denied["action"], denied["disposition"], denied["severity"]) == ("Denied", "Blocked", "Low")
    assert nobody["actor"] == {"app_name": "unknown"}
    assert (connection["count"], connection["api"]["operation"]) == (3, "CONNECT")


def test_cloudtrail_is_one_document_of_records(ledger: Path) -> None:
    records = json.loads(run(ledger, "--format", "cloudtrail").output)["Records"]
    assert [record["eventName"] for record in records] == [
        "DeleteObject",
        "GetObject",
        "GetObject",
        "CONNECT",
        "CONNECT",
    ]
    first = records[0]
    assert first["eventTime"].endswith("Z")
    assert len(first["eventTime"]) == 20
    assert (first["requestID"], first["errorCode"]) == ("REQ2", "NoSuchKey")
    assert first["userIdentity"]["identityProvider"] == "https://token.actions.githubusercontent.com"
    assert records[2]["errorCode"] == "AccessDenied"
    assert first["additionalEventData"]["callgate"]["callId"] == "c2"


def test_csv_has_a_row_a_call_and_no_formulas(ledger: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(ledger, "--format", "csv").output)))
    assert [(row["callId"], row["verdict"], row["statusCode"]) for row in rows] == [
        ("c2", "approved", "404"),
        ("c1", "allowed", "200"),
        ("c3", "denied", "403"),
        ("c4", "denied", "400"),
        ("", "denied", "407"),
    ]
    assert rows[1]["userAgent"] == "'=cmd()"
    assert json.loads(rows[1]["resources"])[0]["ARN"] == "arn:aws:s3:::ci/key"


def test_json_lines_are_the_bytes_that_were_hashed(ledger: Path) -> None:
    lines = run(ledger).output.splitlines()
    with closing(sqlite3.connect(ledger)) as db:
        leaves = [leaf for (leaf,) in db.execute("SELECT leaf FROM entries ORDER BY seq")]
    assert [leaf_hash(line.encode()) for line in lines] == leaves


@pytest.mark.parametrize("form", ["jsonl", "ocsf", "csv"])
def test_an_export_goes_on_where_the_last_one_ended(
    ledger: Path, with_ledger: Callable[..., None], tmp_path: Path, form: str
) -> None:
    out, place = tmp_path / "out", tmp_path / "place"
    run(ledger, "--format", form, "--out", out, "--place", place)
    with_ledger(lambda ledger: ledger.append(intent("c9"), outcome("c9")))
    run(ledger, "--format", form, "--out", out, "--place", place)
    run(ledger, "--format", form, "--out", tmp_path / "whole")
    assert out.read_text() == (tmp_path / "whole").read_text()
    assert "c9" in out.read_text()


def test_from_starts_at_a_sequence_number(ledger: Path) -> None:
    assert [json.loads(line)["seq"] for line in run(ledger, "--from", 6).output.splitlines()] == [6, 7]


def test_a_follower_sees_what_is_appended_and_keeps_its_place(
    with_ledger: Callable[..., None], state: Path, tmp_path: Path
) -> None:
    out = io.BytesIO()
    stop = threading.Event()
    grown = threading.Event()

    class Stream(StreamSink):
        def put(self, first: int, last: int, lines: Any) -> None:
            super().put(first, last, lines)
            if last == 1:
                grown.set()

    async def use(ledger: Ledger) -> None:
        await ledger.append(intent("c1"))
        with closing(open_for_reading(state / "ledger.db")) as db:
            form = FORMATS["jsonl"]
            arguments = {"place": Place(tmp_path / "place"), "stop": stop}
            follower = threading.Thread(
                target=export_log, args=(db, form, Stream(out, form.frame)), kwargs=arguments
            )
            follower.start()
            await ledger.append(outcome("c1"))
            assert grown.wait(20)
            stop.set()
            follower.join()

    with_ledger(use)
    assert [json.loads(line)["kind"] for line in out.getvalue().splitlines()] == [
        "call.intent",
        "call.outcome",
    ]
    assert Place(tmp_path / "place").read() == 2


def test_a_folder_gets_a_gzipped_file_a_batch(ledger: Path, tmp_path: Path) -> None:
    run(ledger, "--format", "cloudtrail", "--out", f"{tmp_path}/trail/")
    (file,) = (tmp_path / "trail").iterdir()
    assert file.name == "callgate-000000000000-000000000007.cloudtrail.json.gz"
    assert len(json.loads(gzip.decompress(file.read_bytes()))["Records"]) == 5


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="audit")
        yield client


def test_s3_gets_an_object_a_batch(ledger: Path, bucket: Any) -> None:
    run(ledger, "--format", "ocsf", "--out", "s3://audit/callgate")
    (found,) = bucket.list_objects_v2(Bucket="audit")["Contents"]
    assert found["Key"] == "callgate/callgate-000000000000-000000000007.ocsf.jsonl.gz"
    body = gzip.decompress(bucket.get_object(Bucket="audit", Key=found["Key"])["Body"].read())
    assert len(body.splitlines()) == 5


def test_a_bucket_that_takes_nothing_is_told_in_a_line_and_the_place_stays(
    ledger: Path, bucket: Any, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    arguments = ["export", "--ledger", str(ledger), "--place", str(place), "--out"]
    result = CliRunner().invoke(main, [*arguments, "s3://other/callgate"])
    assert (result.exit_code, "s3://other: " in result.output, result.output.count("\n")) == (2, True, 1)
    assert not place.exists()
    assert CliRunner().invoke(main, [*arguments, "s3://audit/callgate"]).exit_code == 0
    assert bucket.list_objects_v2(Bucket="audit")["KeyCount"] == 1


def test_a_document_that_has_an_end_is_not_followed_into_one_file(ledger: Path) -> None:
    result = CliRunner().invoke(
        main, ["export", "--ledger", str(ledger), "--format", "cloudtrail", "--follow"]
    )
    assert (result.exit_code, "folder or to S3" in result.output) == (2, True)


@pytest.fixture
def every_ending(with_ledger: Callable[..., None], state: Path) -> Path:
    """A call for each way to end, AWS's or not, with and without what a call may lack."""
    bare = {"host": "example.org", "userAgent": "x" * 1024}
    tunnel = {
        "eventSource": "tunnel.amazonaws.com",
        "eventName": "Connect",
        "service": "tunnel",
        "resources": [{"action": "tunnel:Connect", "ARN": "pypi.org:443"}],
    }
    page = {
        "eventSource": "http",
        "eventName": "GET",
        "service": "http",
        "protocol": "http",
        "resources": [{"action": "http:GET", "ARN": "https://example.org/?q=1"}],
        "requestParameters": {"q": ["1", None, 2**60, {"deep": [1.5]}]},
    }
    ends: list[dict[str, Any]] = [
        {"result": "completed", "statusCode": 200},
        {"result": "completed", "statusCode": 503, "errorCode": "SlowDown", "errorMessage": "Slow down."},
        {"result": "failed", "reason": "upstream-unreachable", "statusCode": None},
        {"result": "abandoned", "reason": "client-gone"},
        {"result": "blocked", "reason": "mask-too-large", "message": "Too large.", "statusCode": 502},
        {"result": "unknown", "reason": "gateway-stopped"},
    ]

    async def use(ledger: Ledger) -> None:
        for number, end in enumerate(ends):
            for kind, body in (("aws", intent("c").body), ("tunnel", tunnel), ("http", page), ("bare", bare)):
                call_id = f"{kind}-{number}"
                asked = Record("call.intent", {**body, **({} if kind == "bare" else bare)}, call_id, "intent")
                ended = {key: value for key, value in end.items() if value is not None}
                await ledger.append(asked, Record("call.outcome", ended, call_id, "end"))
        for kind, body in (("aws", intent("c").body), ("tunnel", tunnel), ("bare", {})):
            refused = {"result": "refused", "reason": "rule-deny", "message": "No.", "statusCode": 403}
            await ledger.append(Record("call.refused", {**body, **refused}, f"refused-{kind}", "end"))
        await ledger.append(Record("connection.refused", {"reason": "no-credential", "count": 1}))

    with_ledger(use)
    return state / "ledger.db"


def test_every_way_to_end_is_a_valid_ocsf_event(every_ending: Path) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    found = events(every_ending, "ocsf")
    assert len(found) == 28
    for event in found:
        assert list(validator.iter_errors(event)) == [], event["metadata"]["uid"]


def test_every_way_to_end_has_what_cloudtrails_records_always_have(every_ending: Path) -> None:
    """https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html"""
    records = json.loads(run(every_ending, "--format", "cloudtrail").output)["Records"]
    assert len(records) == len({record["eventID"] for record in records}) == 28
    for record in records:
        assert re.fullmatch(r"1\.\d+", record["eventVersion"])
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["eventTime"])
        assert isinstance(record["userIdentity"]["type"], str)
        for name in ("eventSource", "eventName", "awsRegion", "sourceIPAddress", "eventType"):
            assert isinstance(record[name], str), name
        for name in ("requestParameters", "responseElements"):
            assert record[name] is None or isinstance(record[name], dict), name
        result = record["additionalEventData"]["callgate"].get("result", "refused")
        assert ("errorCode" in record) == (
            result != "completed" or record["additionalEventData"]["callgate"]["statusCode"] == 503
        )
