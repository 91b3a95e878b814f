"""Subclasses of mitmproxy's layers for what its hooks see too late, installed by the bundle's `next_layer`.

- nothing passes in either direction unless a hook has said so, whatever became of the hooks (`stream`);
- raw request heads are judged before anything parses them, and refused ones are recorded (`heads`);
- an answer that is known at the head goes out at once, and the rest of the upload is thrown away (`stream`);
- bodies that have to be read whole are bounded, each and all together, and none may drip (`stream`);
- interim answers (1xx) are passed over, and what AWS said before it hung up is heard (`upstream`);
- what crashes a layer of mitmproxy (HTTP trailers do) closes the connection instead of hanging it (here).
"""

from __future__ import annotations

import logging
from dataclasses import replace

from mitmproxy.connection import Server
from mitmproxy.proxy import commands, context, events, layer, tunnel
from mitmproxy.proxy.layers import http as http_layers

from callgate.hooks.bounds import PORTAL_BODY, Bounds
from callgate.hooks.heads import StrictHttp1Server
from callgate.hooks.memory import Share
from callgate.hooks.stream import AtOnce, Stream
from callgate.hooks.tls import ServerTLS
from callgate.hooks.upstream import Upstream

_JOIN_BYTES = 64 * 1024
# What no hook has looked at is not connected to: `server_connect` takes this off a connection.
UNCHECKED = "callgate: no hook has let this connection be opened"
log = logging.getLogger(__name__)


class Http(http_layers.HttpLayer):
    """mitmproxy's HTTP layer with the strict parts in it."""

    def __init__(
        self,
        context: context.Context,
        mode: http_layers.HTTPMode,
        bounds: Bounds,
        at_once: AtOnce,
        share: Share,
    ) -> None:
        super().__init__(context, mode)
        if mode is http_layers.HTTPMode.regular:
            # Whoever speaks here may be nobody.
            bounds = replace(bounds, request_body=PORTAL_BODY)
        self.bounds = bounds
        self.at_once = at_once
        self.share = share
        self.connections[context.client] = StrictHttp1Server(
            context.fork(), bounds, outer=mode is http_layers.HTTPMode.regular
        )

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        # As `Context.fork` does it, but for the connection that it makes up and throws away.
        ours = object.__new__(context.Context)
        vars(ours).update(vars(self.context), layers=[*self.context.layers])
        stream = Stream(ours, stream_id)
        stream.bounds, stream.at_once, stream.share = self.bounds, self.at_once, self.share
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def get_connection(
        self, event: http_layers.GetHttpConnection, *, reuse: bool = True
    ) -> layer.CommandGenerator[None]:
        """As mitmproxy's, for HTTP/1.1 alone: the connection that is open, or a new one."""
        for known in self.connections:
            if reuse and event.connection_spec_matches(known) and known.connected:
                stream = self.command_sources.pop(event)
                done = http_layers.GetHttpConnectionCompleted(event, (known, None))
                yield from self.event_to_child(stream, done)
                return
        ours = self.context.fork()
        ours.server = Server(address=event.address)
        stack = tunnel.LayerStack()
        if event.tls:
            # The certificate is checked against the client's name for the host, or its stand-in's own.
            same = event.address == self.context.server.address
            ours.server.sni = (same and self.context.client.sni) or event.address[0]
            stack /= ServerTLS(ours)
        stack /= Upstream(ours)
        self.connections[ours.server] = stack[0]
        self.waiting_for_establishment[ours.server].append(event)
        yield from self.event_to_child(stack[0], events.Start())

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        try:
            yield from _outgoing(super()._handle_event(event))
        except Exception as exc:  # noqa: BLE001 - whatever it was, the connection must not hang
            log.error("closing a connection that mitmproxy cannot go on with: %s", type(exc).__name__)
            for peer in list(self.connections):
                yield commands.CloseConnection(peer)


def _outgoing(ours: layer.CommandGenerator[None]) -> layer.CommandGenerator[None]:
    """The same commands, with what goes to one peer without anything in between in one piece: a head and
    its body cost one TLS record and one system call. A large body is not copied for that. What is to be
    connected to counts as unchecked.
    """
    held: commands.SendData | None = None
    reply = None
    while True:
        try:
            command = ours.send(reply)
        except StopIteration:
            break
        reply = None
        if isinstance(command, commands.SendData):
            size = len(command.data) + (len(held.data) if held else 0)
            if held is not None and held.connection is command.connection and size <= _JOIN_BYTES:
                held.data += command.data
                continue
            if held is not None:
                yield held
            held = command
            continue
        if held is not None:
            yield held
            held = None
        if isinstance(command, commands.OpenConnection):
            command.connection.error = UNCHECKED
        reply = yield command
    if held is not None:
        yield held
