"""OCSF 1.9 API Activity (https://schema.ocsf.io/1.9.0-dev/classes/api_activity, class 6003)."""

from __future__ import annotations

import ipaddress
from typing import Any

from callgate import __version__
from callgate.ledger.entries import timestamp
from callgate.ledger.export.ended import Ended

_VERSION = "1.9.0-dev"
_CREATE, _READ, _UPDATE, _DELETE, _OTHER = 1, 2, 3, 4, 99
_ACTIVITIES = {_CREATE: "Create", _READ: "Read", _UPDATE: "Update", _DELETE: "Delete", _OTHER: "Other"}
_VERBS = {
    _CREATE: """Create Run Start Allocate Request Register Import Issue Generate Invoke Send Publish""",
    _READ: """Get List Describe Head BatchGet Query Scan Select Search Lookup View Download Receive""",
    _UPDATE: """Put Update Modify Set Attach Add Tag Enable Restore Copy Upload Associate BatchWrite""",
    _DELETE: """Delete Remove Terminate Deregister Detach Untag Purge Revoke Cancel Release Abort""",
}
_ACTIVITY = {verb: activity for activity, verbs in _VERBS.items() for verb in verbs.split()}


def ocsf(call: Ended) -> dict[str, Any]:
    """The call as one event."""
    asked, outcome = call.asked, call.outcome
    activity = _activity(str(asked.get("eventName", "")))
    failed = call.refused or outcome.get("result") != "completed" or bool(outcome.get("errorCode"))
    event = {
        "activity_id": activity,
        "activity_name": _ACTIVITIES[activity],
        "action": "Denied" if call.refused else "Allowed",
        "action_id": 2 if call.refused else 1,
        "actor": _actor(call),
        "api": _api(call),
        "authorizations": _authorizations(asked.get("decision") or {}),
        "category_name": "Application Activity",
        "category_uid": 6,
        "class_name": "API Activity",
        "class_uid": 6003,
        "cloud": _cloud(call),
        "count": outcome.get("count"),
        "disposition": "Blocked" if call.refused else "Allowed",
        "disposition_id": 2 if call.refused else 1,
        "dst_endpoint": {"hostname": asked["host"]} if asked.get("host") else None,
        "duration": _whole(outcome.get("durationMs")),
        "end_time": _millis(call.ended),
        "http_request": {"user_agent": asked["userAgent"]} if asked.get("userAgent") else None,
        "http_response": _http_response(outcome),
        "message": outcome.get("message") or outcome.get("errorMessage"),
        "metadata": {
            "correlation_uid": outcome.get("requestID"),
            "event_code": call.kind,
            "log_name": "callgate",
            "original_time": timestamp(call.started),
            "product": {"name": "Callgate", "vendor_name": "Callgate", "version": __version__},
            "profiles": ["cloud", "security_control"],
            "sequence": call.seq,
            "uid": call.call_id or str(call.seq),
            "version": _VERSION,
        },
        "resources": [
            {"uid": resource["ARN"], "cloud_partition": _partition(resource["ARN"])}
            for resource in asked.get("resources") or []
        ],
        "severity": "Low" if call.refused else "Informational",
        "severity_id": 2 if call.refused else 1,
        "src_endpoint": _endpoint(asked.get("sourceIPAddress")),
        "start_time": _millis(call.started),
        "status": "Failure" if failed else "Success",
        "status_code": outcome.get("errorCode") or outcome.get("reason"),
        "status_detail": outcome.get("reason"),
        "status_id": 2 if failed else 1,
        "time": _millis(call.ended),
        "type_name": f"API Activity: {_ACTIVITIES[activity]}",
        "type_uid": 600300 + activity,
        "unmapped": {
            "requestParameters": asked.get("requestParameters"),
            "result": outcome.get("result"),
            "masked": outcome.get("masked"),
            "holdId": asked.get("holdId"),
            "decision": asked.get("decision"),
            "claims": call.session.get("claims"),
        },
    }
    cleaned: dict[str, Any] = _without_nothing(event)
    return cleaned


def _activity(name: str) -> int:
    found = [verb for verb in _ACTIVITY if name.startswith(verb)]
    return _ACTIVITY[max(found, key=len)] if found else _OTHER


def _actor(call: Ended) -> dict[str, Any]:
    identity, session = call.identity, call.session
    if not identity:
        return {"app_name": call.asked.get("userAgent") or "unknown"}
    key = identity.get("accessKeyId")
    return {
        "user": {
            "uid": identity.get("principalId"),
            "name": session.get("subject"),
            "type": "Service",
            "type_id": 4,
            "account": {"uid": identity["accountId"]} if identity.get("accountId") else None,
            "credential_uid": key,
        },
        "session": {
            "uid": identity.get("sessionId"),
            "issuer": session.get("issuerUrl"),
            "created_time": _millis(session["openedAt"]) if session.get("openedAt") else None,
        },
        "idp": {"name": session["issuer"], "issuer": session.get("issuerUrl")}
        if session.get("issuer")
        else None,
    }


def _api(call: Ended) -> dict[str, Any]:
    asked, outcome = call.asked, call.outcome
    return {
        "operation": asked.get("eventName") or "CONNECT",
        "service": {"name": asked["eventSource"]} if asked.get("eventSource") else None,
        "request": {"uid": outcome.get("requestID") or call.call_id or str(call.seq)},
        "response": {
            "code": outcome.get("statusCode"),
            "error": outcome.get("errorCode") or outcome.get("reason"),
            "error_message": outcome.get("errorMessage") or outcome.get("message"),
        },
    }


def _cloud(call: Ended) -> dict[str, Any]:
    account = call.identity.get("accountId")
    return {
        "provider": "AWS",
        "region": call.asked.get("awsRegion"),
        "account": {"uid": account, "type": "AWS Account", "type_id": 10} if account else None,
    }


def _authorizations(decision: dict[str, Any]) -> list[dict[str, Any]]:
    rules = decision.get("rules") or []
    return [{"decision": decision.get("effect"), "policy": {"uid": rule, "name": rule}} for rule in rules]


def _http_response(outcome: dict[str, Any]) -> dict[str, Any] | None:
    code = outcome.get("statusCode")
    return {"code": code, "body_length": outcome.get("bytesReceived")} if code is not None else None


def _endpoint(address: str | None) -> dict[str, Any]:
    try:
        return {"ip": str(ipaddress.ip_address(address or ""))}
    except ValueError:
        return {"name": address or "unknown"}


def _partition(arn: str) -> str | None:
    parts = arn.split(":")
    return parts[1] if len(parts) > 5 and parts[1] not in ("", "*") else None


def _millis(seconds: float) -> int:
    return round(seconds * 1000)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _without_nothing(value: Any) -> Any:
    """Members without a value are left out, as the schema wants it; parameters of calls stay as they are."""
    if isinstance(value, dict):
        return {
            k: v if k == "unmapped" else _without_nothing(v)
            for k, v in value.items()
            if v not in (None, [], {})
        }
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value
