"""Requests from a flow file that mitmproxy has saved."""

from __future__ import annotations

import io
from collections.abc import Iterator

from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader

from callgate.call import HttpRequest, Refusal


def flow_requests(data: bytes) -> Iterator[HttpRequest | Refusal]:
    """The requests of all HTTP flows in `data`, in order; a Refusal (`bad-input`) where the file breaks
    off.
    """
    try:
        for flow in FlowReader(io.BytesIO(data)).stream():
            if isinstance(flow, HTTPFlow):
                yield _request(flow)
    except Exception:  # noqa: BLE001 - mitmproxy raises KeyError and others for flows that lack something
        yield Refusal("bad-input", "The flow file is damaged from here on.")


def _request(flow: HTTPFlow) -> HttpRequest:
    request = flow.request
    return HttpRequest(
        request.method,
        request.pretty_host.lower().removesuffix("."),
        request.path,
        tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.fields),
        request.raw_content or b"",
        port=request.port,
        scheme=request.scheme,
    )
