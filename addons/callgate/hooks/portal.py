"""What the proxy port answers itself, at origin-form targets under `/callgate/`: sessions, the CA, own
refusals.
"""

from __future__ import annotations

import asyncio
import json
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from mitmproxy import http

from callgate.call import Refusal
from callgate.hooks.gateway import Gateway
from callgate.hooks.guard import guarded
from callgate.hooks.refusals import EarlyRefusals
from callgate.hooks.stream import ANSWERED

OTHER_CA = "also-trusted.pem"


class Portal:
    """Puts an answer on each flow that asks the proxy port itself; refusals are early ones."""

    def __init__(self, gateway: Gateway, early: EarlyRefusals) -> None:
        self._gateway = gateway
        self._early = early

    async def answer(self, flow: http.HTTPFlow) -> None:
        """Answer a whole request."""
        refusals: list[Refusal] = []

        async def work(_: asyncio.Timeout) -> None:
            flow.response = await _respond(self._gateway, flow)

        await guarded("portal", work, refusals.append, self._gateway.terms.stage_seconds)
        if refusals:
            await self.refuse(flow, refusals[0])
        else:
            _finish(flow)

    async def refuse(self, flow: http.HTTPFlow, refusal: Refusal) -> None:
        """Refuse in the form of RFC 6749, section 5.2."""
        flow.response = _json({"error": refusal.code, "error_description": refusal.detail}, refusal.status)
        flow.response.headers["X-Callgate-Reason"] = refusal.code
        _finish(flow)
        await self._early.note(
            refusal, source_ip=flow.client_conn.peername[0], target=flow.request.path[:100]
        )


def _finish(flow: http.HTTPFlow) -> None:
    assert flow.response is not None
    flow.metadata[ANSWERED] = True
    # Who has no tunnel keeps no connection.
    flow.response.headers["Connection"] = "close"
    for name in ("authorization", "proxy-authorization"):
        flow.request.headers.pop(name, None)
    flow.request.data.content = None


async def _respond(gateway: Gateway, flow: http.HTTPFlow) -> http.Response:
    method, path = flow.request.method, flow.request.path.partition("?")[0]
    source_ip = flow.client_conn.peername[0]
    authenticator = gateway.authenticator
    match method, path:
        case "GET", "/callgate/health":
            health = gateway.health()
            return _json({"ok": health["ok"], "reason": health["reason"]}, 200 if health["ok"] else 503)
        case "GET", "/callgate/ca.pem":
            headers = {"Content-Type": "application/x-pem-file"}
            return http.Response.make(200, _trusted(gateway.terms.ca_file), headers)
        case "POST", "/callgate/token":
            return _json(await authenticator.exchange(_form(flow), source_ip=source_ip))
        case "POST", "/callgate/renew":
            return _json(await authenticator.renew(_bearer(flow), _form(flow), source_ip=source_ip))
        case "POST", "/callgate/close":
            await authenticator.close_session(_bearer(flow), source_ip=source_ip)
            return _json({})
        case "GET", "/callgate/refusals":
            identity = await authenticator.identify(_bearer(flow), source_ip=source_ip)
            return _json({"refusals": gateway.refusals(identity.session)})
        case _:
            raise Refusal("not-found", "This is a proxy; there is nothing here but /callgate/.", status=404)


def _trusted(ca_file: Path) -> bytes:
    """The authority's certificate, and its successor's or predecessor's while one replaces the other."""
    other = ca_file.with_name(OTHER_CA)
    return ca_file.read_bytes() + (other.read_bytes() if other.exists() else b"")


def _json(body: dict[str, Any], status: int = 200) -> http.Response:
    # The date lets a runner see that its clock is off.
    headers = {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Date": formatdate(usegmt=True),
    }
    return http.Response.make(status, json.dumps(body), headers)


def _form(flow: http.HTTPFlow) -> dict[str, str]:
    raw = flow.request.raw_content or b""
    try:
        kind = flow.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            form = json.loads(raw)
            if not isinstance(form, dict) or not all(isinstance(v, str) for v in form.values()):
                raise ValueError
            return form
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=20)
        if len(dict(pairs)) != len(pairs):
            raise ValueError
        return dict(pairs)
    except (ValueError, RecursionError):
        raise Refusal(
            "invalid_request", "The body is neither a form nor a JSON object of strings.", status=400
        ) from None


def _bearer(flow: http.HTTPFlow) -> str:
    values = flow.request.headers.get_all("authorization")
    if len(values) != 1 or not values[0].startswith("Bearer "):
        raise Refusal(
            "invalid_token", "One Authorization: Bearer header with the session handle is needed.", status=401
        )
    return values[0].removeprefix("Bearer ")
