"""The one addon that is registered: it orders the hooks, guards each of them, and keeps what they share.

The way of a request: next_layer -> http_connect -> requestheaders -> request -> (AWS) -> responseheaders ->
response.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mitmproxy import connection, http, tcp, tls
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import layer, server_hooks
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.layers.http import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)

from callgate.call import Refusal
from callgate.hooks import judge, record, resolve, respond, tunnel
from callgate.hooks.answers import Answers
from callgate.hooks.arrivals import Arrivals, new_exchange
from callgate.hooks.clients import Clients
from callgate.hooks.exchange import Connection, Exchange
from callgate.hooks.gateway import Gateway
from callgate.hooks.guard import bare_answer, guarded, guarded_now
from callgate.hooks.heads import RefusedHead
from callgate.hooks.layers import UNCHECKED
from callgate.hooks.next_layer import choose_layer, refuse_layer
from callgate.hooks.portal import Portal
from callgate.hooks.pressure import Reading
from callgate.hooks.refusals import EarlyRefusals
from callgate.hooks.stream import ANSWERED, CHOSEN, OPENED, RELEASED, RefusedBody

log = logging.getLogger(__name__)
_PORTAL = "callgate_portal"
_LEFT = Refusal("client-gone", "The client left before its request was complete.")
_TLS_FAILED = Refusal("tls-failed", "The TLS handshake with the client failed.", status=400)
_UNDECIDED = Refusal("not-decided", "The gateway has not decided on this request.", status=503)
_NO_HEAD = Refusal("gateway-error", "The gateway's request head stage failed.", status=503)
_NO_CHOICE = Refusal("gateway-error", "The gateway's response head stage failed.", status=502)
# Stands on every flow from its first hook on, and is never sent: the layers put one of their own in its
# place.
_REFUSAL = bare_answer(_UNDECIDED)


class Bundle:
    """All of Callgate's hooks."""

    name = "callgate"

    def __init__(self, gateway: Gateway, handlers: Callable[[], Mapping[Any, Any]]) -> None:
        self.gateway = gateway
        self.clients = Clients(gateway.terms.bounds, gateway.memory, handlers)
        self.early = EarlyRefusals(gateway)
        self.answers = Answers(gateway)
        self.portal = Portal(gateway, self.early)
        self.arrivals = Arrivals(gateway, self.clients, self.early, self.answers)
        self.connections = self.arrivals.connections
        self.exchanges: dict[str, Exchange] = {}

    async def client_connected(self, client: connection.Client) -> None:
        """A client has a place, and a time to say who it is; or its connection is closed at once."""
        await self.arrivals.came(client)

    def tls_established_client(self, data: tls.TlsData) -> None:
        """In a tunnel to AWS, the handshake was what was awaited."""
        if data.conn.id in self.connections:
            self.clients.settled(data.conn.id)

    async def tls_failed_client(self, data: tls.TlsData) -> None:
        """What looked like TLS was none, or the client does not trust our certificate."""
        await self.arrivals.refused(data.context.client, _TLS_FAILED)

    async def refused_head(self, refused: RefusedHead) -> None:
        """A raw head, or a connection, was refused by a layer."""
        await self.arrivals.refused(refused.client, refused.refusal)

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """407, 403, or a tunnel whose requests the next hooks judge."""
        flow.response = bare_answer(_UNDECIDED)
        await self.arrivals.connect(flow)

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Only our layers read a connection, whatever mitmproxy's own choice was."""
        try:
            client_id = nextlayer.context.client.id
            known, share = self.connections.get(client_id), self.clients.share(client_id)
            choose_layer(nextlayer, known, self.gateway.terms, self.at_once, share)
        except Exception as exc:  # noqa: BLE001 - mitmproxy's own choice must not stand
            log.error("callgate: next_layer failed: %s", type(exc).__name__)
            refuse_layer(
                nextlayer, Refusal("gateway-error", "The gateway's next_layer stage failed.", status=503)
            )

    def at_once(self, hook: StartHook) -> bool:
        """Handle a hook in which nothing is waited for, and say so: what nobody else watches, the layers need
        not send around. Every hook has its way below as well, which is taken where this one fails.
        """
        try:
            return self._at_once(hook)
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - a layer that raises ends unrecorded
            log.error("callgate: %s failed: %s", type(hook).__name__, type(exc).__name__)
            return False

    def _at_once(self, hook: StartHook) -> bool:
        watched = self.gateway.terms.watched
        if isinstance(hook, HttpResponseHeadersHook | HttpErrorHook) and hook.flow.id in self.exchanges:
            # The request is needed no more, and those who look at its end have their turn before this addon.
            self.answers.scrub(hook.flow, self.exchanges[hook.flow.id])
        match hook:
            case HttpRequestHeadersHook(flow) if watched != "live":
                return self._begin(flow) is None
            case HttpResponseHeadersHook(flow) if watched != "live":
                self._choose(flow)
                return True
            case HttpResponseHook(flow) if watched == "never":
                return self._answer_now(flow)
        return False

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        """The refusal goes on first; what can be decided at the head is decided here."""
        if (begun := self._begin(flow)) is None:
            return
        known, exchange = begun

        async def work(limit: asyncio.Timeout) -> None:
            await judge.at_head(self.gateway, known, exchange, flow, limit)

        if refusal := await self._judging("request head", exchange, work):
            await self._refuse(flow, exchange, refusal)
            # Answers at once, with the body unread; see `stream.Stream`.
            flow.request.stream = True
            flow.request.headers.pop("expect", None)
        elif OPENED in flow.metadata:
            self.answers.annotate(flow, exchange)

    def _begin(self, flow: http.HTTPFlow) -> tuple[Connection, Exchange] | None:
        """Put the refusal on; whose call it is, if it has to be judged before its body comes."""
        flow.response = _REFUSAL
        if (known := self.connections.get(flow.client_conn.id)) is None:
            flow.metadata[_PORTAL] = True
            return None
        exchange = self.exchanges[flow.id] = known.exchange = new_exchange(flow.client_conn, known)
        exchange.flow_id = flow.id
        return None if judge.is_small(self.gateway, flow) else (known, exchange)

    async def request(self, flow: http.HTTPFlow) -> None:
        """The request is whole: judge it, unless its head was enough."""
        if flow.metadata.get(_PORTAL):
            self.clients.settled(flow.client_conn.id)
            await self.portal.answer(flow)
            return
        exchange, known = self.exchanges.get(flow.id), self.connections.get(flow.client_conn.id)
        if known is None or ANSWERED in flow.metadata or OPENED in flow.metadata:
            return
        if exchange is None:
            await self._refuse(flow, new_exchange(flow.client_conn, known), _NO_HEAD)
            return

        async def work(limit: asyncio.Timeout) -> None:
            await judge.at_body(self.gateway, known, exchange, flow, limit)

        if refusal := await self._judging("request", exchange, work):
            await self._refuse(flow, exchange, refusal)
        else:
            self.answers.annotate(flow, exchange)

    async def request_body_refused(self, refused: RefusedBody) -> None:
        """A body grew over a bound, or comes in too slowly."""
        flow, refusal = refused.flow, refused.refusal
        if flow.metadata.get(_PORTAL):
            await self.portal.refuse(flow, refusal)
            return
        exchange, known = self.exchanges.pop(flow.id, None), self.connections.get(flow.client_conn.id)
        if exchange is None or known is None or exchange.ended:
            return
        if exchange.forwarded:
            flow.response = bare_answer(refusal, exchange.call_id)
            flow.metadata[ANSWERED] = True
            await respond.break_off(self.gateway, exchange, refusal)
            return
        if exchange.request is None:
            exchange.request = judge.wire_request(flow, known.destination.host, known.destination.port)
        await self.answers.refuse(flow, exchange, refusal)

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """AWS's answer begins: choose how it goes back."""
        self._choose(flow)

    def _choose(self, flow: http.HTTPFlow) -> None:
        exchange = self.exchanges.get(flow.id)
        if exchange is None or not exchange.forwarded or exchange.ended:
            return

        def work() -> None:
            respond.at_head(self.gateway, exchange, flow)
            flow.metadata[CHOSEN] = True

        if refusal := guarded_now("response head", work):
            # The body is still to come and will be put on this response, so it is taken off again in
            # `response`.
            exchange.withheld = refusal
            flow.response = bare_answer(refusal, exchange.call_id)

    async def response(self, flow: http.HTTPFlow) -> None:
        """AWS's answer is there: masked or withheld, and the outcome recorded."""
        if self._answer_now(flow):
            return
        exchange = self.exchanges[flow.id]

        async def work(_: asyncio.Timeout) -> None:
            if exchange.withheld:
                raise exchange.withheld
            if CHOSEN not in flow.metadata:
                raise _NO_CHOICE
            await respond.prepare(self.gateway, exchange, flow)
            self._release(flow, exchange)

        if refusal := await self._judging("response", exchange, work):
            self.exchanges.pop(flow.id, None)
            await self.answers.withhold(flow, exchange, refusal)
        self.answers.scrub(flow, exchange)

    def _answer_now(self, flow: http.HTTPFlow) -> bool:
        """Let AWS's answer go back, if there is one and nothing to wait for."""
        exchange = self.exchanges.get(flow.id)
        if exchange is None or not exchange.forwarded:
            return True
        if exchange.withheld or CHOSEN not in flow.metadata:
            return False

        def work() -> None:
            if not respond.waits(exchange, flow):
                self._release(flow, exchange)

        return guarded_now("response", work) is None and RELEASED in flow.metadata

    def _release(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        respond.at_body(self.gateway, exchange, flow)
        self.exchanges.pop(flow.id, None)
        flow.metadata[RELEASED] = True

    async def response_body_refused(self, refused: RefusedBody) -> None:
        """A response that has to be read whole grew over a bound."""
        if exchange := self.exchanges.get(refused.flow.id):
            exchange.withheld = refused.refusal
        refused.flow.response = bare_answer(refused.refusal)

    async def error(self, flow: http.HTTPFlow) -> None:
        """A request or response broke off."""
        exchange = self.exchanges.pop(flow.id, None)
        if exchange is None:
            return

        async def work(_: asyncio.Timeout) -> None:
            if exchange.forwarded:
                await respond.at_error(self.gateway, exchange, flow)
            elif not exchange.ended:
                await self.answers.note(exchange, _LEFT)

        if await self._judging("error", exchange, work):
            respond.end(self.gateway, exchange, "failed", reason="gateway-error")

    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """The last line: no connection is opened but for a call that was let through and whose client is
        there.
        """
        known = self.connections.get(data.client.id)
        exchange = known.exchange if known else None
        open_call = exchange is not None and exchange.forwarded and not exchange.ended
        data.server.error = UNCHECKED
        if known and open_call and data.client.state & ConnectionState.CAN_READ:
            ranges = judge.permitted_ranges(self.gateway, known.kind)
            if ranges is not None:
                resolve.judging(ranges)
            data.server.error = None
            self.clients.settled(data.client.id)

    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """A connection to AWS, or a tunnel's, is open."""
        self.clients.hear_out(data.client.id, data.server)

    async def client_disconnected(self, client: connection.Client) -> None:
        """No call of a connection stays without its terminal entry."""
        self.clients.left(client.id)
        known = self.connections.pop(client.id, None)
        exchange = known.exchange if known else None
        if exchange is None or exchange.judging:
            return
        self.exchanges.pop(exchange.flow_id, None)
        if exchange.ended:
            return
        if known and known.kind == "tunnel":
            respond.end(self.gateway, exchange, "completed")
        elif exchange.forwarded:
            respond.end(self.gateway, exchange, "failed", reason="connection-lost")
            if exchange.ticket is not None:
                await self.gateway.holds.settle(exchange.ticket, None)
        else:
            exchange.ended = True
            self.gateway.journal.append_soon(record.refused(exchange, _LEFT, mask_key=self.gateway.mask_key))

    def reading(self, reading: Reading) -> None:
        """A layer has enough to do, or wants more."""
        self.clients.read_on(reading.client.id, reading.goes_on)

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """Bytes of a tunnel."""
        known = self.connections.get(flow.client_conn.id)
        if known and known.exchange:
            tunnel.count(known.exchange, flow)

    def tcp_error(self, flow: tcp.TCPFlow) -> None:
        """A tunnel broke, or could not be made."""
        known = self.connections.get(flow.client_conn.id)
        if known and known.exchange:
            respond.end(self.gateway, known.exchange, "failed", reason="upstream-failed")

    async def _judging(
        self, stage: str, exchange: Exchange, work: Callable[[asyncio.Timeout], Awaitable[None]]
    ) -> Refusal | None:
        refusals: list[Refusal] = []
        exchange.judging = True
        try:
            await guarded(stage, work, refusals.append, self.gateway.terms.stage_seconds)
        finally:
            exchange.judging = False
        return refusals[0] if refusals else None

    async def _refuse(self, flow: http.HTTPFlow, exchange: Exchange, refusal: Refusal) -> None:
        self.exchanges.pop(flow.id, None)
        await self.answers.refuse(flow, exchange, refusal)
