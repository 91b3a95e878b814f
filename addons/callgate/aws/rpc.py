"""Requests that name their operation: Smithy RPC v2 by path, AWS JSON by header, AWS query by Action."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from callgate.aws.auth import QUERY_V2_KEYS, V4_KEYS
from callgate.aws.body import plain_body
from callgate.aws.head import Head
from callgate.aws.headers import FORM, check_charset, media_type
from callgate.aws.index import Service, index
from callgate.aws.target import Pairs, read_form
from callgate.call import Refusal

_TARGET = re.compile(r"([A-Za-z0-9_.]+)\.([A-Za-z0-9_]+)")
_CBOR_PATH = re.compile(r"service/([A-Za-z0-9_.]+)/operation/([A-Za-z0-9_]+)")


class Named(NamedTuple):
    """An operation that a request names; `form` are a query's parameters without Action and Version."""

    protocol: str
    operation: str
    services: tuple[str, ...]
    form: Pairs | None = None


def named_operation(head: Head) -> Named | None:
    """The operation that the request names; None if it is none of these protocols. Raises Refusal."""
    services = [index().services[name] for name, _ in head.host.services]
    wanted = head.headers.get("x-amz-target")
    smithy = head.headers.get("smithy-protocol")
    segments = head.target.segments
    path = _CBOR_PATH.fullmatch("/".join(segments)) if segments[0] == "service" else None
    if smithy is not None or (
        path and any("smithy-rpc-v2-cbor" in service.protocols for service in services)
    ):
        if smithy != "rpc-v2-cbor" or path is None or wanted is not None:
            raise Refusal("ambiguous-protocol", "The request is only half a Smithy RPC v2 request.")
        return _by_target(head, services, "smithy-rpc-v2-cbor", path[1], path[2])
    if wanted is not None:
        found = _TARGET.fullmatch(wanted)
        if found is None:
            raise Refusal("malformed-target-header", "X-Amz-Target is not of the form Service.Operation.")
        if segments != ("",):
            raise Refusal(
                "ambiguous-protocol", "X-Amz-Target names an operation and the path may name another."
            )
        return _by_target(head, services, "json", found[1], found[2])
    if any("query" in service.protocols or "ec2" in service.protocols for service in services):
        return _by_action(head, services)
    return None


def primary_first(services: Sequence[Service]) -> tuple[str, ...]:
    """Their names, first the service that is called as it signs (rds before neptune and docdb)."""
    return tuple(
        sorted(
            (s.name for s in services), key=lambda name: (name not in index().services[name].signing, name)
        )
    )


def _pick(head: Head, serving: list[Service], operation: str) -> tuple[str, ...]:
    # What is remembered below is an operation's name, however many others are asked for.
    offering = tuple(s.name for s in serving if operation in s.operations)
    names = _living(head.host.services, offering, operation) if offering else ()
    if head.host.anonymous:
        names = tuple(name for name in names if index().services[name].is_unsigned(operation))
    if not names:
        raise Refusal("unknown-operation", f"{serving[0].name} has no operation of that name here.")
    return names


@lru_cache(maxsize=4096)
def _living(
    hosted: tuple[tuple[str, str], ...], offering: tuple[str, ...], operation: str
) -> tuple[str, ...]:
    """Those of `offering` for whose operation the host is one: by its own host prefix, or by none."""
    services = [index().services[name] for name in offering]
    return primary_first(
        [
            service
            for service in services
            if any(
                name == service.name and prefix in ("", *service.prefixes_of(operation))
                for name, prefix in hosted
            )
        ]
    )


def _by_target(head: Head, services: list[Service], protocol: str, prefix: str, operation: str) -> Named:
    if head.request.method != "POST":
        raise Refusal("unknown-method", "Operations of this protocol are called with POST.", status=405)
    if any(key not in V4_KEYS for key, _ in head.target.pairs):
        raise Refusal("unexpected-query", "Operations of this protocol take no query.")
    serving = [service for service in services if protocol in service.protocols and service.target == prefix]
    if not serving:
        raise Refusal(
            "unknown-operation", "No service at this host has operations of that target in this protocol."
        )
    return Named(protocol, operation, _pick(head, serving, operation))


def _by_action(head: Head, services: list[Service]) -> Named | None:
    """Action and Version, from the form or (GET, presigned) from the query; never from both."""
    request = head.request
    in_query = [pair for pair in head.target.pairs if pair[0] not in V4_KEYS]
    is_form = media_type(head.headers) == FORM
    form: Pairs = []
    if request.method == "POST" and is_form:
        check_charset(head.headers)
        form = read_form(plain_body(request, head.headers, "query", head.limits), head.limits)
    asks = [key for key, _ in in_query + form if key.lower() == "action"]
    if not asks:
        return None
    if request.method not in ("GET", "POST"):
        raise Refusal(
            "unknown-method", "Operations of the query protocol are called with POST or GET.", status=405
        )
    # The retired Import/Export service repeats its Action as a literal of its URI.
    if form and any(key != "Operation" for key, _ in in_query):
        raise Refusal("ambiguous-action", "Both the query and the body carry parameters.")
    if not form and request.body != b"":
        raise Refusal("ambiguous-action", "The operation stands in the query, and a body follows.")
    pairs = form or in_query
    operation = _only(pairs, "Action", "ambiguous-action")
    version = _only(pairs, "Version", "ambiguous-version")
    if len(asks) != 1:
        raise Refusal("ambiguous-action", "Action stands more than once.")
    serving = [
        service
        for service in services
        if version in service.versions and ("query" in service.protocols or "ec2" in service.protocols)
    ]
    if not serving:
        raise Refusal("unknown-version", "No service at this host has operations of this Version.")
    names = _pick(head, serving, operation)
    service = index().services[names[0]]
    literal = service.operations[operation][1].partition("?")[2]
    if form and in_query and [f"{key}={value}" for key, value in in_query] != [literal]:
        raise Refusal("ambiguous-action", "The query names another operation than the body.")
    rest = [pair for pair in pairs if pair[0] not in ("Action", "Version") and pair[0] not in QUERY_V2_KEYS]
    if head.target.segments != ("",):
        rest = _queue_path(names, head, rest)
    return Named("ec2" if "ec2" in service.protocols else "query", operation, names, rest)


def _only(pairs: Pairs, name: str, code: str) -> str:
    values = [value for key, value in pairs if key == name]
    if len(values) != 1:
        raise Refusal(code, f"{name} is missing or stands more than once.")
    return values[0]


def _queue_path(names: tuple[str, ...], head: Head, pairs: Pairs) -> Pairs:
    """Older SDKs post an SQS query to /account/queue; a QueueUrl beside it must be the same."""
    segments = head.target.segments
    if names != ("sqs",) or len(segments) != 2 or not re.fullmatch(r"[0-9]{12}", segments[0]):
        raise Refusal("wrong-path", "Operations of the query protocol are called at the path /.")
    path = "/" + "/".join(segments)
    urls = [value for key, value in pairs if key == "QueueUrl"]
    if not urls:
        request = head.request
        port = "" if request.port == (443 if request.scheme == "https" else 80) else f":{request.port}"
        return [*pairs, ("QueueUrl", f"{request.scheme}://{request.host}{port}{path}")]
    if not all(url.endswith(path) for url in urls):
        raise Refusal("ambiguous-resource", "Path and QueueUrl name different queues.")
    return pairs
