"""The calls as CSV: one row a call, with the names of the view `calls`."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from callgate.ledger.entries import timestamp
from callgate.ledger.export.ended import Ended

COLUMNS = (
    "seq",
    "callId",
    "eventTime",
    "endTime",
    "verdict",
    "principalId",
    "issuer",
    "sessionId",
    "accountId",
    "accessKeyId",
    "eventSource",
    "eventName",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "resource",
    "resources",
    "requestParameters",
    "rules",
    "holdId",
    "result",
    "reason",
    "message",
    "statusCode",
    "requestID",
    "errorCode",
    "errorMessage",
    "durationMs",
    "bytesSent",
    "bytesReceived",
    "masked",
)


def csv_header() -> str:
    """The line of column names."""
    return _line(COLUMNS)


def csv_row(call: Ended) -> str:
    """The call as one line; what a spreadsheet would take for a formula is quoted with an apostrophe."""
    asked, outcome = call.asked, call.outcome
    resources = asked.get("resources") or [{}]
    values: dict[str, Any] = {
        **asked,
        **outcome,
        **call.identity,
        "seq": call.seq,
        "callId": call.call_id,
        "eventTime": timestamp(call.started),
        "endTime": timestamp(call.ended),
        "verdict": _verdict(call),
        "issuer": call.session.get("issuer"),
        "resource": resources[0].get("ARN"),
        "rules": (asked.get("decision") or {}).get("rules"),
    }
    return _line([_cell(values.get(column)) for column in COLUMNS])


def _verdict(call: Ended) -> str:
    if call.refused:
        return "held" if call.outcome.get("reason") == "hold-pending" else "denied"
    return "approved" if call.asked.get("holdId") else "allowed"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and isinstance(value, str) else text


def _line(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
