"""`callgate explain`: one line out for each in, whatever comes, and every form of input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from signed import Builder, line, session

from callgate.call import HttpRequest
from callgate.cli.explain import explain

RULES = """
[[rule]]
id = "read-tables"
effect = "allow"
action = ["dynamodb:GetItem"]
principal = { team = "data" }
"""


def get_item() -> HttpRequest:
    key = {"id": {"N": "12345678901234567890123456789012345678"}, "raw": {"B": b"\x00\xff"}}
    return Builder("dynamodb", made=session()).build("GetItem", {"TableName": "t", "Key": key})


def run(*arguments: str, text: str | bytes = "") -> list[dict[str, Any]]:
    done = CliRunner().invoke(explain, list(arguments), input=text)
    assert done.exit_code == 0, done.output
    return [json.loads(each) for each in done.stdout.splitlines()]


def test_a_request_reads_as_a_call() -> None:
    (said,) = run(text=line(get_item(), note="other keys are ignored") + "\n")
    assert said["service"] == "dynamodb"
    assert said["operation"] == "GetItem"
    assert said["candidates"] == [["dynamodb", "GetItem"]]
    assert said["region"] == "us-west-2"
    assert said["account"] == "029608264753"
    assert said["parameters"]["Key"] == {
        "id": {"N": "12345678901234567890123456789012345678"},
        "raw": {"B": {"$bytes": "AP8="}},
    }
    assert said["needs"] == [["dynamodb:GetItem", "arn:aws:dynamodb:us-west-2:029608264753:table/t"]]


def test_times_and_numbers_are_written_out() -> None:
    builder = Builder("cloudwatch", made=session())
    start = {"StartTime": "2024-01-02T03:04:05Z", "EndTime": "2024-01-02T03:04:05.250Z", "Period": 60}
    request = builder.build("GetMetricStatistics", {"Namespace": "n", "MetricName": "m", **start})
    data = [{"MetricName": "m", "Value": 0.1}]
    other = builder.build("PutMetricData", {"Namespace": "n", "MetricData": data})
    said = run(text=f"{line(request)}\n{line(other)}")
    assert said[0]["parameters"]["StartTime"] == {"$time": "2024-01-02T03:04:05Z"}
    assert said[1]["parameters"]["MetricData"] == data


def test_bad_lines_are_answered_in_their_place() -> None:
    good = line(get_item())
    bad = [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"x"',
        "{}",
        '{"method": 1, "url": 2}',
        "[" * 100_000,
        "\x00",
        '{"eventName": 1}',
    ]
    bad += [
        json.dumps({"method": "GET", "url": url, "headers": headers, "body_b64": body})
        for url, headers, body in [
            ("nonsense", [], ""),
            ("ftp://s3.amazonaws.com/", [], ""),
            ("https://user@s3.amazonaws.com/", [], ""),
            ("https://s3.amazonaws.com:x/", [], ""),
            ("https://s3.amazonaws.com/", [["a"]], ""),
            ("https://s3.amazonaws.com/", [[1, 2]], ""),
            ("https://s3.amazonaws.com/", 7, ""),
            ("https://s3.amazonaws.com/", [], "*"),
        ]
    ]
    said = run(text="".join(f"{each}\n{good}\n" for each in bad).encode() + b"\xff\xfe\n")
    assert len(said) == 2 * len(bad) + 1
    assert [each.get("operation") for each in said[1::2]] == ["GetItem"] * len(bad)
    assert {each.get("refused") for each in said[0::2]} == {"bad-input"}


@pytest.mark.parametrize("first", ["{", "12:", '{"log": 7', '{"log": {"entries": 7}}', "\r"])
def test_a_first_line_that_is_broken_is_one_line_of_many(first: str) -> None:
    said = run(text=f"{first}\n{line(get_item())}\n{line(get_item())}\n")
    assert [each.get("operation") for each in said] == [None, "GetItem", "GetItem"]


def test_other_keys_of_a_request_are_ignored() -> None:
    more = {
        "eventName": "DeleteTable",
        "service": "s3",
        "body": {"eventName": "x", "service": "y"},
        "log": {},
    }
    assert run(text=line(get_item(), **more))[0]["operation"] == "GetItem"


def test_refusals_have_a_code_and_a_sentence() -> None:
    request = get_item()
    (said,) = run(text=line(HttpRequest("GET", "example.com", "/", (), b"")))
    assert said["refused"] == "unknown-host"
    assert said["detail"].endswith(".")
    assert (
        run(text=line(request).replace("us-west-2.amazonaws", "eu-west-1.amazonaws"))[0]["refused"]
        == "scope-mismatch"
    )


def test_a_stand_in_is_named_on_the_command_line() -> None:
    builder = Builder("sqs", made=session(), endpoint_url="http://localhost:4566/base")
    request = line(builder.build("ListQueues", {}))
    assert run(text=request)[0]["refused"] == "unknown-host"
    assert run("--aws-endpoint", "localhost:4566/base=sqs", text=request)[0]["operation"] == "ListQueues"
    assert (
        run("--aws-endpoint", "other", "--aws-endpoint", "localhost/base", text=request)[0]["service"]
        == "sqs"
    )
    assert CliRunner().invoke(explain, ["--aws-endpoint", "a b"]).exit_code == 2


def test_rules_add_their_decision(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES)
    request = line(get_item())
    (said,) = run("--rules", str(rules), "--principal", '{"issuer": "github", "team": "data"}', text=request)
    assert (said["decision"]["effect"], said["decision"]["rules"]) == ("allow", ["read-tables"])
    (said,) = run("--rules", str(tmp_path), "--principal", '{"issuer": "github"}', text=request)
    assert said["decision"]["effect"] == "deny"
    assert [near["rule"] for near in said["decision"]["near"]] == ["read-tables"]
    for arguments in (
        ["--rules", str(tmp_path / "none")],
        ["--principal", "{}"],
        ["--rules", str(rules), "--principal", "7"],
    ):
        assert CliRunner().invoke(explain, arguments, input=request).exit_code == 2


def test_a_har_file_is_read(tmp_path: Path) -> None:
    request = get_item()
    headers = [{"name": name, "value": value} for name, value in request.headers]
    asked = {"method": "POST", "url": f"https://{request.host}/", "headers": headers}
    posted = {**asked, "postData": {"text": (request.body or b"").decode()}}
    har = {"log": {"version": "1.2", "entries": [{"request": posted}, {"request": 7}, {"request": posted}]}}
    for indent in (None, 2):
        (tmp_path / "a.har").write_text(json.dumps(har, indent=indent))
        said = run(str(tmp_path / "a.har"))
        assert [each.get("operation") for each in said] == ["GetItem", None, "GetItem"]
        assert said[1]["refused"] == "bad-input"


# mitmproxy's filters, imported along with its flow files, use names that pyparsing has renamed.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_flow_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    from mitmproxy import connection, http
    from mitmproxy.io import FlowWriter

    request = get_item()
    client = connection.Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
    flow = http.HTTPFlow(client, connection.Server(address=(request.host, 443)))
    headers = http.Headers([(name.encode(), value.encode()) for name, value in request.headers])
    flow.request = http.Request.make("POST", f"https://{request.host}/", request.body or b"", headers)
    with (tmp_path / "a.flow").open("wb") as file:
        FlowWriter(file).add(flow)
        file.write(b"99:broken")
    whole = (tmp_path / "a.flow").read_bytes()
    (tmp_path / "b.flow").write_bytes(
        whole.removesuffix(b"99:broken") + whole.replace(b"websocket", b"wxbsocket")
    )
    for name in ("a.flow", "b.flow"):
        said = run(str(tmp_path / name))
        assert [each.get("operation") for each in said] == ["GetItem", None]
        assert said[1]["refused"] == "bad-input"


def test_a_call_of_the_log_is_judged_as_it_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    body = {
        "service": "dynamodb",
        "eventName": "GetItem",
        "awsRegion": "us-west-2",
        "protocol": "json",
        "userIdentity": {"accountId": "029608264753"},
        "requestParameters": {"TableName": "t"},
        "resources": [
            {"action": "dynamodb:GetItem", "ARN": "arn:aws:dynamodb:us-west-2:029608264753:table/t"}
        ],
    }
    for entry in (body, {"sequence": 7, "kind": "call.intent", "body": body}):
        (said,) = run("--rules", str(tmp_path), "--principal", '{"team": "data"}', text=json.dumps(entry))
        assert said["operation"] == "GetItem"
        assert said["decision"]["effect"] == "allow"
    (tmp_path / "rules.toml").write_text(RULES.replace("action =", "access = ['read'] #"))
    (said,) = run("--rules", str(tmp_path), "--principal", '{"team": "data"}', text=json.dumps(body))
    assert said["decision"]["effect"] == "allow"
    (said,) = run(text=json.dumps({**body, "candidates": ["nonsense"]}))
    assert said["refused"] == "bad-input"


def test_people_get_it_indented() -> None:
    done = CliRunner().invoke(explain, ["--pretty"], input=line(get_item()))
    assert '\n  "service": "dynamodb"' in done.stdout
