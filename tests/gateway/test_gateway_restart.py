"""What a gateway that was killed leaves behind, and what the next one makes of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from support.gateway import make_home, running, wait_for
from support.upstream import Recorder, http_answer, recorder

HOLD = """
[[rule]]
id = "allow"
effect = "allow"
action = ["*:*"]
[[rule]]
id = "hold"
effect = "hold"
action = ["dynamodb:DeleteTable"]
hold = { by = ["oncall"], within = "5m" }
"""


@pytest.mark.case("E06")
def test_a_call_that_was_held_when_the_gateway_was_killed_gets_its_terminal_entry(
    folder: Path, upstream: Recorder
) -> None:
    home = make_home(folder, endpoint=upstream.url, rules=HOLD)
    with running(home) as gateway:
        client = gateway.client("dynamodb")

        def delete() -> None:
            try:
                client.delete_table(TableName="t")
            except (ClientError, BotoCoreError):
                return

        job = threading.Thread(target=delete)
        job.start()
        wait_for(lambda: gateway.entries("attempt.waiting"), 15, "the held call")
        gateway.process.kill()
        gateway.process.wait(10)
        job.join(20)
    with running(home) as gateway:
        ended = gateway.ended(1)
        assert [(each["reason"], each["eventName"]) for each in ended] == [
            ("gateway-restarted", "DeleteTable")
        ]
        assert ended[0]["userIdentity"]["principalId"].startswith("github:acme/infra")
    assert upstream.accepted == 0


def test_stopping_waits_for_no_call_that_was_refused(folder: Path, upstream: Recorder) -> None:
    deny = HOLD.replace('effect = "hold"', 'effect = "deny"').replace(
        'hold = { by = ["oncall"], within = "5m" }', ""
    )
    with running(make_home(folder, endpoint=upstream.url, rules=deny)) as gateway:
        client = gateway.client("dynamodb")
        for _ in range(3):
            with pytest.raises(ClientError):
                client.delete_table(TableName="t")
        client.list_tables()
        assert gateway.stop() == 0
        assert "did not end within drain" not in gateway.log.read_text()


def test_a_call_that_was_on_its_way_when_the_gateway_was_killed_ends_unknown(folder: Path) -> None:
    arrived, go = threading.Event(), threading.Event()

    def slow(_: bytes) -> bytes:
        arrived.set()
        go.wait(20)
        return http_answer()

    with recorder(slow) as upstream:
        home = make_home(folder, endpoint=upstream.url)
        with running(home) as gateway:
            client = gateway.client("dynamodb")

            def ask() -> None:
                try:
                    client.list_tables()
                except (ClientError, BotoCoreError):
                    return

            job = threading.Thread(target=ask)
            job.start()
            assert arrived.wait(15)
            gateway.process.kill()
            gateway.process.wait(10)
            job.join(20)
            go.set()
        with running(home) as gateway:
            assert [each["result"] for each in gateway.ended(1)] == ["unknown"]
    assert len(upstream.requests) == 1
