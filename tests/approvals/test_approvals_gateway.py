"""Holds in a real gateway: SDKs that retry, people who race, clients that leave, kills in every state.

Looked at with three eyes: the client, a raw recording upstream, the ledger.
"""

from __future__ import annotations

import datetime
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from held_calls import DONE, People, raw_delete

from support.gateway import BIN, Gateway, make_home, running, wait_for
from support.upstream import Recorder, recorder

RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*"]

[[rule]]
id = "delete-needs-a-person"
effect = "hold"
reason = "Deleting takes a second person."
action = ["s3:DeleteObject"]
hold = { by = ["oncall"], within = "60s" }

[[rule]]
id = "put-needs-a-person"
effect = "hold"
action = ["s3:PutObject"]
hold = { by = ["oncall"], within = "60s" }

[[rule]]
id = "brief"
effect = "hold"
action = ["s3:DeleteBucket"]
hold = { by = ["oncall"], within = "2s" }

[[rule]]
id = "apply"
effect = "hold"
action = ["sqs:DeleteQueue"]
hold = { by = ["oncall"], within = "60s", grant = "10m" }
"""
SETTINGS = '[approvals]\nattempt = "1s"\nlocal_groups = ["oncall"]\n'
MODES = ["legacy", "standard", pytest.param("adaptive", marks=pytest.mark.full)]


@pytest.fixture(scope="module")
def upstream_of_module() -> Iterator[Recorder]:
    with recorder(DONE) as state:
        yield state


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream_of_module: Recorder) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("holds") / "gate"
    home = make_home(folder, endpoint=upstream_of_module.url, rules=RULES, more=SETTINGS)
    with running(home) as running_gateway:
        yield running_gateway


@pytest.fixture
def people(gateway: Gateway) -> People:
    return People(gateway.home)


@pytest.fixture
def sent(upstream_of_module: Recorder) -> Callable[[str], int]:
    """How often the upstream was asked about a key or bucket."""

    def count(name: str) -> int:
        pattern = re.compile(re.escape(name.encode()) + rb"(?![\w-])")
        return sum(bool(pattern.search(each)) for each in upstream_of_module.requests)

    return count


def delete(gateway: Gateway, key: str, **retries: Any) -> Any:
    client = gateway.client("s3", retries={"mode": "standard", "total_max_attempts": 1, **retries})
    return client.delete_object(Bucket="bucket", Key=key)["ResponseMetadata"]["HTTPStatusCode"]


def in_background(work: Callable[[], Any]) -> Any:
    return ThreadPoolExecutor(1).submit(work)


def holds_on(gateway: Gateway, key: str) -> list[str]:
    opened = gateway.entries("hold.opened")
    return [each["holdId"] for each in opened if f"/{key}" in json.dumps(each["asked"]["resources"])]


def ends_of_attempts(gateway: Gateway, hold_id: str) -> list[str]:
    kinds = ("attempt.released", "attempt.ended", "attempt.abandoned")
    return [
        each["kind"] for each in gateway.entries() if each.get("holdId") == hold_id and each["kind"] in kinds
    ]


# SDKs


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("held_for", [0.3, 1.7], ids=["within one attempt", "over two attempts"])
@pytest.mark.case("E02")
def test_an_sdk_outwaits_a_hold_with_one_prompt_and_one_execution(
    gateway: Gateway, people: People, sent: Callable[[str], int], mode: str, held_for: float
) -> None:
    key = f"outwait-{mode}-{held_for}"
    call = in_background(lambda: delete(gateway, key, mode=mode, total_max_attempts=6))
    hold = people.pending(key)
    time.sleep(held_for)
    assert people.answer(hold) == 200
    assert call.result(30) == 204
    assert sent(key) == 1
    assert holds_on(gateway, key) == [hold["id"]]
    ends = ends_of_attempts(gateway, hold["id"])
    assert ends[-1] == "attempt.released"
    assert set(ends[:-1]) <= {"attempt.ended"}
    assert len(ends) == 1 if held_for < 1 else len(ends) >= 2


@pytest.mark.parametrize("mode", MODES)
def test_an_sdk_whose_attempts_end_is_told_how_to_go_on_and_the_rerun_passes(
    gateway: Gateway, people: People, sent: Callable[[str], int], mode: str
) -> None:
    key = f"ends-{mode}"
    with pytest.raises(ClientError) as told:
        delete(gateway, key, mode=mode, total_max_attempts=2)
    hold = people.pending(key)
    message = told.value.response["Error"]["Message"]
    assert hold["id"] in message
    assert "oncall" in message
    assert hold["deadline"] in message
    assert sent(key) == 0
    assert holds_on(gateway, key) == [hold["id"]]
    assert people.answer(hold) == 200
    assert delete(gateway, key, mode=mode) == 204
    assert sent(key) == 1
    assert holds_on(gateway, key) == [hold["id"]]


@pytest.mark.parametrize("mode", MODES[1:])
def test_the_last_attempt_that_an_sdk_declares_ends_in_access_denied(gateway: Gateway, mode: str) -> None:
    with pytest.raises(ClientError) as told:
        delete(gateway, f"last-{mode}", mode=mode, total_max_attempts=2)
    assert told.value.response["Error"]["Code"] == "AccessDenied"
    assert told.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert "hold-final" in told.value.response["Error"]["Message"]


@pytest.mark.parametrize("mode", MODES)
def test_a_denial_reaches_the_client_with_its_reason_and_is_not_retried(
    gateway: Gateway, people: People, sent: Callable[[str], int], mode: str
) -> None:
    key = f"denied-{mode}"
    call = in_background(lambda: delete(gateway, key, mode=mode, total_max_attempts=6))
    hold = people.pending(key)
    assert people.answer(hold, "deny", "not on a Friday") == 200
    with pytest.raises(ClientError, match="not on a Friday") as told:
        call.result(30)
    assert told.value.response["Error"]["Code"] == "AccessDenied"
    assert told.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    assert sent(key) == 0


@pytest.mark.case("C02")
def test_past_the_deadline_the_client_is_refused(gateway: Gateway, sent: Callable[[str], int]) -> None:
    client = gateway.client("s3", retries={"mode": "standard", "total_max_attempts": 8})
    with pytest.raises(ClientError) as told:
        client.delete_bucket(Bucket="brief-bucket")
    assert told.value.response["Error"]["Code"] == "AccessDenied"
    assert "hold-expired" in told.value.response["Error"]["Message"]
    assert sent("brief-bucket") == 0


@pytest.mark.parametrize("mode", [pytest.param("legacy", marks=pytest.mark.full), "standard"])
def test_the_aws_cli_outwaits_a_hold_and_shows_why_it_failed(
    gateway: Gateway, people: People, sent: Callable[[str], int], mode: str
) -> None:
    def run(key: str, attempts: int) -> subprocess.CompletedProcess[str]:
        environ = gateway.environ() | {"AWS_RETRY_MODE": mode, "AWS_MAX_ATTEMPTS": str(attempts)}
        command = [str(BIN / "aws"), "s3api", "delete-object", "--bucket", "bucket", "--key", key]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)

    key = f"cli-{mode}"
    call = in_background(lambda: run(key, 6))
    hold = people.pending(key)
    time.sleep(1.5)
    people.answer(hold)
    assert call.result(60).returncode == 0
    assert sent(key) == 1
    told = run(f"{key}-never", 2)
    assert told.returncode != 0
    assert people.pending(f"{key}-never")["id"] in told.stderr
    assert sent(f"{key}-never") == 0


# People


def test_two_approvers_at_once_are_one_winner_and_one_who_is_told(
    gateway: Gateway, people: People, sent: Callable[[str], int]
) -> None:
    call = in_background(lambda: delete(gateway, "two-people", total_max_attempts=6))
    hold = people.pending("two-people")
    commands = [
        subprocess.Popen(
            [str(BIN / "callgate"), "approvals", verb, hold["id"], "--config", str(gateway.home.config)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for verb in ("approve", "approve", "approve")
    ]  # fmt: skip
    results = [(command.communicate(timeout=60), command.returncode) for command in commands]
    assert sorted(code for _, code in results) == [0, 1, 1]
    assert all("approved already" in err for (_, err), code in results if code)
    assert call.result(30) == 204
    assert sent("two-people") == 1
    decided = [e for e in gateway.entries() if e["kind"] == "hold.approved" and e["holdId"] == hold["id"]]
    assert len(decided) == 1


def test_approve_against_deny_ends_in_one_of_them(
    gateway: Gateway, people: People, sent: Callable[[str], int]
) -> None:
    for n in range(5):
        key = f"race-{n}"
        call = in_background(lambda key=key: delete(gateway, key))
        hold = people.pending(key)
        with ThreadPoolExecutor(4) as pool:
            verdicts = ["approve", "deny", "approve", "deny"]
            statuses = list(pool.map(lambda verdict, hold=hold: people.answer(hold, verdict), verdicts))
        assert sorted(statuses) == [200, 409, 409, 409]
        approved = statuses.index(200) % 2 == 0
        if approved:
            assert call.result(30) == 204
        else:
            with pytest.raises(ClientError, match="hold-denied"):
                call.result(30)
        assert sent(key) == approved


@pytest.mark.parametrize("offset", [-0.02, 0.0, 0.02])
def test_approve_against_expiry_ends_in_one_of_them(
    gateway: Gateway, people: People, sent: Callable[[str], int], offset: float
) -> None:
    bucket = f"race-expiry-{offset}"
    client = gateway.client("s3", retries={"mode": "standard", "total_max_attempts": 8})
    call = in_background(lambda: client.delete_bucket(Bucket=bucket))
    hold = people.pending(bucket)
    deadline = datetime.datetime.fromisoformat(hold["deadline"]).timestamp()
    with ThreadPoolExecutor(4) as pool:
        time.sleep(max(0.0, deadline + offset - time.time()))
        statuses = list(pool.map(lambda _: people.answer(hold), range(4)))
    error = call.exception(30)
    kinds = [e["kind"] for e in gateway.entries() if e.get("holdId") == hold["id"]]
    # An approval in time is gone as well if its call comes to use it when the deadline has passed.
    late = "hold-revoked" if "hold.lapsed" in kinds else "hold-expired"
    assert error is None or late in str(error) or "hold-expired" in str(error)
    decided = [kind for kind in kinds if kind in ("hold.approved", "hold.expired")]
    assert decided == (["hold.approved"] if 200 in statuses else ["hold.expired"])
    assert sent(bucket) == kinds.count("hold.used") <= statuses.count(200) <= 1


@pytest.mark.parametrize("how", ["fin", "reset", "half-close"])
@pytest.mark.case("E01")
def test_a_client_that_left_executes_nothing_when_its_hold_is_approved(
    gateway: Gateway, people: People, sent: Callable[[str], int], how: str
) -> None:
    key = f"left-{how}"
    stream = raw_delete(gateway, key)
    hold = people.pending(key)
    if how == "reset":
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    if how == "half-close":
        socket.socket.shutdown(stream, socket.SHUT_WR)
    else:
        stream.close()
    wait_for(lambda: ends_of_attempts(gateway, hold["id"]), 10, "the end of the attempt")
    assert ends_of_attempts(gateway, hold["id"]) == ["attempt.abandoned"]
    assert people.answer(hold) == 200
    time.sleep(1.0)
    assert sent(key) == 0
    assert delete(gateway, key) == 204
    assert sent(key) == 1
    stream.close()


@pytest.mark.case("E01")
def test_a_client_that_leaves_as_it_is_approved_executes_at_most_once(
    gateway: Gateway, people: People, sent: Callable[[str], int]
) -> None:
    for n in range(5):
        key = f"leaves-{n}"
        stream = raw_delete(gateway, key)
        hold = people.pending(key)
        leaving = threading.Thread(target=stream.close)
        leaving.start()
        assert people.answer(hold) == 200
        leaving.join()
        wait_for(lambda hold=hold: ends_of_attempts(gateway, hold["id"]), 10, "the end of the attempt")
        used = [e for e in gateway.entries("hold.used") if e["holdId"] == hold["id"]]
        wait_for(lambda key=key, used=used: sent(key) <= len(used), 5, "the upstream")
        assert sent(key) <= 1


def put(gateway: Gateway, key: str, body: bytes, **more: Any) -> Any:
    client = gateway.client("s3", retries={"mode": "standard", "total_max_attempts": 6}, **more)
    return client.put_object(Bucket="bucket", Key=key, Body=body)["ResponseMetadata"]["HTTPStatusCode"]


def test_a_small_upload_waits_and_is_known_again_by_its_bytes(
    gateway: Gateway, people: People, sent: Callable[[str], int]
) -> None:
    """boto3 does not sign the hash of an upload, but its bytes are there to be hashed."""
    call = in_background(lambda: put(gateway, "small", b"hello"))
    hold = people.pending("small")
    time.sleep(1.5)
    other = in_background(lambda: put(gateway, "small", b"other"))
    wait_for(lambda: len(holds_on(gateway, "small")) == 2, 10, "a hold for other bytes")
    assert people.answer(hold) == 200
    assert call.result(30) == 204
    assert people.answer(people.pending("small"), "deny") == 200
    with pytest.raises(ClientError, match="hold-denied"):
        other.result(30)
    assert sent("small") == 1


SIGNED = {"s3": {"payload_signing_enabled": True}, "request_checksum_calculation": "when_required"}


def test_a_large_upload_is_refused_at_once_and_its_rerun_passes(
    gateway: Gateway, people: People, sent: Callable[[str], int], upstream_of_module: Recorder
) -> None:
    body = b"x" * 3_000_000
    began = time.monotonic()
    with pytest.raises(ClientError, match="hold-large") as told:
        put(gateway, "large", body, **SIGNED)
    assert time.monotonic() - began < 10
    assert b"x" * 1000 not in upstream_of_module.raw
    hold = people.pending("large")
    assert hold["id"] in str(told.value)
    assert people.answer(hold) == 200
    with pytest.raises(ClientError, match="hold-large"):
        put(gateway, "large", b"y" * 3_000_000, **SIGNED)
    assert put(gateway, "large", body, **SIGNED) == 204
    assert sent("large") == 1


def test_a_large_upload_without_a_signed_hash_cannot_be_approved(
    gateway: Gateway, people: People, sent: Callable[[str], int]
) -> None:
    with pytest.raises(ClientError, match="hold-unhashed"):
        put(gateway, "unhashed", b"x" * 3_000_000)
    assert holds_on(gateway, "unhashed") == []
    assert sent("unhashed") == 0


def test_one_approval_of_a_grant_releases_forty_calls_and_covers_later_ones(
    gateway: Gateway, people: People
) -> None:
    retries = {"mode": "standard", "total_max_attempts": 8}
    client = gateway.client("sqs", retries=retries, max_pool_connections=40)
    url = "https://sqs.us-east-1.amazonaws.com/123456789012/queue-"

    def held() -> int:
        return sum("queue-" in json.dumps(e["asked"]["resources"]) for e in gateway.entries("hold.opened"))

    with ThreadPoolExecutor(40) as pool:
        calls = [pool.submit(client.delete_queue, QueueUrl=f"{url}{n}") for n in range(40)]
        wait_for(lambda: held() >= 40, 30, "forty holds")
        assert people.answer(people.pending("queue-7")) == 200
        for call in calls:
            call.result(60)
    client.delete_queue(QueueUrl=f"{url}later")
    (grant,) = people.ask("GET", "/v1/grants")[1]["grants"]
    told = gateway.callgate("approvals", "revoke", grant["id"], "-r", "done")
    assert "revoked" in told.stdout
    with pytest.raises(ClientError, match="waits for approval"):
        gateway.client("sqs").delete_queue(QueueUrl=f"{url}after")


# The command line


def test_the_command_line_lists_shows_denies_and_fails_with_one_line(
    gateway: Gateway, people: People
) -> None:
    with pytest.raises(ClientError):
        delete(gateway, "from-the-cli")
    hold = people.pending("from-the-cli")
    assert hold["id"] in gateway.callgate("approvals", "list").stdout
    listed = json.loads(gateway.callgate("approvals", "list", "--json").stdout)
    assert hold["id"] in {each["id"] for each in listed}
    shown = gateway.callgate("approvals", "show", hold["id"]).stdout
    for part in ("from-the-cli", "octocat", "oncall", "Deleting takes a second person."):
        assert part in shown
    denied = gateway.callgate("approvals", "deny", hold["id"], "-r", "no \x1b[31mred", "--json")
    assert json.loads(denied.stdout)["state"] == "denied"
    assert "\x1b" not in denied.stdout + gateway.callgate("approvals", "show", hold["id"]).stdout
    again = gateway.callgate("approvals", "approve", hold["id"], check=False)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "denied already" in again.stderr
    unknown = gateway.callgate("approvals", "show", "hold-ffffffffff", check=False)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)


def test_watch_without_a_terminal_prints_events_as_they_come(gateway: Gateway, people: People) -> None:
    command = [str(BIN / "callgate"), "approvals", "watch", "--json", "--config", str(gateway.home.config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        lines: list[dict[str, Any]] = []
        reading = threading.Thread(target=lambda: lines.extend(map(json.loads, watch.stdout or [])))
        reading.start()
        n = 0
        while not lines:
            n += 1
            with pytest.raises(ClientError):
                delete(gateway, f"watched-{n}")
        assert lines[0]["event"] == "hold.opened"
        assert "watched-" in json.dumps(lines[0]["approval"]["resources"])
        watch.send_signal(signal.SIGINT)
        assert watch.wait(10) == 0
        reading.join()


@pytest.mark.case("E04")
def test_approvals_cannot_be_reached_through_the_proxy_port(gateway: Gateway) -> None:
    connection = http.client.HTTPConnection(*gateway.address, timeout=10)
    for path in ("/v1/approvals", "/callgate/v1/approvals", "/callgate/approvals", "/openapi.json"):
        connection.request("GET", path, headers={"Authorization": f"Bearer {gateway.home.token()}"})
        answer = connection.getresponse()
        assert answer.status >= 400
        assert b"approvals" not in answer.read()
        connection.close()


# Kills


@pytest.mark.parametrize("state", ["waiting", "pending", "approved", "used"])
def test_a_kill_in_any_state_loses_nothing_and_executes_nothing_twice(tmp_path: Path, state: str) -> None:
    gate = threading.Event()

    def answer(request: bytes) -> bytes:
        gate.wait(20 if state == "used" and len(upstream.requests) == 1 else 0)
        return DONE

    with recorder(answer) as upstream:
        home = make_home(
            tmp_path / "gate", endpoint=upstream.url, rules=RULES, more=SETTINGS.replace("1s", "20s")
        )
        with running(home) as first:
            people = People(home)
            if state in ("pending", "approved"):
                stream = raw_delete(first, "k")
                hold = people.pending("/k")
                stream.close()
                wait_for(lambda: ends_of_attempts(first, hold["id"]), 10, "the end of the attempt")
            else:
                call = in_background(lambda: delete(first, "k"))
                hold = people.pending("/k")
            if state in ("approved", "used"):
                assert people.answer(hold) == 200
            if state == "used":
                wait_for(lambda: upstream.requests, 10, "the upstream")
            first.process.kill()
            first.process.wait()
            gate.set()
            if state in ("waiting", "used"):
                with pytest.raises(Exception, match=r"Connection|closed|EOF|proxy|Could not"):
                    call.result(30)
        with running(home) as second:
            executed = len(upstream.requests)
            assert executed == (1 if state == "used" else 0)
            waiting = {e["attemptId"] for e in second.entries("attempt.waiting")}
            ended = {
                e["attemptId"]
                for e in second.entries()
                if e["kind"] in ("attempt.released", "attempt.abandoned")
            }
            assert waiting == ended
            if state in ("waiting", "pending"):
                assert people.answer(hold) == 200
                time.sleep(0.5)
                assert len(upstream.requests) == 0
            if state == "used":
                assert people.answer(hold) == 409
                rerun = in_background(lambda: delete(second, "k"))
                assert people.answer(people.pending("/k"), "deny") == 200
                with pytest.raises(ClientError, match="hold-denied"):
                    rerun.result(30)
            else:
                assert delete(second, "k") == 204
            assert len(upstream.requests) == 1
            ends = [e for e in second.entries() if e["kind"] in ("call.outcome", "call.refused")]
            assert len({e["callId"] for e in ends}) == len(ends)
