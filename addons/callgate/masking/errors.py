"""Which modelled error a response is: its code, as the protocols carry it."""

from __future__ import annotations

import contextlib
import json
import re
import struct

from callgate.call import HttpResponse
from callgate.masking import cbor_spans

XML_CODE = re.compile(rb"<(?:[A-Za-z0-9_]+:)?Code>\s*([A-Za-z0-9_.:#-]+)\s*</")


def error_code(protocol: str, response: HttpResponse, body: bytes) -> str:
    """The error's code without namespace; empty if the response does not say. `body` is decoded."""
    said: object = next(iter(response.values("x-amzn-errortype")), None)
    if said is None and protocol in ("json", "rest-json"):
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            said = document.get("__type") or document.get("code") or document.get("Code")
    elif said is None and protocol == "smithy-rpc-v2-cbor":
        with contextlib.suppress(
            ValueError, IndexError, KeyError, AttributeError, RecursionError, struct.error
        ):
            said = cbor_spans.read(body)[0].get("__type")
    elif said is None and (found := XML_CODE.search(body)):
        said = found[1].decode()
    return said.split(":", 1)[0].rsplit("#", 1)[-1] if isinstance(said, str) else ""
