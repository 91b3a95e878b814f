"""Refusals in the form of the request's own protocol, so that an SDK stops at once and shows the message.

In: the request, the call as far as it was understood, the refusal. Out: a response that botocore and other
SDKs read as `AccessDenied` (EC2: `UnauthorizedOperation`). A 403 is never retried; a retryable refusal is a
503 without a throttling code, so that an SDK comes back after its usual short pause. Follows Smithy's
protocol definitions (awsJson, restJson1, restXml, awsQuery, ec2Query, rpcv2Cbor) and, for registries, the
OCI distribution specification.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from callgate.call import Call, HttpRequest, HttpResponse, Refusal

QUERY_COMPATIBLE: Final = frozenset({"sqs", "cloudwatch"})
"""Services whose JSON and CBOR errors also carry the code that their older query protocol had."""

# XML 1.0 has no way to write these, not even escaped.
_NOT_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class _Words:
    """What a refusal says, before a protocol gives it form."""

    code: str
    message: str
    retryable: bool
    call_id: str

    @property
    def fault(self) -> str:
        return "Receiver" if self.retryable else "Sender"

    @property
    def exception(self) -> str:
        return self.code + "Exception"

    @property
    def xml_message(self) -> str:
        return escape(_NOT_XML.sub("\ufffd", self.message))


Form = Callable[[_Words], tuple[list[tuple[str, str]], bytes]]


def answer(
    request: HttpRequest, call: Call | None, refusal: Refusal, *, call_id: str, message: str
) -> HttpResponse:
    """`refusal` as a response to `request`.

    `call` is None where the request was not understood; its protocol is then told from host and headers.
    `message` is what the person reads, `call_id` what they look up: it is also the request id. A HEAD gets no
    body.
    """
    words = _Words(
        code="ServiceUnavailable" if refusal.retryable else "AccessDenied",
        message=message,
        retryable=refusal.retryable,
        call_id=call_id,
    )
    headers, body = _form(request, call)(words)
    if request.method == "HEAD":
        body = b""
    headers += [
        ("content-length", str(len(body))),
        ("x-callgate-call-id", call_id),
        ("x-callgate-reason", refusal.code),
    ]
    return HttpResponse(503 if refusal.retryable else refusal.status, tuple(headers), body)


def _form(request: HttpRequest, call: Call | None) -> Form:
    """The form that the client reads: by the call's protocol, else by what the request looks like."""
    service = call.service if call else _service_of(request.host)
    protocol = call.protocol if call else _protocol_of(request, service)
    compatible = service in QUERY_COMPATIBLE
    match protocol:
        case "json":
            version = "1.1" if "json-1.1" in _content_type(request) else "1.0"
            return lambda words: _json(words, version, compatible)
        case "smithy-rpc-v2-cbor":
            return lambda words: _cbor(words, compatible)
        case "query":
            return _query
        case "ec2":
            return _ec2
        case "rest-xml":
            return _s3 if service == "s3" else _query
        case "rest-json":
            return _rest_json
        case _:
            return _oci if _is_registry(request) else _rest_json


def _service_of(host: str) -> str:
    labels = host.split(".")
    if any(label == "s3" or label.startswith("s3-") for label in labels) and "s3-control" not in labels:
        return "s3"
    return {"monitoring": "cloudwatch"}.get(labels[0], labels[0])


def _protocol_of(request: HttpRequest, service: str) -> str:
    """The protocol that a request seems to speak. It only shapes the refusal; nothing is judged by it."""
    content_type = _content_type(request)
    if _is_registry(request):
        return "registry"
    if "rpc-v2-cbor" in request.values("smithy-protocol"):
        return "smithy-rpc-v2-cbor"
    if service in ("s3", "route53", "cloudfront") or ".s3-control." in request.host:
        return "rest-xml"
    if request.values("x-amz-target") or "x-amz-json" in content_type:
        return "json"
    if "x-www-form-urlencoded" in content_type or re.search(r"[?&]Action=", request.target):
        return "ec2" if service == "ec2" else "query"
    return "rest-json"


def _is_registry(request: HttpRequest) -> bool:
    return (".dkr." in request.host or ".dkr-ecr" in request.host) and request.target.startswith("/v2/")


def _content_type(request: HttpRequest) -> str:
    return ",".join(request.values("content-type")).lower()


def _json(words: _Words, version: str, compatible: bool) -> tuple[list[tuple[str, str]], bytes]:
    headers = [
        ("content-type", f"application/x-amz-json-{version}"),
        ("x-amzn-requestid", words.call_id),
        *_query_error(words, compatible),
    ]
    return headers, json.dumps({"__type": words.exception, "message": words.message}).encode()


def _cbor(words: _Words, compatible: bool) -> tuple[list[tuple[str, str]], bytes]:
    headers = [
        ("smithy-protocol", "rpc-v2-cbor"),
        ("content-type", "application/cbor"),
        ("x-amzn-requestid", words.call_id),
        *_query_error(words, compatible),
    ]
    texts = ("__type", words.exception, "message", words.message)
    return headers, b"\xa2" + b"".join(_cbor_text(text) for text in texts)


def _query_error(words: _Words, compatible: bool) -> list[tuple[str, str]]:
    return [("x-amzn-query-error", f"{words.code};{words.fault}")] if compatible else []


def _cbor_text(text: str) -> bytes:
    """A text string of RFC 8949 (major type 3), its length in four bytes."""
    data = text.encode("utf-8", "replace")
    return b"\x7a" + len(data).to_bytes(4) + data


def _rest_json(words: _Words) -> tuple[list[tuple[str, str]], bytes]:
    headers = [
        ("content-type", "application/json"),
        ("x-amzn-requestid", words.call_id),
        ("x-amzn-errortype", words.exception),
    ]
    return headers, json.dumps({"message": words.message}).encode()


def _s3(words: _Words) -> tuple[list[tuple[str, str]], bytes]:
    headers = [("content-type", "application/xml"), ("x-amz-request-id", words.call_id)]
    body = (
        f"<Error><Code>{words.code}</Code><Message>{words.xml_message}</Message>"
        f"<RequestId>{words.call_id}</RequestId></Error>"
    )
    return headers, _xml(body)


def _query(words: _Words) -> tuple[list[tuple[str, str]], bytes]:
    body = (
        f"<ErrorResponse><Error><Type>{words.fault}</Type><Code>{words.code}</Code>"
        f"<Message>{words.xml_message}</Message></Error><RequestId>{words.call_id}</RequestId></ErrorResponse>"
    )
    return [("content-type", "text/xml"), ("x-amzn-requestid", words.call_id)], _xml(body)


def _ec2(words: _Words) -> tuple[list[tuple[str, str]], bytes]:
    code = words.code if words.retryable else "UnauthorizedOperation"
    body = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{words.xml_message}</Message></Error></Errors>"
        f"<RequestID>{words.call_id}</RequestID></Response>"
    )
    return [("content-type", "text/xml"), ("x-amzn-requestid", words.call_id)], _xml(body)


def _oci(words: _Words) -> tuple[list[tuple[str, str]], bytes]:
    code = "UNAVAILABLE" if words.retryable else "DENIED"
    return [("content-type", "application/json")], json.dumps(
        {"errors": [{"code": code, "message": words.message}]}
    ).encode()


def _xml(body: str) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + body.encode()
