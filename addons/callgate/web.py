"""Calls to hosts outside AWS: a tunnel that is not looked into, or a plain HTTPS request that is."""

from __future__ import annotations

import json
from typing import Any

from callgate.call import Call, HttpRequest, Need, Refusal


def tunnel_call(host: str, port: int) -> Call:
    """`tunnel:Connect` to `host:port`."""
    resource = f"{host}:{port}"
    return Call(
        service="tunnel",
        operation="Connect",
        candidates=(("tunnel", "Connect"),),
        protocol="http",
        region=None,
        auth="unsigned",
        parameters={"Host": host, "Port": port},
        needs=(Need("tunnel:Connect", resource, "tunnel:Connect"),),
    )


def http_call(request: HttpRequest) -> Call:
    """`http:METHOD` with the URL as resource; a JSON body is in the parameters as `Body`. Raises Refusal."""
    url = f"https://{request.host}{request.target}"
    parameters: dict[str, Any] = {"Url": url}
    if request.body:
        types = request.values("content-type")
        declared = bool(types) and types[0].partition(";")[0].strip().lower().endswith("json")
        # A server may read JSON whatever it is called, so a rule on the body must see it whatever it is
        # called.
        if declared or request.body.lstrip()[:1] in (b"{", b"["):
            parameters["Body"] = _json_body(request)
    return Call(
        service="http",
        operation=request.method,
        candidates=(("http", request.method),),
        protocol="http",
        region=None,
        auth="unsigned",
        parameters=parameters,
        needs=(Need(f"http:{request.method}", url, f"http:{request.method}"),),
    )


def _json_body(request: HttpRequest) -> Any:
    if request.values("content-encoding"):
        raise Refusal("content-coding", "An inspected request must not be content-coded.", status=415)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("duplicate key")
        return dict(pairs)

    def never(constant: str) -> Any:
        raise ValueError(constant)

    try:
        return json.loads((request.body or b"").decode(), object_pairs_hook=unique, parse_constant=never)
    except (ValueError, RecursionError):
        raise Refusal("malformed-body", "The body is not the JSON that it says it is.", status=400) from None
