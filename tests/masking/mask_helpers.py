"""What the tests of this room share: models, calls and botocore's own reading of a response."""

import json
from collections.abc import Sequence
from typing import Any

from botocore.awsrequest import HeadersDict
from botocore.parsers import create_parser

from callgate.aws import service_model
from callgate.call import Call, HttpResponse
from callgate.decision import Mask
from callgate.masking import MaskedResponse, mask_response

KEY = b"k" * 32


def make_call(service: str, operation: str, protocol: str | None = None, **parameters: Any) -> Call:
    protocol = protocol or service_model(service).resolved_protocol
    return Call(
        service=service,
        operation=operation,
        candidates=((service, operation),),
        protocol=protocol,
        region="eu-west-1",
        parameters=parameters,
    )


def answer(body: bytes | str, *headers: tuple[str, str], status: int = 200) -> HttpResponse:
    data = body.encode() if isinstance(body, str) else body
    return HttpResponse(status, (*headers, ("Content-Length", str(len(data)))), data)


def mask(
    call: Call,
    response: HttpResponse,
    *paths: str,
    method: str = "POST",
    limit: int = 4_000_000,
    **terms: Any,
) -> MaskedResponse:
    masks = [Mask("rule", paths, **terms)]
    return mask_response(masks, call, response, method=method, key=KEY, limit=limit)


def parsed(call: Call, response: HttpResponse) -> dict[str, Any]:
    """The response as botocore's own parser reads it."""
    shape = service_model(call.service).operation_model(call.operation).output_shape
    found = create_parser(call.protocol).parse(
        {
            "status_code": response.status,
            "headers": HeadersDict(dict(response.headers)),
            "body": response.body,
            "context": {"operation_name": call.operation},
        },
        shape,
    )
    found.pop("ResponseMetadata", None)
    return dict(found)


def json_body(response: HttpResponse) -> Any:
    return json.loads(response.body)


def masks_of(*paths: str, **terms: Any) -> Sequence[Mask]:
    return [Mask("rule", paths, **terms)]
