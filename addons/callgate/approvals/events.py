"""Telling whoever listens (people who watch, webhooks) what became of holds and grants."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from typing import Any, Self

_BACKLOG = 1000


class Subscription:
    """Events as they happen, for `async for`. A listener that is too slow loses the oldest ones."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_BACKLOG)

    def put(self, event: dict[str, Any]) -> None:
        """Never blocks."""
        if self._events.full():
            self._events.get_nowait()
        self._events.put_nowait(event)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await self._events.get()


class Events:
    """Hands each event to every subscription that is still alive."""

    def __init__(self) -> None:
        self._subscriptions: weakref.WeakSet[Subscription] = weakref.WeakSet()

    def subscribe(self) -> Subscription:
        """Events from now on, until the subscription is dropped."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    @property
    def heard(self) -> bool:
        """Somebody listens."""
        return bool(self._subscriptions)

    def tell(self, event: str, time: str, **about: Mapping[str, Any]) -> None:
        """`event` is the kind of the ledger entry; `about` is `approval` or `grant`."""
        for subscription in self._subscriptions:
            subscription.put({"event": event, "time": time, **about})
