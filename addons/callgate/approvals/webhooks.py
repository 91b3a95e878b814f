"""Telling people elsewhere what waits for them: events sent to webhooks, signed, retried, never waited for
by a call.

Signatures follow the Standard Webhooks specification (symmetric, `v1`): HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any

from callgate.approvals.messages import FORMS
from callgate.approvals.post import PostError, post
from callgate.approvals.settings import Webhook

log = logging.getLogger("callgate.approvals")

BACKOFF = (1.0, 5.0, 25.0, 60.0, 120.0, 300.0)
"""Seconds before each further try; who has not taken an event after these never gets it."""

_IN_FLIGHT = 4
_BACKLOG = 1000
_DEAD = 200
_LONGEST_WISH = 600.0


class Webhooks:
    """Sends events to every webhook that wants them. `dead` lists what could not be delivered, newest
    last.
    """

    def __init__(
        self,
        hooks: Iterable[Webhook],
        *,
        clock: Callable[[], float] = time.time,
        backoff: tuple[float, ...] = BACKOFF,
    ) -> None:
        self._hooks = tuple(hooks)
        self._clock = clock
        self._backoff = backoff
        self._slots = {hook.name: asyncio.Semaphore(_IN_FLIGHT) for hook in self._hooks}
        self._waiting = dict.fromkeys(self._slots, 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self.dead: deque[dict[str, Any]] = deque(maxlen=_DEAD)

    def start(self, events: AsyncIterable[Mapping[str, Any]]) -> None:
        """Send `events` as they come, until `close`."""
        if self._hooks:
            self._spawn(self._follow(events))

    async def close(self) -> None:
        """Stop sending; what is on its way or waits for a retry is given up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, events: AsyncIterable[Mapping[str, Any]]) -> None:
        async for event in events:
            for hook in self._hooks:
                if event["event"] in hook.events:
                    self._accept(hook, event)

    def _accept(self, hook: Webhook, event: Mapping[str, Any]) -> None:
        if self._waiting[hook.name] >= _BACKLOG:
            self._bury(hook, event, 0, "too many events wait for this webhook")
            return
        self._waiting[hook.name] += 1
        self._spawn(self._deliver(hook, event))

    async def _deliver(self, hook: Webhook, event: Mapping[str, Any]) -> None:
        try:
            body = json.dumps(FORMS[hook.form](event)).encode()
            for tries, pause in enumerate((*self._backoff, None), 1):
                try:
                    async with self._slots[hook.name]:
                        await self._send(hook, event, body)
                    return
                except PostError as error:
                    if pause is None or error.final:
                        self._bury(hook, event, tries, str(error))
                        return
                    wish = min(error.retry_after or 0.0, _LONGEST_WISH)
                # Spread, so that a receiver that comes back is not met by everything at once.
                await asyncio.sleep(max(wish, pause * random.uniform(0.8, 1.2)))
        finally:
            self._waiting[hook.name] -= 1

    async def _send(self, hook: Webhook, event: Mapping[str, Any], body: bytes) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": "callgate"}
        try:
            url = hook.address()
            if hook.form == "json":
                message_id, stamp = event_id(event), str(int(self._clock()))
                signature = sign(hook.secret(), message_id, stamp, body)
                headers |= {
                    "webhook-id": message_id,
                    "webhook-timestamp": stamp,
                    "webhook-signature": signature,
                }
        except (OSError, ValueError) as error:
            raise PostError(f"its url or key cannot be used: {type(error).__name__}") from None
        await post(url, headers, body, ca=hook.ca, timeout=hook.timeout)

    def _bury(self, hook: Webhook, event: Mapping[str, Any], tries: int, error: str) -> None:
        about = event.get("approval") or event.get("grant") or {}
        buried = {
            "webhook": hook.name,
            "event": event["event"],
            "about": about.get("id") or about.get("grantId"),
            "time": event["time"],
            "tries": tries,
            "error": error,
        }
        self.dead.append(buried)
        log.error("webhook %s did not take %s of %s: %s", hook.name, buried["event"], buried["about"], error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a webhook could not be served: %s", type(error).__name__)


def event_id(event: Mapping[str, Any]) -> str:
    """The same for every try, so that a receiver can tell a repetition."""
    about = event.get("approval") or event.get("grant") or {}
    unique = json.dumps([event["event"], event["time"], about.get("id") or about.get("grantId")])
    return "msg_" + hashlib.sha256(unique.encode()).hexdigest()[:32]


def sign(secret: bytes, message_id: str, stamp: str, body: bytes) -> str:
    """The value of `webhook-signature`."""
    mac = hmac.new(secret, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()
