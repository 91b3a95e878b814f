"""CloudTrail's records (https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html)."""

from __future__ import annotations

import uuid
from typing import Any

from callgate.ledger.entries import timestamp
from callgate.ledger.export.ended import Ended

_READ = ("Get", "List", "Describe", "Head", "BatchGet", "Query", "Scan", "Select", "Search", "Lookup")


def cloudtrail(call: Ended) -> dict[str, Any]:
    """The call as one record. What CloudTrail has no name for stands in `additionalEventData.callgate`."""
    asked, outcome, identity, session = call.asked, call.outcome, call.identity, call.session
    account = identity.get("accountId")
    name = asked.get("eventName") or "CONNECT"
    error = "AccessDenied" if call.refused else outcome.get("errorCode")
    if not error and outcome.get("result") != "completed":
        error = outcome.get("reason")
    message = outcome.get("message") or outcome.get("errorMessage")
    return {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "WebIdentityUser" if identity else "Unknown",
            "principalId": identity.get("principalId"),
            "userName": session.get("subject"),
            "identityProvider": session.get("issuerUrl"),
            "accountId": account,
            "accessKeyId": identity.get("accessKeyId"),
        },
        "eventTime": f"{timestamp(call.started)[:19]}Z",
        "eventSource": asked.get("eventSource") or "callgate",
        "eventName": name,
        "awsRegion": asked.get("awsRegion") or "aws-global",
        "sourceIPAddress": asked.get("sourceIPAddress") or "unknown",
        "userAgent": asked.get("userAgent"),
        **({"errorCode": error, "errorMessage": message} if error else {}),
        "requestParameters": asked.get("requestParameters"),
        "responseElements": None,
        "additionalEventData": {"callgate": _callgate(call)},
        "requestID": outcome.get("requestID") or call.call_id,
        "eventID": str(uuid.uuid5(uuid.NAMESPACE_URL, f"callgate:{call.call_id or call.seq}")),
        "readOnly": name.startswith(_READ),
        "resources": [{"ARN": resource["ARN"]} for resource in asked.get("resources") or []],
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "recipientAccountId": account,
        "eventCategory": "Data",
    }


def _callgate(call: Ended) -> dict[str, Any]:
    asked, outcome = call.asked, call.outcome
    said = {
        "callId": call.call_id,
        "seq": call.seq,
        "sessionId": call.identity.get("sessionId"),
        "decision": asked.get("decision"),
        "holdId": asked.get("holdId"),
        "result": outcome.get("result"),
        "reason": outcome.get("reason"),
        "statusCode": outcome.get("statusCode"),
        "durationMs": outcome.get("durationMs"),
        "masked": outcome.get("masked"),
    }
    return {key: value for key, value in said.items() if value is not None}
