"""Subclasses of mitmproxy's layers for what its hooks see too late, installed by the bundle's `next_layer`.

- nothing passes in either direction unless a hook has said so, whatever became of the hooks;
- raw request heads are judged before anything parses them, and refused ones are recorded;
- an answer that is known at the head goes out at once, and the rest of the upload is thrown away;
- bodies that have to be read whole are bounded;
- what crashes a layer of mitmproxy (HTTP trailers do) closes the connection instead of hanging it.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mitmproxy import connection, http
from mitmproxy.net.http.http1 import assemble_response
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http._events import HttpEvent
from mitmproxy.proxy.layers.http._http1 import Http1Server

from callgate.call import Refusal
from callgate.channel import HeadLimits, judge_head
from callgate.hooks.pressure import Patient

# What hooks say in a flow's metadata: the gate to AWS is open, or our own answer is on; it is chosen how
# AWS's answer goes back, and it may.
OPENED, ANSWERED = "callgate_opened", "callgate_answered"
CHOSEN, RELEASED = "callgate_chosen", "callgate_released"
# A refused client that has sent nothing for so long has read its answer, or never will.
_IDLE_SECONDS = 5.0
_JOIN_BYTES = 16 * 1024
# What is asked of the proxy port itself has no larger body.
PORTAL_BODY = 64 * 1024
# What a client may send ahead of the answer to its last request.
_AHEAD_BYTES = 1024 * 1024
# What no hook has looked at is not connected to: `server_connect` takes this off a connection.
UNCHECKED = "callgate: no hook has let this connection be opened"
_CREDENTIAL = re.compile(rb"\nproxy-authorization:", re.IGNORECASE)
_CUT_SHORT = Refusal("malformed-head", "The connection ended within a request head.", status=400)
_UNREADABLE = Refusal("malformed-head", "The request head cannot be read.", status=400)
_TOO_LARGE = Refusal("token-too-large", "The token is longer than 8192 bytes.", status=407)
log = logging.getLogger(__name__)


AtOnce = Callable[[commands.StartHook], bool]
"""Handles a hook at once where nothing has to be waited for, and says whether it did."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes: request heads, request bodies and response bodies that are read whole. Times in
    seconds: from a head's first byte to its last, for a client to say who it is and to finish a TLS
    handshake, and for the rest of a refused request to be thrown away. `connections` counts those of all
    clients, `session_connections` those of one session.
    """

    head: HeadLimits = HeadLimits()
    head_seconds: float = 10.0
    linger_seconds: float = 30.0
    handshake_seconds: float = 10.0
    connections: int = 5000
    session_connections: int = 1000
    request_body: int = 16 * 1024 * 1024
    response_body: int = 16 * 1024 * 1024


@dataclass
class RefusedHead:
    """A request that never became a flow: why, and from whom."""

    client: connection.Client
    refusal: Refusal


@dataclass
class RefusedHeadHook(commands.StartHook):
    """A raw request head, or a connection, was refused. Fires before the answer goes out."""

    refused: RefusedHead


@dataclass
class RequestTooLargeHook(commands.StartHook):
    """A request body grew over the bound; the hook puts the answer on the flow."""

    flow: http.HTTPFlow


@dataclass
class ResponseTooLargeHook(commands.StartHook):
    """A response body that is read whole grew over the bound; the hook replaces the response."""

    flow: http.HTTPFlow


class Close(layer.Layer):
    """Closes the client's connection; what it sent goes nowhere."""

    def __init__(self, context: context.Context, refusal: Refusal) -> None:
        super().__init__(context)
        self.refusal = refusal

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            yield RefusedHeadHook(RefusedHead(self.context.client, self.refusal))
            yield commands.CloseConnection(self.context.client)


