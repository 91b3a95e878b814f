"""From the upstream's response to the client's: masked or withheld, counted, and its outcome recorded."""

from __future__ import annotations

import re
from typing import Any

from mitmproxy import http

from callgate.call import HttpResponse, Refusal
from callgate.hooks import record
from callgate.hooks.exchange import Exchange
from callgate.hooks.fields import as_headers, as_text
from callgate.hooks.gateway import Gateway
from callgate.masking import MaskedResponse, mask_head, mask_response, stream_masker

# Masking more than this many bytes takes long enough to be noticed by others on the event loop. Nobody knows
# yet how many a body with a coding holds.
_OFF_LOOP = 256 * 1024
_OFF_LOOP_CODED = 4 * 1024
# What two readers of a response could take for the end of a header (RFC 9112, sections 2.2 and 5.2).
_BREAKS = re.compile(rb"[\r\n\0]")
_REQUEST_IDS = frozenset((b"x-amzn-requestid", b"x-amz-request-id", b"x-amzn-request-id"))
_THROTTLED = frozenset(
    (
        "Throttling ThrottlingException ThrottledException RequestThrottled RequestThrottledException"
        " SlowDown TooManyRequestsException RequestLimitExceeded ProvisionedThroughputExceededException"
    ).split()
)


def at_head(gateway: Gateway, exchange: Exchange, flow: http.HTTPFlow) -> None:
    """Choose how the response is passed back: streamed as it is, streamed through a masker, or read whole."""
    response = flow.response
    assert response is not None
    assert exchange.call is not None
    assert exchange.decision is not None
    if response.status_code < 200:
        raise Refusal("upgrade-refused", "The upstream switched protocols.", status=502)
    if _BREAKS.search(b"".join([part for field in response.headers.fields for part in field])):
        raise Refusal("malformed-response", "A header of the response is folded or broken.", status=502)
    masks = exchange.decision.masks
    if not masks:
        response.stream = exchange.pass_back
        return
    headers = as_text(response.headers)
    call, status, key = exchange.call, response.status_code, gateway.mask_key
    exchange.masker = stream_masker(masks, call, status, headers, key=key, limit=gateway.terms.mask_limit)
    if exchange.masker is not None:
        response.headers = as_headers(exchange.masker.headers)
        # In chunks, so that a stream that is cut does not look like one that has ended.
        response.headers.pop("content-length", None)
        if flow.request.is_http11:
            response.headers["transfer-encoding"] = "chunked"
        response.stream = exchange.pass_back
    elif flow.request.method == "HEAD":
        # Its length is that of a body which does not come.
        return
    elif (head := mask_head(masks, call, status, headers, key=key)) is not None:
        fields, exchange.masked = head
        response.headers = as_headers(fields)
        response.stream = exchange.pass_back
    elif int(response.headers.get("content-length", "0")) > gateway.terms.mask_limit:
        raise gateway.terms.bounds.response_too_large()


def waits(exchange: Exchange, flow: http.HTTPFlow) -> bool:
    """Whether `prepare` has something to wait for: an approval to settle, or much to mask."""
    return exchange.ticket is not None or _is_much(exchange, flow)


async def prepare(gateway: Gateway, exchange: Exchange, flow: http.HTTPFlow) -> None:
    """What must be waited for before `at_body`."""
    response = flow.response
    assert response is not None
    if exchange.ticket is not None:
        head = exchange.head if response.stream else (response.raw_content or b"")[:4096]
        code = record.error_code(response.status_code, response.headers, head)
        throttled = response.status_code == 429 or code in _THROTTLED
        await _settle(gateway, exchange, executed=not throttled)
    if _is_much(exchange, flow):
        assert exchange.call is not None
        assert exchange.decision is not None
        whole, terms = _whole(response), _terms(gateway, flow)
        masked = await gateway.mask_worker.mask(exchange.decision.masks, exchange.call, whole, **terms)
        exchange.digest.update(masked.response.body)
        await exchange.digest.settled()
        _put(flow, exchange, masked)


