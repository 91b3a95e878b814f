"""Webhooks, against real servers on the loopback: signed, retried, given up, and never in anybody's way."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hold_world import ALICE, EPOCH, World
from pydantic import ValidationError

from callgate.approvals.events import Subscription
from callgate.approvals.settings import Webhook
from callgate.approvals.webhooks import Webhooks

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
OPENED = {"event": "hold.opened", "time": "2027-01-15T08:00:00.000Z", "approval": {"id": "hold-1", "x": "é"}}


class Receiver:
    """Answers with `answers` in turn (raw responses), the last one for ever; keeps what came."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers) or [b"HTTP/1.1 204 No Content\r\n\r\n"]
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.arrived = asyncio.Event()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {line.partition(": ")[0].lower(): line.partition(": ")[2] for line in head[1:] if line}
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append((headers, body))
            self.arrived.set()
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer:
                writer.write(answer)
                await writer.drain()
            else:
                await reader.read()
        finally:
            writer.close()

    async def count(self, wanted: int) -> None:
        while len(self.got) < wanted:
            self.arrived.clear()
            await self.arrived.wait()


@asynccontextmanager
async def receiver(*answers: bytes) -> AsyncIterator[Receiver]:
    state = Receiver(*answers)
    server = await asyncio.start_server(state.serve, "127.0.0.1", 0)
    state.port = server.sockets[0].getsockname()[1]
    async with server:
        yield state


@pytest.fixture
def hook(tmp_path: Path) -> Callable[..., Webhook]:
    (tmp_path / "hook.key").write_text(KEY + "\n")

    def make(port: int, **more: Any) -> Webhook:
        url = f"http://127.0.0.1:{port}/secret-path?x=1"
        return Webhook.model_validate({"name": "h", "url": url, "key_file": tmp_path / "hook.key", **more})

    return make