class StrictHttp1Server(Http1Server):
    """Judges each raw head before mitmproxy reads it. `outer` says that this is the proxy port itself."""

    def __init__(self, context: context.Context, bounds: Bounds, *, outer: bool) -> None:
        super().__init__(context)
        self.bounds = bounds
        self.outer = outer
        self.head_timer: commands.RequestWakeup | None = None

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, events.Wakeup):
            yield from super()._handle_event(event)
        elif self.state == self.discard:
            yield commands.CloseConnection(self.conn)
        elif event.command is self.head_timer:
            self.head_timer = None
            if self.state == self.read_headers and self.buf:
                late = Refusal("head-timeout", "The request head was not complete in time.", status=408)
                yield from self._refuse(late)

    def wait(self, event: events.Event) -> layer.CommandGenerator[None]:
        """While a request is answered, what the client sends ahead is kept, within a bound."""
        if isinstance(event, events.DataReceived) and len(self.buf) > _AHEAD_BYTES:
            event = events.ConnectionClosed(self.conn)
        yield from super().wait(event)

    def read_headers(self, event: events.ConnectionEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, events.ConnectionClosed) and self.buf:
            yield RefusedHeadHook(RefusedHead(self.context.client, _CUT_SHORT))
            yield commands.CloseConnection(self.conn)
            self.state = self.done
            return
        if isinstance(event, events.DataReceived):
            raw = bytes(self.buf)
            try:
                complete = self._judge(raw)
            except Refusal as refusal:
                if self.outer and refusal.status == 431 and _CREDENTIAL.search(raw):
                    refusal = _TOO_LARGE
                yield from self._refuse(refusal)
                return
            if not complete:
                if self.head_timer is None:
                    self.head_timer = commands.RequestWakeup(self.bounds.head_seconds)
                    yield self.head_timer
                return
            # The timer that runs is the last head's: it must not end the next one.
            self.head_timer = None
        for command in super().read_headers(event):
            if isinstance(command, commands.SendData):
                # mitmproxy has an answer of its own to what it cannot read.
                yield from self._refuse(_UNREADABLE)
                return
            yield command

    def _judge(self, raw: bytes) -> bool:
        """Whether the head is complete. Raises Refusal."""
        end = raw.find(b"\r\n\r\n")
        if end < 0:
            if len(raw) > self.bounds.head.size or b"\n\n" in raw or raw[:1] in (b"\r", b"\n"):
                judge_head(raw, self.bounds.head)
                raise Refusal("malformed-head", "The request head does not end in CRLF CRLF.", status=400)
            return False
        judge_head(raw[: end + 4], self.bounds.head)
        method, target, _ = raw.split(b" ", 2)
        if self.outer and method != b"CONNECT" and not target.startswith(b"/"):
            raise Refusal("plaintext-refused", "Requests are passed on over TLS (CONNECT) only.")
        if not self.outer and target.startswith(b"http://"):
            raise Refusal("destination-mismatch", "The request target is for plain HTTP.", status=400)
        if not self.outer and method == b"CONNECT":
            raise Refusal("nested-connect", "A tunnel inside a tunnel is not made.", status=400)
        return True

    def _refuse(self, refusal: Refusal) -> layer.CommandGenerator[None]:
        yield RefusedHeadHook(RefusedHead(self.context.client, refusal))
        answer = http.Response.make(
            refusal.status,
            f"{refusal.code}: {refusal.detail}\n",
            {
                "Content-Type": "text/plain; charset=utf-8",
                "Connection": "close",
                "X-Callgate-Reason": refusal.code,
            },
        )
        if refusal.status == 407:
            answer.headers["Proxy-Authenticate"] = 'Basic realm="callgate"'
        yield commands.SendData(self.conn, assemble_response(answer))
        if refusal.status in (407, 431) and b"\r\n\r\n" not in bytes(self.buf):
            # Closing at once would reset the connection under a client that still sends its head.
            yield commands.RequestWakeup(_IDLE_SECONDS)
            self.head_timer = None
            self.state = self.discard
        else:
            yield commands.CloseConnection(self.conn)
            self.state = self.done

    def discard(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Throw away the rest of a head that is too large while there is time, then close."""
        if isinstance(event, events.DataReceived):
            end = bytes(self.buf).endswith(b"\r\n\r\n")
            self.buf.maybe_extract_at_most(len(self.buf))
            if not end:
                return
        yield commands.CloseConnection(self.conn)
        self.state = self.done

    def send(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        if isinstance(event, http_layers.ResponseProtocolError):
            # mitmproxy's text names addresses and system errors, which tell a client what can be reached.
            event = http_layers.ResponseProtocolError(
                event.stream_id, "Callgate could not pass this request on, or its answer back.", event.code
            )
        yield from super().send(event)


class Stream(Patient, http_layers.HttpStream):
    """One request and its response; can answer while the request is still coming in."""

    bounds = Bounds()
    at_once: AtOnce
    idle = False
    lingers_until = 0.0

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Wakeup):
            yield from self._linger()
            return
        ours = super()._handle_event(event)
        reply = None
        while True:
            try:
                command = ours.send(reply)
            except StopIteration:
                return
            if isinstance(command, commands.Log) and command.level < logging.WARNING:
                # "Streaming response from …", for each call.
                reply = None
            elif isinstance(command, commands.StartHook):
                if not self.at_once(command):
                    yield command
                reply = None
                self._close_unless_said(command)
            else:
                reply = yield command

    def _close_unless_said(self, hook: commands.StartHook) -> None:
        """mitmproxy goes on after a hook whatever became of it; what was not let through explicitly stays
        here.
        """
        flow = self.flow
        if isinstance(hook, http_layers.HttpRequestHeadersHook | http_layers.HttpRequestHook):
            if OPENED not in flow.metadata and ANSWERED not in flow.metadata:
                flow.request.stream = False
                if isinstance(hook, http_layers.HttpRequestHook):
                    flow.response = _closed(503)
        elif isinstance(hook, http_layers.HttpResponseHeadersHook):
            if flow.response and flow.response.stream and OPENED not in flow.metadata:
                flow.response.stream = False
        elif isinstance(hook, http_layers.HttpResponseHook) and not (
            ANSWERED in flow.metadata or {CHOSEN, RELEASED} <= flow.metadata.keys()
        ):
            if flow.response and flow.response.stream:
                flow.kill()
            flow.response = _closed(502)

    def start_request_stream(self) -> layer.CommandGenerator[None]:
        if self.flow.response:
            yield from self.answer_early()
        else:
            yield from super().start_request_stream()

    def answer_early(self) -> layer.CommandGenerator[None]:
        """Send the response that is on the flow, and throw away what is still coming."""
        answer = self.flow.response
        assert answer is not None
        answer.headers["Connection"] = "close"
        content = answer.raw_content
        yield http_layers.SendHttp(
            http_layers.ResponseHeaders(self.stream_id, answer, not content), self.context.client
        )
        if content:
            yield http_layers.SendHttp(http_layers.ResponseData(self.stream_id, content), self.context.client)
        yield http_layers.SendHttp(http_layers.ResponseEndOfMessage(self.stream_id), self.context.client)
        self.flow.live = False
        self.request_body_buf.clear()
        self.client_state = self.state_discard
        self.server_state = self.state_errored
        # Closing at once would reset the connection under a client that still sends, and it would lose the
        # answer.
        self.lingers_until = time.monotonic() + self.bounds.linger_seconds
        yield from self._linger()

    def _linger(self) -> layer.CommandGenerator[None]:
        """Go on throwing away as long as something comes and there is time, else close."""
        left = self.lingers_until - time.monotonic()
        if left > 0 and not self.idle:
            self.idle = True
            yield commands.RequestWakeup(min(left, _IDLE_SECONDS))
        else:
            yield commands.CloseConnection(self.context.client)
            self.client_state = self.state_errored

    def state_discard(self, event: events.Event) -> layer.CommandGenerator[None]:
        self.idle = False
        if isinstance(event, http_layers.RequestEndOfMessage):
            yield commands.CloseConnection(self.context.client)
            self.client_state = self.state_errored

    def state_consume_request_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        if (
            isinstance(event, http_layers.RequestData)
            and len(self.request_body_buf) + len(event.data) > self.bounds.request_body
        ):
            yield RequestTooLargeHook(self.flow)
            yield from self.answer_early()
        else:
            yield from super().state_consume_request_body(event)

    def state_consume_response_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        if (
            isinstance(event, http_layers.ResponseData)
            and len(self.response_body_buf) + len(event.data) > self.bounds.response_body
        ):
            self.response_body_buf.clear()
            yield ResponseTooLargeHook(self.flow)
            yield http_layers.SendHttp(
                http_layers.RequestProtocolError(
                    self.stream_id, "response too large", http_layers.ErrorCode.KILL
                ),
                self.context.server,
            )
            yield from self.send_response()
            self.server_state = self.state_errored
        else:
            yield from super().state_consume_response_body(event)


def _closed(status: int) -> http.Response:
    headers = {"X-Callgate-Reason": "gateway-error", "Content-Length": "0"}
    return http.Response.make(status, b"", headers)


class Http(http_layers.HttpLayer):
    """mitmproxy's HTTP layer with the strict parts in it."""

    def __init__(
        self,
        context: context.Context,
        mode: http_layers.HTTPMode,
        bounds: Bounds,
        at_once: AtOnce,
    ) -> None:
        super().__init__(context, mode)
        if mode is http_layers.HTTPMode.regular:
            # Whoever speaks here may be nobody.
            bounds = replace(bounds, request_body=PORTAL_BODY)
        self.bounds = bounds
        self.at_once = at_once
        self.connections[context.client] = StrictHttp1Server(
            context.fork(), bounds, outer=mode is http_layers.HTTPMode.regular
        )

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        stream = Stream(self.context.fork(), stream_id)
        stream.bounds, stream.at_once = self.bounds, self.at_once
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        try:
            for command in _joined(super()._handle_event(event)):
                if isinstance(command, commands.OpenConnection):
                    command.connection.error = UNCHECKED
                yield command
        except Exception as exc:  # noqa: BLE001 - whatever it was, the connection must not hang
            log.error("closing a connection that mitmproxy cannot go on with: %s", type(exc).__name__)
            for peer in list(self.connections):
                yield commands.CloseConnection(peer)


def _joined(ours: layer.CommandGenerator[None]) -> layer.CommandGenerator[None]:
    """The same commands, with what goes to one peer without anything in between in one piece: a head and
    its body cost one TLS record and one system call.
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
            if held is not None and held.connection is command.connection and len(held.data) < _JOIN_BYTES:
                held.data += command.data
                continue
            if held is not None:
                yield held
            held = command
            continue
        if held is not None:
            yield held
            held = None
        reply = yield command
    if held is not None:
        yield held
