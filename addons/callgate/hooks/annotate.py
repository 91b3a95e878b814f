"""What mitmweb shows of a call: principal, operation and verdict as comment, a marker, and no secret."""

from __future__ import annotations

import json

from mitmproxy import http

from callgate.call import Refusal, to_json
from callgate.hooks.exchange import Exchange
from callgate.masking import redact_parameters

_SECRET_HEADERS = frozenset((b"authorization", b"x-amz-security-token", b"proxy-authorization", b"cookie"))
_SCRUBBED = b"(scrubbed by callgate)"
_MARKERS = {"allow": ":white_check_mark:", "hold": ":hourglass:", "deny": ":no_entry:"}


def show(flow: http.HTTPFlow, exchange: Exchange, refusal: Refusal | None = None) -> None:
    """Write comment and marker."""
    who = exchange.identity.principal_id if exchange.identity else "nobody"
    what = exchange.call.name if exchange.call else f"a request to {exchange.host}"
    verdict = exchange.decision.effect if exchange.decision else "deny"
    if refusal is not None:
        verdict, why = "deny", f"{refusal.code}: {refusal.detail}"
    elif exchange.decision is not None:
        why = ", ".join(exchange.decision.rules)
    else:
        why = ""
    flow.comment = f"{who} {what} -> {verdict} ({why}) [{exchange.call_id}]"
    flow.marked = _MARKERS[verdict]


def scrub(flow: http.HTTPFlow, exchange: Exchange, mask_key: bytes) -> None:
    """Take credentials, and parameters as they were sent, off a flow that needs them no more."""
    flow.request.headers.fields = tuple(
        (name, _SCRUBBED if name.lower() in _SECRET_HEADERS else value)
        for name, value in flow.request.headers.fields
    )
    flow.request.data.path = flow.request.data.path.partition(b"?")[0]
    if exchange.call is None:
        flow.request.data.content = None
    elif flow.request.data.content:
        seen = redact_parameters(exchange.call, key=mask_key)
        flow.request.data.content = json.dumps(to_json(seen)).encode()
