"""How much is read at a time, and back-pressure where mitmproxy has none: a layer that waits for a hook or a
connection keeps what comes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mitmproxy import connection
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import TCPLayer
from mitmproxy.proxy.layers.http import RequestData

_KEPT = 256 * 1024
"""Bytes that a layer keeps while it waits. One read more, and what lies in the kernel, come on top."""


READ = 256 * 1024
"""Bytes that are read at a time: as many as asyncio takes from a socket at once. mitmproxy asks for a
quarter, and walks all its layers for each.
"""


class Gate:
    """A stream reader that can be told to read no more for now; what is sent then waits on the other side.

    Pausing the transport would not do: the reader resumes it on its own account.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._open = asyncio.Event()
        self._open.set()

    async def read(self, _: int) -> bytes:
        """The next bytes, once there is an interest in them, however few are asked for."""
        await self._open.wait()
        return await self._reader.read(READ)

    def let(self, goes_on: bool) -> None:
        """Go on reading, or stop."""
        if goes_on:
            self._open.set()
        else:
            self._open.clear()


@dataclass
class Reading:
    """Whether more is read from a client for now."""

    client: connection.Client
    goes_on: bool


@dataclass
class ReadingHook(commands.StartHook):
    """Reading from a client has to stop, or may go on. Nothing waits for this hook."""

    reading: Reading
    blocking = False


def nothing() -> layer.CommandGenerator[None]:
    """No command at all."""
    yield from ()


class Patient(layer.Layer):
    """A layer for whose client nothing is read while it waits and has much to do already."""

    _kept = 0
    _goes_on = True

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if self._paused is None and self._goes_on:
            self._kept = 0
            return super().handle_event(event)
        return self._while_waiting(event)

    def _while_waiting(self, event: events.Event) -> layer.CommandGenerator[None]:
        yield from super().handle_event(event)
        if self._paused is None:
            self._kept = 0
        elif isinstance(event, RequestData) or (
            isinstance(event, events.DataReceived) and event.connection is self.context.client
        ):
            self._kept += len(event.data)
        if self._goes_on != (goes_on := self._kept <= _KEPT):
            self._goes_on = goes_on
            yield ReadingHook(Reading(self.context.client, goes_on))


class Tunnel(Patient, TCPLayer):
    """A tunnel whose client is not read from while the upstream is connected to."""
