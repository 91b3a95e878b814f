"""Request heads, judged raw before anything parses them; a hook tells of those that are refused."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from mitmproxy import connection, http
from mitmproxy.net.http.http1 import assemble_response
from mitmproxy.proxy import commands, context, events, layer
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import HttpEvent
from mitmproxy.proxy.layers.http._http1 import Http1Server

from callgate.call import Refusal
from callgate.channel import judge_head
from callgate.hooks.bounds import Bounds

# A refused client that has sent nothing for so long has read its answer, or never will.
IDLE_SECONDS = 5.0
# What a client may send ahead of the answer to its last request.
_AHEAD_BYTES = 64 * 1024
_CREDENTIAL = re.compile(rb"\nproxy-authorization:", re.IGNORECASE)
_CUT_SHORT = Refusal("malformed-head", "The connection ended within a request head.", status=400)
_UNREADABLE = Refusal("malformed-head", "The request head cannot be read.", status=400)
_TOO_LARGE = Refusal("token-too-large", "The token is longer than 8192 bytes.", status=407)


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
class BodyOverdue(HttpEvent):
    """The body of a request has been coming in for as long as one may, once more."""


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
        self.body_timer: commands.RequestWakeup | None = None
        self.body_of = 0
        self.body_due = 0.0

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if not isinstance(event, events.Wakeup):
            yield from super()._handle_event(event)
            if self.state == self.read_body and self.body_of != self.stream_id:
                self.body_of = self.stream_id
                self.body_due = time.monotonic() + self.bounds.body_seconds
                if self.body_timer is None:
                    yield from self._time_body()
        elif event.command is self.body_timer:
            self.body_timer = None
            if self.state == self.read_body:
                if time.monotonic() >= self.body_due:
                    self.body_due += self.bounds.body_seconds
                    yield ReceiveHttp(BodyOverdue(self.stream_id))
                yield from self._time_body()
        elif self.state == self.discard:
            yield commands.CloseConnection(self.conn)
        elif event.command is self.head_timer:
            self.head_timer = None
            if self.state == self.read_headers and self.buf:
                late = Refusal("head-timeout", "The request head was not complete in time.", status=408)
                yield from self._refuse(late)

    def _time_body(self) -> layer.CommandGenerator[None]:
        # One timer for all bodies of a connection: most are over long before it is.
        self.body_timer = commands.RequestWakeup(max(0.0, self.body_due - time.monotonic()))
        yield self.body_timer

    def read_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        """As mitmproxy's, with what came at once in one piece: chunks of a byte each cost next to nothing."""
        pieces: list[bytes] = []
        stream_id = self.stream_id
        for command in super().read_body(event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, http_layers.RequestData):
                pieces.append(command.event.data)
                continue
            if pieces:
                yield ReceiveHttp(http_layers.RequestData(stream_id, b"".join(pieces)))
                pieces.clear()
            yield command
        if pieces:
            yield ReceiveHttp(http_layers.RequestData(stream_id, b"".join(pieces)))

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
        answer = _answer(refusal)
        if refusal.status == 407:
            answer.headers["Proxy-Authenticate"] = 'Basic realm="callgate"'
        yield commands.SendData(self.conn, assemble_response(answer))
        if refusal.status in (407, 431) and b"\r\n\r\n" not in bytes(self.buf):
            # Closing at once would reset the connection under a client that still sends its head.
            yield commands.RequestWakeup(IDLE_SECONDS)
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
            return self._send_failure(event)
        return super().send(event)

    def _send_failure(self, event: http_layers.ResponseProtocolError) -> layer.CommandGenerator[None]:
        # mitmproxy's own answer names addresses and system errors, which tell a client what can be reached.
        status = event.code.http_status_code()
        if self.conn.state & connection.ConnectionState.CAN_WRITE:
            if status is not None and not self.response:
                unreachable = event.code is http_layers.ErrorCode.CONNECT_FAILED
                yield commands.SendData(
                    self.conn, assemble_response(_failure(status, unreachable=unreachable))
                )
            yield commands.CloseConnection(self.conn)


def _answer(refusal: Refusal) -> http.Response:
    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "Connection": "close",
        "X-Callgate-Reason": refusal.code,
    }
    return http.Response.make(refusal.status, f"{refusal.code}: {refusal.detail}\n", headers)


def _failure(status: int, *, unreachable: bool) -> http.Response:
    """SDKs read an answer in HTML as that of something on the way, whatever the protocol, and come back."""
    code = "upstream-unreachable" if unreachable else "upstream-failed"
    answer = _answer(Refusal(code, "AWS's answer did not arrive, or not whole.", status=status))
    answer.text = f"<html><body>{answer.text}</body></html>\n"
    answer.headers["Content-Type"] = "text/html; charset=utf-8"
    return answer
