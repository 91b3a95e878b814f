"""The connection to AWS: interim answers are passed over, heads are bounded, and what AWS said before it hung
up is heard.
"""

from __future__ import annotations

import asyncio
import os
import re

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._http1 import Http1Client

from callgate.hooks.pressure import READ

# An answer before the answer (RFC 9110, section 15.2), but for the one that changes the protocol.
_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)[0-9]{2}(?: [^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n")
_INTERIM_MOST = 16
_HEAD_BYTES = 1024 * 1024


class StrictHttp1Client(Http1Client):
    """Reads the answers of one upstream connection.

    Interim ones go no further: what they answer (an Expect) the gateway has answered itself, some clients
    take a 103 for the answer, and nothing in them was judged.
    """

    interim = 0

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        """As mitmproxy's, for the answer proper."""
        if isinstance(event, events.DataReceived) and self.request is not None:
            while found := _INTERIM.match(bytes(self.buf)):
                self.buf.maybe_extract_at_most(found.end())
                self.interim += 1
            if self.interim > _INTERIM_MOST or len(self.buf) > _HEAD_BYTES:
                assert self.stream_id is not None
                yield commands.CloseConnection(self.conn)
                yield ReceiveHttp(
                    http_layers.ResponseProtocolError(
                        self.stream_id,
                        "the answer begins with too much",
                        http_layers.ErrorCode.GENERIC_SERVER_ERROR,
                    )
                )
                return
            if not self.buf:
                return
        yield from super().read_headers(event)

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """As mitmproxy's, which knows no trailers: nothing in them was masked, and they end the call."""
        try:
            yield from super().read_body(event)
        except NotImplementedError:
            assert self.stream_id is not None
            yield commands.CloseConnection(self.conn)
            yield ReceiveHttp(
                http_layers.ResponseProtocolError(
                    self.stream_id, "the answer has trailers", http_layers.ErrorCode.GENERIC_SERVER_ERROR
                )
            )

    def mark_done(self, *, request: bool = False, response: bool = False) -> layer.CommandGenerator[None]:
        """One of the two has ended."""
        if response:
            self.interim = 0
        return super().mark_done(request=request, response=response)


class Upstream(http_layers.HttpClient):
    """Opens the connection, over whatever lies below."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        error = yield commands.OpenConnection(self.context.server)
        if not error:
            self.child_layer = StrictHttp1Client(self.context)
            self._handle_event = self.child_layer.handle_event  # type: ignore[method-assign]
            yield from self._handle_event(event)
        yield http_layers.RegisterHttpConnection(self.context.server, error)


class LastWriter(asyncio.StreamWriter):
    """Takes note of what the other side said before it hung up on a writer.

    An answer that comes in the middle of an upload is followed by a reset, and asyncio reads no more once a
    write has failed. `replaces` is kept, since a writer that is collected closes its transport.
    """

    def __init__(self, reader: asyncio.StreamReader, replaces: asyncio.StreamWriter) -> None:
        transport = replaces.transport
        super().__init__(transport, transport.get_protocol(), reader, asyncio.get_running_loop())
        self._replaces = replaces
        self._hears = reader
        # A reader whose connection broke would keep to itself what had come before: let it end with that.
        reader.set_exception = lambda exc: reader.feed_eof()  # type: ignore[method-assign]

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, as far as anybody listens."""
        was_open = not self.is_closing()
        super().write(data)
        if was_open and self.is_closing():
            self._hear()

    async def drain(self) -> None:
        """Returns also where the connection is broken: whoever reads from it learns that in time."""
        try:
            await super().drain()
        except OSError:
            return

    def _hear(self) -> None:
        """Read what the system has kept."""
        number = self.get_extra_info("socket").fileno()
        try:
            while data := os.read(number, READ):
                self._hears.feed_data(data)
        except OSError:
            return
