"""Records as the hooks write them, as far as the ledger's tests need them."""

from __future__ import annotations

from typing import Any

from callgate.journal import Record


def intent(call_id: str, **more: Any) -> Record:
    """A call that is about to go out."""
    identity = {
        "type": "WebIdentityUser",
        "principalId": "github:acme/infra",
        "sessionId": "s-1",
        "claims": {},
    }
    body = {
        "eventSource": "s3.amazonaws.com",
        "eventName": "GetObject",
        "userIdentity": identity,
        "resources": [{"action": "s3:GetObject", "ARN": "arn:aws:s3:::ci/key", "determined": True}],
        **more,
    }
    return Record("call.intent", body, subject=call_id, step="intent")


def outcome(call_id: str, **more: Any) -> Record:
    """The end of a call."""
    body = {"result": "completed", "statusCode": 200, **more}
    return Record("call.outcome", body, subject=call_id, step="end")
