"""From a request to an open gate: the channel, the identity, the call, the decision, the hold, the intent.

The refusal that stands on every flow from its first hook is taken away in `open_gate`, and nowhere else.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from mitmproxy import http
from mitmproxy.connection import ConnectionState

from callgate import aws, web
from callgate.approvals import Attempt
from callgate.call import Call, HttpRequest, Refusal
from callgate.channel import Destination, Network, inner_destination
from callgate.decision import Decision
from callgate.hooks import record, resolve
from callgate.hooks.exchange import Connection, Exchange
from callgate.hooks.fields import as_text
from callgate.hooks.gateway import Gateway
from callgate.hooks.held import shown_as_held
from callgate.hooks.stream import OPENED
from callgate.identity import credential_from
from callgate.journal import StepTaken
from callgate.masking import redact_parameters
from callgate.policy import Moment, decide

_SDK_ATTEMPT = re.compile(r"attempt=(\d{1,3})(?:; ?max=(\d{1,3}))?")
_SIGNED = re.compile(rb"SignedHeaders=([^,\s]+)")
_OURS = frozenset((b"proxy-authorization", b"proxy-connection"))
Fields = tuple[tuple[bytes, bytes], ...]


def wire_request(flow: http.HTTPFlow, host: str, port: int) -> HttpRequest:
    """The request of a flow as it came off the wire."""
    request = flow.request
    return HttpRequest(
        method=request.data.method.decode("ascii"),
        host=host,
        port=port,
        target=request.data.path.decode("ascii"),
        headers=as_text(request.headers),
        body=request.raw_content,
    )


def establish(
    gateway: Gateway, connection: Connection, exchange: Exchange, flow: http.HTTPFlow
) -> HttpRequest:
    """Channel and identity, for every request anew. Raises Refusal."""
    destination = connection.destination
    exchange.request = wire_request(flow, destination.host, destination.port)
    inner_destination(
        destination,
        sni=flow.client_conn.sni,
        host_header=exchange.request.values("host")[0],
        absolute=flow.request.data.authority.decode("ascii") or None,
    )
    _judge_identity_headers(connection, exchange.request)
    connection.identity = exchange.identity = gateway.authenticator.check(connection.identity)
    gateway.check_open()
    return exchange.request


def is_small(gateway: Gateway, flow: http.HTTPFlow) -> bool:
    """Nothing is won by judging at the head: no body, or a small one that the client sends without being
    asked.
    """
    length = 0
    for name, value in flow.request.headers.fields:
        match name.lower():
            case b"content-length":
                length = int(value)
            case b"transfer-encoding" | b"expect":
                return False
    return length <= gateway.terms.hold_body


async def at_head(
    gateway: Gateway, connection: Connection, exchange: Exchange, flow: http.HTTPFlow, limit: asyncio.Timeout
) -> None:
    """What can be decided before the body is read. Raises Refusal."""
    request = establish(gateway, connection, exchange, flow)
    if connection.kind == "aws" and aws.head_suffices(request, gateway.endpoints):
        call = read(gateway, connection, request)
        if judge(gateway, exchange, call).effect == "hold" and _may_wait_whole(gateway, call):
            return
        exchange.call = call
        await admit(gateway, connection, exchange, flow, request, limit)
        flow.request.stream = exchange.count_sent
    elif (length := request.values("content-length")) and int(length[0]) > gateway.terms.bounds.request_body:
        raise gateway.terms.bounds.request_too_large()


async def at_body(
    gateway: Gateway, connection: Connection, exchange: Exchange, flow: http.HTTPFlow, limit: asyncio.Timeout
) -> None:
    """The whole request is there. Raises Refusal."""
    request = establish(gateway, connection, exchange, flow)
    exchange.sent = len(request.body or b"")
    exchange.call = read(gateway, connection, request)
    judge(gateway, exchange, exchange.call)
    await admit(gateway, connection, exchange, flow, request, limit)


def permitted_ranges(gateway: Gateway, kind: str) -> tuple[Network, ...] | None:
    """The ranges that are not public in which a destination may lie; None where the configuration names its
    address.
    """
    if kind != "aws":
        return ()
    return gateway.terms.private_ranges if gateway.terms.upstream is None else None


async def resolve_once(gateway: Gateway, destination: Destination, kind: str) -> None:
    """Whether the name leads only where it may. What it is connected to is judged again. Raises Refusal."""
    ranges = permitted_ranges(gateway, kind)
    if ranges is not None:
        await resolve.check(destination.host, destination.port, ranges)


async def admit(
    gateway: Gateway,
    connection: Connection,
    exchange: Exchange,
    flow: http.HTTPFlow,
    request: HttpRequest,
    limit: asyncio.Timeout,
) -> None:
    """Let a judged call wait for people where a rule says so, commit the intent, open the gate. Raises
    Refusal.
    """
    assert exchange.decision is not None
    if exchange.decision.effect == "hold":
        await _hold(gateway, exchange, flow, request, limit)
    try:
        if exchange.ticket is not None:
            _judge_again(gateway, connection, exchange, flow)
        if gone(flow)():
            raise Refusal("client-gone", "The client left before the call was passed on.")
        if not connection.resolved:
            await resolve_once(gateway, connection.destination, connection.kind)
            connection.resolved = True
        intent = record.intent(exchange, mask_key=gateway.mask_key)
        await gateway.journal.append(*([exchange.ticket.used()] if exchange.ticket else []), intent)
        open_gate(gateway, connection, exchange, flow)
    except StepTaken:
        # What somebody else took is not given back.
        assert exchange.ticket is not None
        await gateway.holds.settle(exchange.ticket, executed=None)
        raise Refusal("hold-revoked", "The approval was gone before the call could leave.") from None
    except BaseException:
        if exchange.ticket is not None:
            await gateway.holds.settle(exchange.ticket, executed=False)
        raise


def _judge_again(gateway: Gateway, connection: Connection, exchange: Exchange, flow: http.HTTPFlow) -> None:
    """After a wait, everything anew: the token may have ended, the rules changed, an operator edited the
    request.
    """
    asked, ticket = exchange.call, exchange.ticket
    assert asked is not None
    assert ticket is not None
    request = establish(gateway, connection, exchange, flow)
    exchange.call = read(gateway, connection, request)
    if exchange.call.fingerprint != asked.fingerprint:
        raise Refusal("changed-while-held", "The request is not the one that was approved.")
    if not ticket.covers(judge(gateway, exchange, exchange.call).holds):
        raise Refusal("rules-changed", "The rules now ask for another approval.")


def read(gateway: Gateway, connection: Connection, request: HttpRequest) -> Call:
    """The call that a request is. Raises Refusal."""
    limits = gateway.terms.reading
    if connection.kind == "aws":
        return aws.read(request, gateway.endpoints, limits)
    call = web.http_call(request)
    if "Body" in call.parameters:
        limits.judge_json(request.body or b"")
        limits.judge_depth(call.parameters["Body"])
    return call


def judge(gateway: Gateway, exchange: Exchange, call: Call) -> Decision:
    """The decision on a call, as long as it is not a denial: that raises Refusal."""
    assert exchange.identity is not None
    moment = Moment(now=datetime.now(UTC), source_ip=exchange.source_ip, mode=gateway.terms.mode)
    decision = decide(gateway.rules(), exchange.identity, call, moment)
    exchange.decision = decision
    if decision.effect == "deny":
        raise Refusal(decision.code, decision.reason)
    return decision


def open_gate(gateway: Gateway, connection: Connection, exchange: Exchange, flow: http.HTTPFlow) -> None:
    """Take the refusal off the flow. The intent is committed and synced when this is called."""
    flow.request.headers.fields = _forwarded(
        flow.request.headers.fields, exchange, aws=connection.kind == "aws"
    )
    if connection.kind == "aws" and (upstream := gateway.terms.upstream):
        # Through `data`, since the properties would rewrite the Host header.
        flow.request.data.scheme = upstream.scheme.encode()
        flow.request.data.host, flow.request.data.port = upstream.host, upstream.port
    flow.request.data.authority = b""
    exchange.forwarded = True
    flow.metadata[OPENED] = True
    flow.response = None


def gone(flow: http.HTTPFlow) -> Callable[[], bool]:
    """Tells whether the client of a flow has left, or an operator killed it."""
    client = flow.client_conn
    return lambda: flow.error is not None or client.state != ConnectionState.OPEN


async def _hold(
    gateway: Gateway, exchange: Exchange, flow: http.HTTPFlow, request: HttpRequest, limit: asyncio.Timeout
) -> None:
    assert exchange.identity is not None
    assert exchange.call is not None
    assert exchange.decision is not None
    call = exchange.call
    retry = _SDK_ATTEMPT.match((request.values("amz-sdk-request") or [""])[0])
    attempt = Attempt(
        call_id=exchange.call_id,
        identity=exchange.identity,
        call=call,
        terms=exchange.decision.holds,
        summary={
            "requestParameters": redact_parameters(call, key=gateway.mask_key, masks=exchange.decision.masks),
            "resources": [need.resource for need in call.needs],
            "reason": exchange.decision.reason,
            "sourceIPAddress": exchange.source_ip,
        },
        attempt=int(retry[1]) if retry else None,
        max_attempts=int(retry[2]) if retry and retry[2] else None,
        invocation_id=next(iter(request.values("amz-sdk-invocation-id")), None),
        rule_set=exchange.decision.digest,
        large=_streams(request) or len(request.body or b"") > gateway.terms.hold_body,
    )
    # A person takes longer than any deadline of a stage; the room of holds has its own.
    limit.reschedule(None)
    try:
        async with shown_as_held(gateway, exchange, flow):
            exchange.ticket = await gateway.holds.wait(attempt, gone(flow))
    finally:
        limit.reschedule(asyncio.get_running_loop().time() + gateway.terms.stage_seconds)


def _may_wait_whole(gateway: Gateway, call: Call) -> bool:
    """An upload that is small enough to be kept while people think. Read whole, it is known again by the
    hash of what it carries, which few SDKs sign.
    """
    length = call.payload.length if call.payload else None
    return length is not None and length <= gateway.terms.hold_body


def _streams(request: HttpRequest) -> bool:
    """The head was enough to judge by, and a body is still to come."""
    lengths = request.values("content-length")
    return request.body is None and (bool(request.values("transfer-encoding")) or lengths not in ([], ["0"]))


def _judge_identity_headers(connection: Connection, request: HttpRequest) -> None:
    """Inside a tunnel nobody may claim to be another than CONNECT proved."""
    if claimed := request.values("proxy-authorization"):
        digest = hashlib.sha256(credential_from(claimed).encode()).digest()
        if not hmac.compare_digest(digest, connection.credential_digest):
            raise Refusal("identity-conflict", "The request carries another credential than its CONNECT.")
    if any(name.startswith("x-callgate-") for name in request.by_name):
        raise Refusal("identity-conflict", "Headers named X-Callgate-… are the gateway's own.")


def _forwarded(fields: Fields, exchange: Exchange, *, aws: bool) -> Fields:
    """The headers as they go to AWS: without those for the gateway, and with the call id in a User-Agent
    that the signature does not cover, so that CloudTrail names our entry.
    """
    kept = [field for field in fields if field[0].lower() not in _OURS]
    if aws and b"user-agent" not in _signed_headers(kept):
        mark = b" callgate/" + exchange.call_id.encode()
        kept = [(name, value + mark if name.lower() == b"user-agent" else value) for name, value in kept]
    return tuple(kept)


def _signed_headers(fields: Iterable[tuple[bytes, bytes]]) -> list[bytes]:
    """The names that a SigV4 Authorization header signs. Without one, any header might be signed."""
    for name, value in fields:
        if name.lower() == b"authorization" and (signed := _SIGNED.search(value)):
            return signed[1].lower().split(b";")
    return [b"user-agent"]
