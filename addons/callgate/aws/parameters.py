"""The parameters of a classified request, as botocore's input shape has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from botocore.model import OperationModel

from callgate.aws.auth import V4_KEYS
from callgate.aws.body import plain_body, streamed_body
from callgate.aws.cborbody import load_cbor, read_cbor
from callgate.aws.classify import Match
from callgate.aws.head import Head
from callgate.aws.headers import check_charset, media_type
from callgate.aws.jsonbody import load_json, read_json
from callgate.aws.models import UNMODELLED, model_of
from callgate.aws.querybody import read_pairs
from callgate.aws.restparams import read_rest
from callgate.aws.scalars import unknown
from callgate.call import Payload, Refusal

_JSON_TYPES = frozenset(("application/x-amz-json-1.0", "application/x-amz-json-1.1", "application/json"))


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was read. `values` follow the input shape of the candidate at `candidate`, which is `model`;
    `payload` is set where the body is data that may be passed by reference."""

    values: dict[str, Any]
    payload: Payload | None = None
    candidate: int = 0
    model: OperationModel | None = None


def read_parameters(match: Match) -> Parameters:
    """The parameters by the first candidate whose shape has them. Raises Refusal.

    Twins share a wire, not always a model: one may know parameters that the other does not.
    """
    if match.protocol in UNMODELLED:
        return _unmodelled(match.head)
    if match.given is not None:
        return Parameters(*match.given)
    refusal: Refusal | None = None
    for candidate, (service, operation) in enumerate(match.candidates):
        model = model_of(service, operation, match.protocol)
        if model is None:
            raise Refusal("no-model", f"{service}:{operation} stands in no service model.")
        try:
            values, payload = _read(match, candidate, model)
            return Parameters(values, payload, candidate, model)
        except Refusal as error:
            refusal = refusal or error
            if error.code not in ("unknown-parameter", "malformed-parameter", "duplicate-parameter"):
                break
    assert refusal is not None
    raise refusal


def _unmodelled(head: Head) -> Parameters:
    """A call that stands in no model. Its query and its body may hold anything: the query comes as bytes,
    the body by reference, so that an approval of the call is one of them as well.
    """
    site = head.host.site
    values: dict[str, Any] = dict(site.parameters(head.request, head.target)) if site is not None else {}
    if query := [pair for pair in head.target.pairs if pair[0] not in V4_KEYS]:
        values["Query"] = urlencode(query).encode()
    if head.request.body == b"":
        return Parameters(values)
    body = streamed_body(head.request, head.headers)
    return Parameters(values, Payload(body.length, body.sha256))


def _read(match: Match, candidate: int, model: OperationModel) -> tuple[dict[str, Any], Payload | None]:
    if match.protocol in ("rest-json", "rest-xml"):
        return read_rest(match, match.routes[candidate], model)
    if match.protocol in ("query", "ec2"):
        return read_pairs(
            model.input_shape, match.form or [], match.head.limits, ec2=match.protocol == "ec2"
        ), None
    check_charset(match.head.headers)
    kind = media_type(match.head.headers)
    body = _body(match, model)
    if match.protocol == "json":
        if kind not in _JSON_TYPES:
            raise Refusal(
                "wrong-content-type",
                "The body is JSON by its protocol and something else by its Content-Type.",
            )
        value = load_json(body, match.head.limits) if body else {}
        read: Any = read_json
    else:
        if kind != "application/cbor" and (body or kind is not None):
            raise Refusal(
                "wrong-content-type",
                "The body is CBOR by its protocol and something else by its Content-Type.",
            )
        value = load_cbor(body, match.head.limits) if body else {}
        read = read_cbor
    if model.input_shape is None:
        if value != {}:
            raise unknown("in the body")
        return {}, None
    return read(model.input_shape, value), None


def _body(match: Match, model: OperationModel) -> bytes:
    compresses = "gzip" in (model.request_compression or {}).get("encodings", ())
    head = match.head
    return plain_body(head.request, head.headers, match.protocol, head.limits, compresses=compresses)


def head_is_enough(match: Match) -> bool:
    """Whether no parameter stands in the body: it is a streaming blob, an event stream, or in no model."""
    if match.protocol in UNMODELLED:
        return True
    model = model_of(*match.candidates[0])
    shape = model.input_shape if model is not None and match.routes else None
    payload = shape.serialization.get("payload") if shape is not None else None
    if shape is None or payload is None:
        return False
    member = shape.members[payload]
    ways = member.serialization
    return bool(member.type_name == "blob" and ways.get("streaming")) or bool(ways.get("eventstream"))
