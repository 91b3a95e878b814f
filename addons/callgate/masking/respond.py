"""A whole response masked, whatever protocol it speaks: every masked member arrives masked, or nothing
arrives.

In: the masks that the decision puts on the call, the call, the response as it came. Out: the response to send
on and the paths that were masked in it. A response in which nothing was masked is returned as it came, byte
for byte. Refusal (502, `mask-…`) for whatever cannot be read whole and without doubt. Pure: no clock, disk or
network.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from botocore.model import Shape, StructureShape

from callgate.aws.models import model_of, service_model
from callgate.call import Call, HttpResponse, Refusal
from callgate.decision import Mask
from callgate.masking import cbor_spans, checksums, json_spans, sqs, xml_spans
from callgate.masking.coding import decode
from callgate.masking.edits import unreadable
from callgate.masking.errors import error_code
from callgate.masking.eventstream import StreamMasker
from callgate.masking.heads import Headers, mask_error_headers, mask_headers
from callgate.masking.places import Place, Plan, Reading, WireName, no_value
from callgate.masking.scalars import Scalars
from callgate.masking.sensitive import is_secret

LIMIT: Final = 4_000_000
EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
WITHOUT_BODY: Final = frozenset({204, 205, 304})
CHARSET: Final = re.compile(r"charset\s*=\s*\"?([^\";\s]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class MaskedResponse:
    """The response to send on, and the paths (of the modelled output) that were masked in it."""

    response: HttpResponse
    masked: tuple[str, ...]


def mask_response(
    masks: Sequence[Mask],
    call: Call,
    response: HttpResponse,
    *,
    method: str,
    key: bytes,
    limit: int = LIMIT,
) -> MaskedResponse:
    """`response` to `call` with `masks` put on.

    `method` is the request's, `key` the deployment's for keyed hashes, `limit` the most bytes that the body
    may hold, as sent and decoded.
    """
    if not masks:
        return MaskedResponse(response, ())
    with _only_refusals():
        answer = _Answer(tuple(masks), call, response.status, response.headers, key, limit)
        return answer.whole(response, bare=method == "HEAD")


def stream_masker(
    masks: Sequence[Mask],
    call: Call,
    status: int,
    headers: Headers,
    *,
    key: bytes,
    limit: int = LIMIT,
) -> StreamMasker | None:
    """What masks the event stream that starts with this head; None if the response is not one.

    Refusal (502) for streams that cannot be masked. `limit` bounds one message.
    """
    if not masks:
        return None
    with _only_refusals():
        answer = _Answer(tuple(masks), call, status, headers, key, limit)
        return answer.stream() if answer.streams else None


def mask_head(
    masks: Sequence[Mask], call: Call, status: int, headers: Headers, *, key: bytes
) -> tuple[Headers, tuple[str, ...]] | None:
    """The masked headers, and the paths, of a response whose body no mask can reach; None if one may.

    Such a body may be of any size, coding and range, and need not be read.
    """
    if status >= 300:
        return None
    with _only_refusals():
        answer = _Answer(tuple(masks), call, status, headers, key, LIMIT)
        root = answer.place(None)
        part = _body_place(root)
        if not (part.dead or (part.is_payload and part.way is None)):
            return None
        return answer.head(root), answer.scalars.masked


@contextlib.contextmanager
def _only_refusals() -> Iterator[None]:
    """A path that is none, a number that is too long to read: whatever it is, the response is not passed
    on."""
    try:
        yield
    except ValueError:
        raise Refusal("mask-unsupported", "a mask of this response cannot be put on", status=502) from None


class _Answer:
    """The answer to one call, as far as its head tells, and how its parts are masked."""

    def __init__(
        self, masks: tuple[Mask, ...], call: Call, status: int, headers: Headers, key: bytes, limit: int
    ) -> None:
        self.masks = masks
        self.call = call
        self.status = status
        self.headers = headers
        self.limit = limit
        self.scalars = Scalars(key, json_spans.mask_inside(key))
        kinds = [
            value.split(";")[0].strip().lower() for name, value in headers if name.lower() == "content-type"
        ]
        operation = model_of(call.service, call.operation)
        self.streams = status < 300 and operation is not None and operation.has_event_stream_output
        if EVENT_STREAM in kinds and not self.streams:
            raise unreadable("an event stream where the model has none", "mask-stream")
        if kinds != [EVENT_STREAM] and (self.streams or "text/event-stream" in kinds):
            raise unreadable("a stream that is not AWS's event stream", "mask-stream")

    def stream(self) -> StreamMasker:
        """The masker of an event stream."""
        if any(name.lower() == "content-encoding" for name, _ in self.headers):
            raise unreadable("an event stream with a content coding", "mask-coding")
        root = self.place(None)
        assert isinstance(root.shape, StructureShape)
        name = root.shape.event_stream_name
        stream = root.modelled(name, root.shape.members[name])
        return StreamMasker(root, stream, self.document, self.scalars, self.limit, self.head(root))

    def whole(self, response: HttpResponse, *, bare: bool) -> MaskedResponse:
        """The masked response. `bare`: it has no body, whatever its head says."""
        body = b""
        if not (bare or self.status in WITHOUT_BODY or self.status < 200):
            body = _decoded(response, self.limit)
        elif response.body:
            raise unreadable("the response has a body where there can be none")
        if self.streams:
            masker = self.stream()
            new, headers, blob = masker.feed(body) + masker.finish(), masker.headers, False
        else:
            root = self.place(error_code(self.call.protocol, response, body) if self.status >= 300 else None)
            headers, part = self.head(root), _body_place(root)
            blob = part.is_payload
            new = self.body(body, root, part) if body else body
            if new != body and self.call.service == "sqs" and self.status < 300:
                new = sqs.put_right(_text(body), _text(new)).encode()
        if new == body:
            new = response.body
        else:
            headers = checksums.put_right(headers, new, blob=blob)
        return MaskedResponse(HttpResponse(self.status, headers, new), self.scalars.masked)

    def place(self, code: str | None) -> Place:
        """The place of the output, or of the error `code`."""
        return _root(self.masks, self.call.service, self.call.operation, self.call.protocol, code)

    def head(self, root: Place) -> Headers:
        """The headers, masked as those of `root`, and of the output: a 304 has them as well."""
        headers = self.headers
        for each in dict.fromkeys((root, self.place(None))):
            rest = self.call.protocol.startswith("rest") and isinstance(each.shape, StructureShape)
            members = each.shape.members.items() if rest and isinstance(each.shape, StructureShape) else ()
            headers = mask_headers(headers, each, members, self.scalars)
        return headers if self.status < 300 else mask_error_headers(headers, root, self.scalars)

    def body(self, body: bytes, root: Place, part: Place) -> bytes:
        """The body, which holds `part` of the output `root`, masked."""
        if part.is_payload and part.way is None:
            return body
        if self.status == 206:
            raise unreadable("a part of a masked body cannot be masked", "mask-partial")
        return self.payload(body, root, part) if part.is_payload else self.document(body, part)

    def payload(self, body: bytes, root: Place, part: Place) -> bytes:
        """A body that is itself one blob or string."""
        assert part.way is not None
        new = self.scalars.blob(body, part.way)
        if new != body and root.shape is not None:
            self.scalars.trail.below(root, root.shape.serialization["payload"]).hit()
        return new

    def document(self, body: bytes, place: Place) -> bytes:
        """A body, or the payload of an event, that is a document of the protocol."""
        protocol, structure = self.call.protocol, place.kind in ("structure", "union")
        if protocol in ("json", "rest-json", "http"):
            text = _text(body)
            if structure and text.lstrip(" \t\r\n")[:1] != "{":
                raise unreadable("the body is no object where the model has one")
            return json_spans.mask_text(text, place, self.scalars).encode()
        if protocol == "smithy-rpc-v2-cbor":
            if structure and body[0] >> 5 != cbor_spans.MAP:
                raise unreadable("the body is no map where the model has a structure")
            return cbor_spans.mask_cbor(body, place, self.scalars)
        if self.status >= 300:
            return xml_spans.mask_error(body, place, self.scalars)
        wrapper = place.shape.serialization.get("resultWrapper") if place.shape is not None else None
        return xml_spans.mask_output(body, place, self.scalars, wrapper)


@functools.lru_cache(maxsize=1024)
def _root(masks: tuple[Mask, ...], service: str, operation: str, protocol: str, code: str | None) -> Place:
    """The place of the whole output of an operation, or of the error `code`."""
    model = model_of(service, operation)
    shape: Shape | None = None
    if model is not None:
        spoken = model.service_model.metadata.get("protocols") or [model.service_model.metadata["protocol"]]
        if protocol not in spoken:
            # Older SDKs speak SQS's former query protocol: today's model does not have its names.
            raise unreadable(
                "the model of the service does not speak the call's protocol", "mask-unsupported"
            )
        shape = model.output_shape if code is None else service_model(service).shape_for_error_code(code)
    elif protocol not in WIRE_NAMES:
        raise unreadable("the call's protocol is not one that can be masked", "mask-unsupported")
    secret = is_secret(service, operation)
    reading: Reading = "as-written" if model is None else "searched"
    return Plan(masks, WIRE_NAMES[protocol], secret, reading=reading).root(shape)


def _body_place(root: Place) -> Place:
    """The place of what the body holds: the output, or the one member that the model puts there."""
    shape = root.shape
    if isinstance(shape, StructureShape) and "payload" in shape.serialization:
        name = shape.serialization["payload"]
        scalar = shape.members[name].type_name in ("blob", "string")
        # What filters like of blobs and strings are members, which these do not have.
        return root.modelled(name, shape.members[name], str if scalar else no_value)
    return root


def _decoded(response: HttpResponse, limit: int) -> bytes:
    """The body without its coding, if it is all there and in UTF-8 as far as the head says."""
    lengths = set(response.values("content-length"))
    if lengths and lengths != {str(len(response.body))}:
        raise unreadable("the body is not as long as its head says", "mask-truncated")
    for value in response.values("content-type"):
        charset = CHARSET.search(value)
        if charset and charset[1].lower() not in ("utf-8", "us-ascii"):
            raise unreadable("the body is in another charset than UTF-8")
    return decode(response.body, response.values("content-encoding"), limit)


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise unreadable("the body is not UTF-8") from None


def _modelled_name(name: str, shape: Shape) -> str:
    return name


def _json_name(name: str, shape: Shape) -> str | None:
    return None if _elsewhere(shape) else str(shape.serialization.get("name", name))


def _xml_name(name: str, shape: Shape) -> str | None:
    return None if _elsewhere(shape) else xml_spans.wire_name(name, shape)


def _elsewhere(shape: Shape) -> bool:
    """Whether a member stands in the headers of the response or of an event."""
    traits = shape.serialization
    return traits.get("location") in ("header", "headers", "statusCode") or bool(traits.get("eventheader"))


WIRE_NAMES: Final[dict[str, WireName]] = {
    "json": _json_name,
    "rest-json": _json_name,
    "rest-xml": _xml_name,
    "query": _xml_name,
    "ec2": _xml_name,
    "smithy-rpc-v2-cbor": _modelled_name,
    # JSON of inspected hosts outside AWS, of which no model is known.
    "http": _modelled_name,
}
