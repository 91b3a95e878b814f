"""One request and its response: nothing passes in either direction unless a hook has said so, whatever became
of the hooks.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import http as http_layers

from callgate.call import Refusal
from callgate.hooks.bounds import Bounds
from callgate.hooks.heads import IDLE_SECONDS, BodyOverdue
from callgate.hooks.memory import Share
from callgate.hooks.pressure import Patient, nothing
from callgate.hooks.whole import WholeBody

# What hooks say in a flow's metadata: the gate to AWS is open, or our own answer is on; it is chosen how
# AWS's answer goes back, and it may.
OPENED, ANSWERED = "callgate_opened", "callgate_answered"
CHOSEN, RELEASED = "callgate_chosen", "callgate_released"

_PROGRESS = 1024 * 1024
_TOO_SLOW = Refusal("body-timeout", "The request body came in too slowly.", status=408)

AtOnce = Callable[[commands.StartHook], bool]
"""Handles a hook at once where nothing has to be waited for, and says whether it did."""


@dataclass
class RefusedBody:
    """A body that is read no further, and why."""

    flow: http.HTTPFlow
    refusal: Refusal


@dataclass
class RequestBodyRefusedHook(commands.StartHook):
    """The hook puts the answer on the flow."""

    refused: RefusedBody


@dataclass
class ResponseBodyRefusedHook(commands.StartHook):
    """The hook replaces the response."""

    refused: RefusedBody


class Stream(Patient, http_layers.HttpStream):
    """One request and its response; can answer while the request is still coming in.

    A body that is read whole has `Bounds.body_seconds`; one that streams brings `_PROGRESS` bytes in each
    such time, or its end.
    """

    bounds = Bounds()
    at_once: AtOnce
    share: Share
    passed = 0
    idle = False
    lingers_until = 0.0
    ended_early = False

    def __init__(self, context: Context, stream_id: int) -> None:
        super().__init__(context, stream_id)
        self.request_body_buf, self.response_body_buf = WholeBody(), WholeBody()

    def handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        # While the gateway takes its time, or a person, it is not the client that is late.
        late = self._paused is not None and isinstance(event, BodyOverdue)
        return nothing() if late else super().handle_event(event)

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Wakeup):
            ours = self._linger()
        elif isinstance(event, BodyOverdue):
            ours = self._overdue()
        else:
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
                if isinstance(command, http_layers.DropStream):
                    self.share.free()
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
        elif isinstance(hook, RequestBodyRefusedHook):
            if ANSWERED not in flow.metadata:
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
        self.share.free()
        yield from self._throw_away()

    def _throw_away(self) -> layer.CommandGenerator[None]:
        """The answer is out; what is still coming goes nowhere."""
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
            yield commands.RequestWakeup(min(left, IDLE_SECONDS))
        else:
            yield commands.CloseConnection(self.context.client)
            self.client_state = self.state_errored

    def state_discard(self, event: events.Event) -> layer.CommandGenerator[None]:
        self.idle = False
        if isinstance(event, http_layers.RequestEndOfMessage):
            yield commands.CloseConnection(self.context.client)
            self.client_state = self.state_errored

    def send_response(self, already_streamed: bool = False) -> layer.CommandGenerator[None]:
        yield from super().send_response(already_streamed)
        if self.server_state == self.state_done and self.client_state == self.state_stream_request_body:
            # AWS may answer before an upload has ended. That answer's end does not wait for the upload's.
            self.ended_early = True
            yield http_layers.SendHttp(http_layers.ResponseEndOfMessage(self.stream_id), self.context.client)

    def flow_done(self) -> layer.CommandGenerator[None]:
        if self.ended_early:
            self.flow.live = False
            yield http_layers.DropStream(self.stream_id)
        else:
            yield from super().flow_done()

    def handle_protocol_error(
        self, event: http_layers.RequestProtocolError | http_layers.ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        if isinstance(event, http_layers.ResponseProtocolError):
            if self.client_state == self.state_discard:
                return
            if self.ended_early:
                # It hung up after its answer, which the client has yet to read.
                yield from self._throw_away()
                return
        yield from super().handle_protocol_error(event)

    def _overdue(self) -> layer.CommandGenerator[None]:
        """The body has not ended, though it had its time."""
        if self.client_state == self.state_stream_request_body:
            if self.passed >= _PROGRESS:
                self.passed = 0
            elif self.ended_early:
                yield commands.CloseConnection(self.context.client)
            else:
                yield RequestBodyRefusedHook(RefusedBody(self.flow, _TOO_SLOW))
                yield from self._hang_up()
                if self.server_state == self.state_wait_for_response_headers:
                    yield from self.answer_early()
                else:
                    yield commands.CloseConnection(self.context.client)
        elif self.client_state == self.state_consume_request_body:
            yield from self._refuse(_TOO_SLOW)

    def _refuse(self, refusal: Refusal) -> layer.CommandGenerator[None]:
        yield RequestBodyRefusedHook(RefusedBody(self.flow, refusal))
        yield from self.answer_early()

    def _hang_up(self) -> layer.CommandGenerator[None]:
        """Leave the upstream in the middle of what it says, or hears."""
        yield http_layers.SendHttp(
            http_layers.RequestProtocolError(self.stream_id, "broken off", http_layers.ErrorCode.KILL),
            self.context.server,
        )

    def _keep(self, size: int) -> Refusal | None:
        try:
            self.share.keep(size)
        except Refusal as refusal:
            return refusal
        return None

    def state_stream_request_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, http_layers.RequestData):
            self.passed += len(event.data)
        yield from super().state_stream_request_body(event)

    def state_consume_request_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, http_layers.RequestData):
            size = len(event.data)
            if len(self.request_body_buf) + size > self.bounds.request_body:
                yield from self._refuse(self.bounds.request_too_large())
                return
            if refusal := self._keep(size):
                yield from self._refuse(refusal)
                return
        yield from super().state_consume_request_body(event)

    def state_consume_response_body(self, event: events.Event) -> layer.CommandGenerator[None]:
        refusal = None
        if isinstance(event, http_layers.ResponseData):
            if len(self.response_body_buf) + len(event.data) > self.bounds.response_body:
                refusal = self.bounds.response_too_large()
            else:
                refusal = self._keep(len(event.data))
        if refusal is None:
            yield from super().state_consume_response_body(event)
            return
        self.response_body_buf.clear()
        yield ResponseBodyRefusedHook(RefusedBody(self.flow, refusal))
        yield from self._hang_up()
        yield from self.send_response()
        self.server_state = self.state_errored


def _closed(status: int) -> http.Response:
    headers = {"X-Callgate-Reason": "gateway-error", "Content-Length": "0"}
    return http.Response.make(status, b"", headers)
