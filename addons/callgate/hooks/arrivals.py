"""Clients on their way in: each gets a place and some time, and says by CONNECT who it is and where to."""

from __future__ import annotations

import asyncio

from mitmproxy import connection, http

from callgate.call import Refusal
from callgate.hooks import connect, respond
from callgate.hooks.answers import Answers
from callgate.hooks.clients import Clients
from callgate.hooks.exchange import Connection, Exchange
from callgate.hooks.gateway import Gateway, new_call_id
from callgate.hooks.guard import bare_answer, guarded
from callgate.hooks.refusals import EarlyRefusals


class Arrivals:
    """`connections`: by client id, those whose CONNECT was let through."""

    def __init__(self, gateway: Gateway, clients: Clients, early: EarlyRefusals, answers: Answers) -> None:
        self.connections: dict[str, Connection] = {}
        self._gateway = gateway
        self._clients = clients
        self._early = early
        self._answers = answers
        self._tasks: set[asyncio.Task[None]] = set()

    async def came(self, client: connection.Client) -> None:
        """A client has a place, and a time to say who it is; or its connection is closed at once."""
        client.error = "callgate: not admitted"
        try:
            self._clients.came(client.id)
        except Refusal as refusal:
            await self._early.note(refusal, source_ip=client.peername[0], target=None)
            return
        self._clients.awaiting(client.id, lambda: self._late(client))
        client.error = None

    async def connect(self, flow: http.HTTPFlow) -> None:
        """Take the refusal off the flow, or put one on that says why."""
        gateway, source_ip = self._gateway, flow.client_conn.peername[0]
        exchange = Exchange(call_id=new_call_id(), source_ip=source_ip, identity=None, host=flow.request.host)
        refusals: list[Refusal] = []

        async def work(_: asyncio.Timeout) -> None:
            identity, digest = await connect.identify(gateway, flow)
            exchange.identity = identity
            gateway.check_open()
            session = sum(each.identity.session == identity.session for each in self.connections.values())
            if session >= gateway.terms.bounds.session_connections:
                raise Refusal(
                    "too-many-connections", "This session has as many connections as it may.", status=429
                )
            known = await connect.establish(gateway, identity, digest, exchange, flow)
            self.connections[flow.client_conn.id] = known
            self._clients.share(flow.client_conn.id).session = identity.session
            self._clients.awaiting(flow.client_conn.id, lambda: self._late(flow.client_conn))
            flow.response = None

        await guarded("connect", work, refusals.append, gateway.terms.stage_seconds)
        if not refusals:
            return
        refusal = refusals[0]
        flow.response = bare_answer(refusal, exchange.call_id)
        flow.response.headers["Connection"] = "close"
        if refusal.status == 407:
            flow.response.headers["Proxy-Authenticate"] = 'Basic realm="callgate"'
        if exchange.identity is None:
            await self._early.note(refusal, source_ip=source_ip, target=flow.request.host[:253])
        else:
            await self._answers.note(exchange, refusal)

    async def refused(self, client: connection.Client, refusal: Refusal) -> None:
        """Record that a raw head, or a connection, was refused."""
        if self._clients.is_late(client.id) and refusal.code != "handshake-timeout":
            # Cut for being late, which has been said: its last head ends in the middle.
            return
        if (known := self.connections.get(client.id)) is None:
            await self._early.note(refusal, source_ip=client.peername[0], target=None)
        elif known.kind == "tunnel" and known.exchange is not None:
            # Its intent is in the log since CONNECT, so this is how that call ended.
            respond.end(self._gateway, known.exchange, "failed", reason=refusal.code)
        else:
            exchange = new_exchange(client, known)
            await self._answers.note(exchange, refusal)

    def _late(self, client: connection.Client) -> None:
        late = Refusal(
            "handshake-timeout", "The client did not say who it is, or speak TLS, in time.", status=408
        )
        task = asyncio.create_task(self.refused(client, late))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def new_exchange(client: connection.Client, known: Connection) -> Exchange:
    """A request that came over a connection which was let through."""
    return Exchange(
        call_id=new_call_id(),
        source_ip=client.peername[0],
        identity=known.identity,
        host=known.destination.host,
    )
