"""CONNECT: who calls, to whom, and how the tunnel will be read."""

from __future__ import annotations

import hashlib

from mitmproxy import http

from callgate import aws, web
from callgate.call import Refusal
from callgate.channel import connect_destination
from callgate.hooks import judge, record
from callgate.hooks.exchange import Connection, Exchange
from callgate.hooks.gateway import Gateway
from callgate.identity import Identity, credential_from
from callgate.policy import inspects


async def identify(gateway: Gateway, flow: http.HTTPFlow) -> tuple[Identity, bytes]:
    """The verified identity behind a CONNECT, and a digest of its credential. Raises Refusal (407)."""
    values = flow.request.headers.get_all("proxy-authorization")
    flow.request.headers.pop("proxy-authorization", None)
    credential = credential_from(values)
    identity = await gateway.authenticator.identify(credential, source_ip=flow.client_conn.peername[0])
    return identity, hashlib.sha256(credential.encode()).digest()


async def establish(
    gateway: Gateway, identity: Identity, digest: bytes, exchange: Exchange, flow: http.HTTPFlow
) -> Connection:
    """What the tunnel is for. A tunnel to a host outside AWS is judged here, once. Raises Refusal (403)."""
    target = flow.request.data.authority.decode("ascii", "replace")
    destination = connect_destination(target, flow.request.headers.get("host"))
    exchange.host = destination.host
    if aws.knows_host(destination.host, gateway.endpoints):
        return Connection(destination, identity, "aws", digest)
    if inspects(gateway.rules(), destination.host) and not aws.is_aws_domain(destination.host):
        return Connection(destination, identity, "inspect", digest)
    exchange.identity = gateway.authenticator.check(identity)
    exchange.call = web.tunnel_call(destination.host, destination.port)
    decision = judge.judge(gateway, exchange, exchange.call)
    if decision.effect == "hold":
        raise Refusal("tunnel-held", "A tunnel cannot wait for a person; allow or deny it.")
    await judge.resolve_once(gateway, destination, "tunnel")
    await gateway.journal.append(record.intent(exchange, mask_key=gateway.mask_key))
    exchange.forwarded = True
    return Connection(destination, identity, "tunnel", digest, exchange)
