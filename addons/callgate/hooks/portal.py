"""What the proxy port answers itself, at origin-form targets under `/callgate/`: sessions, the CA, own
refusals.
"""

from __future__ import annotations

import json
from email.utils import formatdate
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from mitmproxy import http

from callgate.call import Refusal
from callgate.hooks.gateway import Gateway
from callgate.hooks.layers import PORTAL_BODY

OTHER_CA = "also-trusted.pem"


async def answer(gateway: Gateway, flow: http.HTTPFlow) -> http.Response:
    """The response to a request at the proxy port itself. Raises Refusal."""
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


def refused(refusal: Refusal) -> http.Response:
    """A refusal in the form of RFC 6749, section 5.2."""
    answer = _json({"error": refusal.code, "error_description": refusal.detail}, refusal.status)
    answer.headers["X-Callgate-Reason"] = refusal.code
    return answer


def too_large() -> Refusal:
    """The refusal of a body that nothing here has."""
    return Refusal("request-too-large", f"The request body is larger than {PORTAL_BODY} bytes.", status=413)


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
    if len(raw) > PORTAL_BODY:
        raise too_large()
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