@asynccontextmanager
async def sending(
    hook: Webhook, backoff: tuple[float, ...] = (0.01, 0.01)
) -> AsyncIterator[tuple[Any, Webhooks]]:
    events = Subscription()
    webhooks = Webhooks([hook], clock=lambda: EPOCH, backoff=backoff)
    webhooks.start(events)
    try:
        yield events, webhooks
    finally:
        await webhooks.close()


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_an_event_arrives_signed_over_id_time_and_body(hook: Callable[..., Webhook]) -> None:
    async def main() -> None:
        async with receiver() as there, sending(hook(there.port)) as (events, _):
            events.put(OPENED)
            await there.count(1)
            headers, body = there.got[0]
            assert json.loads(body) == {
                "type": "hold.opened",
                "timestamp": OPENED["time"],
                "data": OPENED["approval"],
            }
            assert headers["webhook-timestamp"] == str(int(EPOCH))
            signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
            mac = base64.b64encode(hmac.new(b"k" * 32, signed, hashlib.sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{mac}"

    asyncio.run(main())


@pytest.mark.parametrize("form", ["slack", "teams"])
def test_chat_messages_are_sent_as_they_are(hook: Callable[..., Webhook], form: str) -> None:
    async def main() -> None:
        world = World(clock=lambda: EPOCH)
        events = world.holds.subscribe()
        async with receiver() as there:
            webhooks = Webhooks([hook(there.port, form=form, key_file=None)], clock=lambda: EPOCH)
            webhooks.start(events)
            task = world.start(world.attempt())
            await there.count(1)
            (hold_id,) = [each["id"] for each in world.holds.list()]
            await world.holds.decide(hold_id, ALICE, "approve", "")
            await task
            await there.count(2)
            bodies = [body.decode() for _, body in there.got]
            assert all(hold_id in body for body in bodies)
            assert "webhook-signature" not in there.got[0][0]
            await webhooks.close()
            await world.holds.close()

    asyncio.run(main())


def test_a_receiver_that_fails_gets_the_same_message_again(hook: Callable[..., Webhook]) -> None:
    async def main() -> None:
        answers = [
            b"HTTP/1.1 500 X\r\n\r\n",
            b"HTTP/1.1 429 X\r\nRetry-After: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
        ]
        async with receiver(*answers) as there, sending(hook(there.port)) as (events, webhooks):
            events.put(OPENED)
            await there.count(3)
            assert len({headers["webhook-id"] for headers, _ in there.got}) == 1
            assert len({body for _, body in there.got}) == 1
            assert not webhooks.dead

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "tries", "error"),
    [
        (b"HTTP/1.1 503 X\r\n\r\n", 3, "answered 503"),
        (b"HTTP/1.1 404 X\r\n\r\n", 1, "answered 404"),
        (b"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\n\r\n", 1, "answered 302"),
        (b"garbage\r\n\r\n", 3, "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 3, "Error"),
    ],
    ids=["busy", "gone", "redirect", "garbage", "endless head"],
)
def test_what_is_not_taken_is_listed_without_the_secret_url(
    hook: Callable[..., Webhook], answer: bytes, tries: int, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with receiver(answer) as there, sending(hook(there.port)) as (events, webhooks):
            events.put(OPENED)
            await until(lambda: webhooks.dead)
            (dead,) = webhooks.dead
            assert (dead["webhook"], dead["event"], dead["about"]) == ("h", "hold.opened", "hold-1")
            assert (dead["tries"], len(there.got)) == (tries, tries)
            assert error in dead["error"]
            assert "secret-path" not in json.dumps(dead) + caplog.text

    asyncio.run(main())


def test_a_receiver_that_is_down_or_silent_is_given_up(hook: Callable[..., Webhook]) -> None:
    async def main() -> None:
        async with receiver(b"") as silent:
            async with sending(hook(silent.port, timeout="50ms")) as (events, webhooks):
                events.put(OPENED)
                await until(lambda: webhooks.dead)
                assert "no answer within" in webhooks.dead[0]["error"]
            port = silent.port
        async with sending(hook(port)) as (events, webhooks):
            events.put(OPENED)
            await until(lambda: webhooks.dead)
            assert "ConnectionRefused" in webhooks.dead[0]["error"]

    asyncio.run(main())


def test_a_silent_receiver_delays_no_call_and_no_other_webhook(
    hook: Callable[..., Webhook], tmp_path: Path
) -> None:
    async def main() -> None:
        world = World(clock=lambda: EPOCH)
        async with receiver(b"") as silent, receiver() as good:
            hooks = [hook(silent.port, name="silent"), hook(good.port, name="good")]
            webhooks = Webhooks(hooks, clock=lambda: EPOCH)
            webhooks.start(world.holds.subscribe())
            tasks = [world.start(world.attempt(key=f"k{n}")) for n in range(20)]
            for hold_id in await world.pending(20):
                await world.holds.decide(hold_id, ALICE, "approve", "")
            await asyncio.wait_for(asyncio.gather(*tasks), 5)
            await asyncio.wait_for(good.count(40), 5)
            assert len(silent.got) <= 4
            await webhooks.close()
            await world.holds.close()

    asyncio.run(main())


def test_only_events_that_are_wanted_are_sent(hook: Callable[..., Webhook]) -> None:
    async def main() -> None:
        async with receiver() as there, sending(hook(there.port, events=["hold.denied"])) as (events, _):
            events.put(OPENED)
            events.put({**OPENED, "event": "hold.denied"})
            await there.count(1)
            assert [json.loads(body)["type"] for _, body in there.got] == ["hold.denied"]

    asyncio.run(main())


def test_a_hold_that_is_told_again_after_a_restart_is_the_same_message(hook: Callable[..., Webhook]) -> None:
    async def main() -> None:
        world = World(clock=lambda: EPOCH)
        first = world.holds.subscribe()
        task = world.start(world.attempt())
        await world.pending()
        again = World(world.journal, clock=lambda: EPOCH + 5)
        second = again.holds.subscribe()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await world.holds.close()
        await again.holds.start()
        async with receiver() as there, sending(hook(there.port)) as (events, _):
            events.put(await anext(first))
            events.put(await anext(second))
            await there.count(2)
            assert len({headers["webhook-id"] for headers, _ in there.got}) == 1
        await again.holds.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "http://hooks.example/x"},
        {"url": "https://user:password@hooks.example/x"},
        {"url": "https://hooks.example/x y"},
        {"url": "ftp://hooks.example/"},
        {"url": "https:///x"},
        {},
        {"url": "https://hooks.example/x", "url_file": "/dev/null"},
        {"url": "https://hooks.example/x", "form": "json"},
        {"url": "https://hooks.example/x", "key_file": "/nonexistent"},
        {"url": "https://hooks.example/x", "key_file": "/dev/null"},
        {"url": "https://hooks.example/x", "form": "slack", "key_file": "KEY"},
        {"url": "https://hooks.example/x", "form": "slack", "events": ["hold.gone"]},
    ],
    ids=str,
)
def test_a_webhook_that_cannot_work_or_would_leak_is_refused(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)
    if settings.get("key_file") == "KEY":
        settings = {**settings, "key_file": tmp_path / "key"}
    with pytest.raises(ValidationError):
        Webhook.model_validate({"name": "h", **settings})


def test_the_url_can_be_kept_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hooks.example/secret\n")
    hook = Webhook.model_validate({"name": "h", "form": "slack", "url_file": tmp_path / "url"})
    assert hook.address() == "https://hooks.example/secret"
    shown = {"name": "h", "form": "slack", "url": "https://h.example/secret"}
    assert "secret" not in repr(Webhook.model_validate(shown))
