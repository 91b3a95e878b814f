"""Names the operation that a request asks for, from what AWS itself routes on; parameters come later.

In: a request and the stand-ins of the configuration. Out: a `Match`. Whatever could be read in two ways, is
unknown or disagrees with its own signature raises Refusal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from callgate.aws.body import plain_body
from callgate.aws.endpoints import Endpoints
from callgate.aws.head import Head, read_head
from callgate.aws.headers import FORM, media_type
from callgate.aws.index import index
from callgate.aws.limits import DEFAULT, Limits
from callgate.aws.routes import Found, Route, find
from callgate.aws.rpc import named_operation, primary_first
from callgate.aws.s3post import is_form_post, read_form_post
from callgate.aws.sites import OTLP
from callgate.aws.target import Pairs, read_form
from callgate.call import HttpRequest, Payload, Refusal


@dataclass(frozen=True, slots=True)
class Match:
    """An operation and all that was read on the way to it, for reading its parameters.

    `candidates` are all (service, operation) that the same bytes could mean, the likeliest first. `routes`
    (one for each candidate) and `values` are those of a REST operation, `form` the pairs of a query protocol;
    `given` are parameters that were read on the way.
    """

    head: Head
    protocol: str
    candidates: tuple[tuple[str, str], ...]
    routes: tuple[Route, ...] = ()
    values: tuple[str, ...] = ()
    form: Pairs | None = None
    given: tuple[dict[str, Any], Payload | None] | None = None


def classify(request: HttpRequest, endpoints: Endpoints, limits: Limits = DEFAULT) -> Match:
    """Names the operation of `request`. Raises Refusal."""
    head = read_head(request, endpoints, limits)
    head = _connections(head)
    site = head.host.site
    if site is not None:
        return Match(head, "https", ((site.service, site.name(request, head.target)),))
    if (named := named_operation(head)) is not None:
        candidates = tuple((service, named.operation) for service in named.services)
        return Match(head, named.protocol, candidates, form=named.form)
    if (index_document := _website(head)) is not None:
        return index_document
    head = _search_form(head)
    if (found := find(head.host.services, head.request.method, head.target, head.headers)) is not None:
        return _routed(head, found)
    if is_form_post(head):
        head, parameters, payload = read_form_post(head)
        return Match(head, "rest-xml", (("s3", "PostObject"),), given=(parameters, payload))
    path = "/".join(head.target.segments)
    for service, _ in head.host.services:
        if (operation := OTLP.get((service, request.method, path))) is not None:
            return Match(head, "otlp", ((service, operation),))
    raise Refusal("unknown-operation", f"{request.host} has no operation at this method and path.")


def _connections(head: Head) -> Head:
    """The management of an API's WebSocket connections, which lives at the API's own host below a stage."""
    segments = head.target.segments
    site = head.host.site
    if (
        site is None
        or site.service != "execute-api"
        or segments[-2:-1] != ("@connections",)
        or len(segments) > 3
    ):
        return head
    host = replace(head.host, services=(("apigatewaymanagementapi", ""),), site=None)
    return replace(head, host=host, target=replace(head.target, segments=segments[-2:]))


def _website(head: Head) -> Match | None:
    """S3's website hosts serve objects by their paths and pay no heed to queries; below a slash they serve
    an index document, whose key only AWS knows.
    """
    if head.host.s3 is None or head.host.s3.kind != "website":
        return None
    operation = {"GET": "GetObject", "HEAD": "HeadObject"}.get(head.request.method)
    if operation is None or head.target.pairs:
        raise Refusal("unknown-operation", "A website of S3 is only read, and by its paths.")
    bucket, *key = head.target.segments
    if key and key[-1]:
        return None
    return Match(head, "rest-xml", (("s3", operation),), given=({"Bucket": bucket}, None))


def _search_form(head: Head) -> Head:
    """CloudSearch takes its query as a form as well, and botocore sends it so."""
    searches = head.host.services == (("cloudsearchdomain", ""),) and head.target.segments[-1] == "search"
    if not searches or head.request.method != "POST" or media_type(head.headers) != FORM or head.target.pairs:
        return head
    pairs = read_form(plain_body(head.request, head.headers, "query", head.limits), head.limits)
    return replace(
        head, request=replace(head.request, method="GET", body=b""), target=replace(head.target, pairs=pairs)
    )


def _routed(head: Head, found: Found) -> Match:
    known = index().services
    routes = found.routes
    if any(route.operation == "ListDirectoryBuckets" for route in routes):
        # S3 and S3 Express have one path for two operations; host and signature say which.
        express = "s3express" in (head.auth.service, head.host.s3 and head.host.s3.signing)
        routes = tuple(route for route in routes if (route.operation == "ListDirectoryBuckets") == express)
    if head.host.anonymous:
        routes = tuple(route for route in routes if known[route.service].is_unsigned(route.operation))
        if not routes:
            raise Refusal(
                "unknown-service", "The request is unsigned, so nothing says which service it is for."
            )
    if len(routes) > 1:
        names = primary_first([known[route.service] for route in routes])
        routes = tuple(
            sorted(
                {(route.service, route.operation): route for route in routes}.values(),
                key=lambda route: (
                    names.index(route.service),
                    known[route.service].is_deprecated(route.operation),
                ),
            )
        )
    protocol = known[routes[0].service].rest
    assert protocol is not None
    candidates = tuple((route.service, route.operation) for route in routes)
    return Match(head, protocol, candidates, routes, found.values)