def at_body(gateway: Gateway, exchange: Exchange, flow: http.HTTPFlow) -> None:
    """The response is whole or has been streamed: mask it where it was not, and record the outcome."""
    response = flow.response
    assert response is not None
    assert exchange.call is not None
    assert exchange.decision is not None
    request_id = _request_id(response)
    if not response.stream:
        if exchange.decision.masks and not exchange.is_masked:
            masks, terms = exchange.decision.masks, _terms(gateway, flow)
            masked = mask_response(masks, exchange.call, _whole(response), **terms)
            exchange.digest.update(masked.response.body)
            _put(flow, exchange, masked)
        content = response.raw_content or b""
        exchange.received = exchange.received or len(content)
        exchange.head = content[:4096]
    elif exchange.masker is not None:
        exchange.masked = exchange.masker.masked
    code = record.error_code(response.status_code, response.headers, exchange.head)
    end(
        gateway,
        exchange,
        "completed",
        statusCode=response.status_code,
        requestID=request_id,
        errorCode=code,
        responseSha256=exchange.digest.hexdigest(),
    )


async def at_error(gateway: Gateway, exchange: Exchange, flow: http.HTTPFlow) -> None:
    """A forwarded call that broke: its connection could not be made, or either side went away in the
    middle.
    """
    if exchange.withheld is not None:
        await block(gateway, exchange, exchange.withheld, 502)
        return
    server = flow.server_conn
    connected = server.timestamp_tcp_setup is not None and (not server.tls or server.tls_established)
    await _settle(gateway, exchange, executed=None if connected else False)
    message = flow.error.msg if flow.error else "unknown"
    client_left = "Client disconnected" in message or "client" in message.lower()
    reason = "client-gone" if client_left else "upstream-failed" if connected else "upstream-unreachable"
    end(gateway, exchange, "abandoned" if client_left else "failed", reason=reason)


async def block(gateway: Gateway, exchange: Exchange, refusal: Refusal, status: int) -> None:
    """The upstream answered, and the answer is withheld."""
    await _settle(gateway, exchange, executed=True)
    end(gateway, exchange, "blocked", reason=refusal.code, message=refusal.detail, statusCode=status)


async def break_off(gateway: Gateway, exchange: Exchange, refusal: Refusal) -> None:
    """The rest of a request that is on its way to AWS is not passed on."""
    await _settle(gateway, exchange, executed=None)
    end(gateway, exchange, "failed", reason=refusal.code, message=refusal.detail)


def end(gateway: Gateway, exchange: Exchange, result: str, **more: Any) -> None:
    """Hand the one terminal entry of a forwarded call to the ledger."""
    if not exchange.ended:
        gateway.journal.append_soon(record.outcome(exchange, result, **more))
        exchange.ended = True
        # An idle connection remembers its last call; what that carried goes.
        exchange.request = None


def _is_much(exchange: Exchange, flow: http.HTTPFlow) -> bool:
    response = flow.response
    masks = exchange.decision.masks if exchange.decision else ()
    if not masks or response is None or response.stream:
        return False
    bound = _OFF_LOOP_CODED if "content-encoding" in response.headers else _OFF_LOOP
    return len(response.raw_content or b"") > bound


def _whole(response: http.Response) -> HttpResponse:
    return HttpResponse(response.status_code, as_text(response.headers), response.raw_content or b"")


def _terms(gateway: Gateway, flow: http.HTTPFlow) -> dict[str, Any]:
    return {"method": flow.request.method, "key": gateway.mask_key, "limit": gateway.terms.mask_limit}


def _put(flow: http.HTTPFlow, exchange: Exchange, result: MaskedResponse) -> None:
    response = flow.response
    assert response is not None
    exchange.received = len(response.raw_content or b"")
    exchange.masked = result.masked
    exchange.is_masked = True
    response.headers = as_headers(result.response.headers)
    response.raw_content = result.response.body


async def _settle(gateway: Gateway, exchange: Exchange, *, executed: bool | None) -> None:
    if exchange.ticket is not None and not exchange.ended:
        await gateway.holds.settle(exchange.ticket, executed)


def _request_id(response: http.Response) -> str | None:
    for name, value in response.headers.fields:
        if value and name.lower() in _REQUEST_IDS:
            return value[:128].decode("utf-8", "surrogateescape")
    return None
