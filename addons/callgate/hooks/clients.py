"""The runners' connections: how many there may be, how long each may take to say something, and how one is
cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from callgate.call import Refusal
from callgate.hooks.bounds import Bounds
from callgate.hooks.memory import Memory, Share
from callgate.hooks.pressure import Gate
from callgate.hooks.upstream import LastWriter


class Clients:
    """Counts and times client connections. `handlers` gives mitmproxy's connection handlers by client id."""

    def __init__(self, bounds: Bounds, memory: Memory, handlers: Callable[[], Mapping[Any, Any]]) -> None:
        self._bounds = bounds
        self._memory = memory
        self._handlers = handlers
        self._timers: dict[str, asyncio.TimerHandle | None] = {}
        self._late: set[str] = set()
        self._shares: dict[str, Share] = {}

    def came(self, client_id: str) -> None:
        """A connection was opened. Raises Refusal if there are as many as there may be."""
        if len(self._timers) >= self._bounds.connections:
            raise Refusal(
                "too-many-connections", "The gateway has as many connections as it takes.", status=503
            )
        self._timers[client_id] = None
        io = self._io(client_id)
        io.reader = Gate(io.reader)
        self._shares[client_id] = Share(self._memory, io.writer.transport.get_write_buffer_size)

    def left(self, client_id: str) -> None:
        """A connection was closed."""
        self.settled(client_id)
        self._timers.pop(client_id, None)
        self._late.discard(client_id)
        if share := self._shares.pop(client_id, None):
            share.close()

    def share(self, client_id: str) -> Share:
        """What the connection may have kept for it."""
        return self._shares[client_id]

    def awaiting(self, client_id: str, late: Callable[[], None]) -> None:
        """Something must come within the time for a handshake; if it does not, call `late` and cut the
        connection.
        """
        self.settled(client_id)

        def act() -> None:
            self._late.add(client_id)
            late()
            self.cut(client_id)

        loop = asyncio.get_running_loop()
        self._timers[client_id] = loop.call_later(self._bounds.handshake_seconds, act)

    def settled(self, client_id: str) -> None:
        """What was awaited has come."""
        if timer := self._timers.get(client_id):
            timer.cancel()
            self._timers[client_id] = None

    def is_late(self, client_id: str) -> bool:
        """Whether a connection is being cut because what was awaited did not come."""
        return client_id in self._late

    def cut(self, client_id: str) -> None:
        """Close a connection, whatever goes on in it."""
        if (io := self._io(client_id)) is not None and io.handler is not None:
            io.handler.cancel("callgate: cut")

    def read_on(self, client_id: str, goes_on: bool) -> None:
        """Go on reading from a client, or stop: what it sends then waits on its side."""
        if io := self._io(client_id):
            io.reader.let(goes_on)

    def hear_out(self, client_id: str, server: Any) -> None:
        """What comes from an upstream is read to its end, though it hangs up."""
        io = self._handlers()[client_id].transports[server]
        io.writer = LastWriter(io.reader, io.writer)
        io.reader = Gate(io.reader)

    def _io(self, client_id: str) -> Any:
        handler = self._handlers().get(client_id)
        return handler.transports.get(handler.client) if handler is not None else None
