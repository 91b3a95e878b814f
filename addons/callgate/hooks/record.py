"""What the ledger keeps of a call, with CloudTrail's names. Pure: everything comes in, plain JSON goes out.

A call's entries stay small: members that have no value or their usual one (auth sigv4, mode enforce, a
resource that is determined, nothing masked) are left out, and what a session says of its calls stands in
the session's entry.
"""

from __future__ import annotations

import re
from typing import Any

from callgate.aws import signing_name
from callgate.call import Call, HttpRequest, Refusal
from callgate.decision import Decision
from callgate.hooks.exchange import Exchange
from callgate.identity import Identity, unverified_client
from callgate.journal import Record
from callgate.masking import redact_parameters

_TEXT = 1024
_DIGEST = len("sha256:") + 16
_CLIENT = frozenset({"command", "executionEnvironment", "appId", "attempt"})
_CODE = re.compile(
    rb'<Code>([\w.:-]{1,128})</Code>|"(?:__type|code|Code)"\s*:\s*"(?:[^"]{0,200}#)?([\w.:-]{1,128})'
)


def intent(exchange: Exchange, *, mask_key: bytes) -> Record:
    """The entry that is committed before a byte of the call goes out."""
    body = _what(exchange, mask_key)
    if exchange.ticket is not None:
        body["holdId"] = exchange.ticket.hold_id
    return Record("call.intent", body, subject=exchange.call_id, step="intent")


def refused(exchange: Exchange, refusal: Refusal, *, mask_key: bytes) -> Record:
    """The only entry of a call that was not passed on."""
    body = _what(exchange, mask_key) | {
        "result": "refused",
        "reason": refusal.code,
        "message": refusal.detail,
        "statusCode": refusal.status,
        "durationMs": exchange.duration_ms,
    }
    return Record("call.refused", body, subject=exchange.call_id, step="end")


def outcome(exchange: Exchange, result: str, **more: Any) -> Record:
    """How a call that was passed on ended: completed, failed, abandoned or blocked."""
    body: dict[str, Any] = {
        "result": result,
        "durationMs": exchange.duration_ms,
        "bytesSent": exchange.sent,
        "bytesReceived": exchange.received,
    }
    if exchange.masked:
        body["masked"] = list(exchange.masked)
    body |= {key: value for key, value in more.items() if value is not None}
    return Record("call.outcome", body, subject=exchange.call_id, step="end")


def connection_refused(refusal: Refusal, *, source_ip: str, target: str | None, count: int = 1) -> Record:
    """A refusal before any identity."""
    body: dict[str, Any] = {
        "reason": refusal.code,
        "message": refusal.detail,
        "sourceIPAddress": source_ip,
        "target": target,
        "statusCode": refusal.status,
        "count": count,
    }
    return Record("connection.refused", body)


def error_code(status: int, headers: Any, head: bytes) -> str | None:
    """AWS's error code in a response: from its header, or from the first bytes of its body."""
    if status < 400:
        return None
    if named := headers.get("x-amzn-errortype"):
        return str(named).partition(":")[0].rpartition("#")[2][:128]
    if found := _CODE.search(head):
        return (found[1] or found[2]).decode()
    return None


def user_identity(identity: Identity, account: str | None, access_key_id: str | None) -> dict[str, Any]:
    """The caller, with CloudTrail's names. Issuer, subject and claims are in the session's entry, once."""
    said = {
        "principalId": identity.principal_id,
        "sessionId": identity.session,
        "accountId": account,
        "accessKeyId": access_key_id,
    }
    return {key: value for key, value in said.items() if value is not None}


def _what(exchange: Exchange, mask_key: bytes) -> dict[str, Any]:
    call, request = exchange.call, exchange.request
    body: dict[str, Any] = {
        "host": exchange.host,
        "sourceIPAddress": exchange.source_ip,
        "userAgent": _header(request, "user-agent"),
        "unverifiedClient": _client(request),
    }
    if exchange.identity is not None:
        body["userIdentity"] = user_identity(
            exchange.identity, call.account if call else None, call.access_key_id if call else None
        )
    if call is not None:
        body |= {
            "eventSource": _event_source(call),
            "eventName": call.operation,
            "awsRegion": call.region,
            "service": call.service,
            "candidates": [":".join(pair) for pair in call.candidates] if len(call.candidates) > 1 else None,
            "protocol": call.protocol,
            "auth": call.auth if call.auth != "sigv4" else None,
            "requestParameters": redact_parameters(
                call, key=mask_key, masks=exchange.decision.masks if exchange.decision else ()
            ),
            "resources": [
                {"action": need.action, "ARN": need.resource}
                | ({} if need.determined else {"determined": False})
                for need in call.needs
            ],
        }
    if exchange.decision is not None:
        body["decision"] = _decision(exchange.decision)
    return {key: value for key, value in body.items() if value is not None}


def _decision(decision: Decision) -> dict[str, Any]:
    """The decision, without what goes without saying. The digest's beginning leads to the entry
    `rules.loaded`.
    """
    said = dict(decision.summary())
    said["ruleSet"] = decision.digest[:_DIGEST]
    if decision.mode == "enforce":
        del said["mode"]
    if decision.code == "rule-allow" and not decision.would:
        del said["code"], said["reason"]
    return said


def _event_source(call: Call) -> str:
    """CloudTrail's `eventSource`: the signing name under amazonaws.com; the host where the call is not
    AWS's.
    """
    if call.protocol == "http":
        return call.service
    return f"{signing_name(call.service)}.amazonaws.com"


def _client(request: HttpRequest | None) -> dict[str, Any] | None:
    """What the client says of itself beyond its SDK, which `userAgent` shows (the CLI's command, a retry)."""
    said = unverified_client(request) if request else {}
    if said.get("attempt") == 1:
        del said["attempt"]
    return {name: value for name, value in said.items() if name in _CLIENT} or None


def _header(request: HttpRequest | None, name: str) -> str | None:
    values = request.values(name) if request else []
    return values[0][:_TEXT] if values else None
