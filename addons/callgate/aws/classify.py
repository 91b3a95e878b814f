"""Names the operation that a request asks for, from what AWS itself routes on; parameters come later.

In: a request and the stand-ins of the configuration. Out: a `Match`. Whatever could be read in two ways, is
unknown or disagrees with its own signature raises Refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from callgate.call import HttpRequest, Refusal

from .auth import QUERY_V2_KEYS, V4_KEYS, Auth, read_auth
from .body import plain_body
from .endpoints import Endpoints, host_of
from .headers import media_type, read_headers
from .hosts import Host, is_aws_domain
from .index import Service, index
from .routes import Found, Route, find
from .s3post import is_form_post
from .sites import OTLP
from .target import Pairs, Target, read_form, read_target

_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"))
_TARGET = re.compile(r"([A-Za-z0-9_.]+)\.([A-Za-z0-9_]+)")
_CBOR_PATH = re.compile(r"service/([A-Za-z0-9_.]+)/operation/([A-Za-z0-9_]+)")


@dataclass(frozen=True, slots=True)
class Match:
    """An operation and all that was read on the way to it, for reading its parameters.

    `routes` (one for each candidate) and `values` are those of a REST operation; `form` are the pairs of a
    query protocol's request without Action, Version and signature.
    """

    service: str
    operation: str
    candidates: tuple[tuple[str, str], ...]
    protocol: str
    host: Host
    auth: Auth
    target: Target
    headers: Mapping[str, str]
    region: str | None
    partition: str
    routes: tuple[Route, ...] = ()
    values: tuple[str, ...] = ()
    form: Pairs | None = None


def classify(request: HttpRequest, endpoints: Endpoints) -> Match:
    """Names the operation of `request`. Raises Refusal."""
    if request.method not in _METHODS:
        raise Refusal("unknown-method", "The method is none that AWS's protocols use.", status=405)
    headers = read_headers(request)
    host = host_of(request.host, request.port, endpoints)
    if host is None:
        raise Refusal("unknown-host", f"{request.host} is no host whose calls the gateway can read.")
    _check_channel(request, host)
    target = read_target(request.target, host.base)
    auth = read_auth(headers, target.pairs)
    if host.site is not None:
        return _site(request, host, target, auth, headers)
    host = _signed_for(host, auth)
    if (host.s3 is not None and host.s3.bucket is not None) or (host.standin and host.labels):
        target = _in_bucket(host, target)
    region, partition = _region(host, auth)

    def match(
        service: str, operation: str, protocol: str, candidates: tuple[tuple[str, str], ...], **more: object
    ) -> Match:
        return Match(
            service, operation, candidates, protocol, host, auth, target, headers, region, partition, **more
        )  # type: ignore[arg-type]

    rpc = _rpc(request, host, auth, target, headers)
    if rpc is not None:
        protocol, names, operation, form = rpc
        return match(names[0], operation, protocol, tuple((name, operation) for name in names), form=form)
    found = find(host.services, request.method, target, headers)
    if found is None:
        if is_form_post(request, host, target, headers):
            return match("s3", "PostObject", "rest-xml", (("s3", "PostObject"),))
        return _otlp(request, target, match, host)
    return _rest(found, host, auth, match)


def _check_channel(request: HttpRequest, host: Host) -> None:
    if host.standin:
        return
    plain = request.scheme != "https"
    if plain and not (host.s3 is not None and host.s3.kind == "website"):
        raise Refusal("plaintext", "Calls to AWS go over TLS only.")
    if request.port != (80 if plain else 443):
        raise Refusal("unexpected-port", f"AWS does not answer at port {request.port}.")


def _signed_for(host: Host, auth: Auth) -> Host:
    """`host` with the services that the signature may be for; scope and host must agree."""
    known = index()
    if auth.service is None:
        if host.services or not host.standin:
            return host
        return replace(host, services=tuple((name, "") for name in known.services))
    if host.standin and not host.services:
        names = known.by_signing.get(auth.service)
        if names is None:
            raise Refusal(
                "scope-mismatch", f"The signature is for {auth.service!r}, which is no service of AWS."
            )
        prefix = "*." * len(host.labels)
        return replace(host, services=tuple((name, prefix if name != "s3" else "") for name in names))
    if host.signing is not None and auth.service not in host.signing:
        raise Refusal("scope-mismatch", f"The signature is for {auth.service}, the host is not.")
    services = tuple(pair for pair in host.services if auth.service in known.services[pair[0]].signing)
    if not services:
        raise Refusal("scope-mismatch", f"The signature is for {auth.service}, the host is not.")
    return host if services == host.services else replace(host, services=services)


def _region(host: Host, auth: Auth) -> tuple[str | None, str]:
    """Region and partition that host and signature agree on."""
    known = index()
    if auth.regions is not None:
        signed = auth.regions
        if host.region is not None and not any(_covers(pattern, host.region) for pattern in signed):
            raise Refusal(
                "scope-mismatch", "The region set of the signature does not cover the host's region."
            )
        region = host.region or auth.region
        return region, host.partition or known.regions.get(region or "", "aws")
    region = auth.region
    if region is None:
        return host.region, host.partition or known.regions.get(host.region or "", "aws")
    partition = known.regions.get(region)
    if partition is None:
        raise Refusal("unknown-region", f"The signature names {region!r}, which is no region of AWS.")
    everywhere = any(region in known.services[name].everywhere for name, _ in host.services)
    if host.scopes is not None and region not in host.scopes and not everywhere:
        raise Refusal("scope-mismatch", f"The signature is for {region}, the host is not.")
    if host.partition is not None and partition != host.partition:
        if host.scopes is None and _shared(partition, host.partition):
            return region, partition
        raise Refusal(
            "scope-mismatch", f"The signature is for {region}, which is in another partition than the host."
        )
    return host.region or region, partition


def _shared(one: str, other: str) -> bool:
    partitions = index().partitions
    return partitions[one][0] == partitions[other][0]


def _covers(pattern: str, region: str) -> bool:
    return re.fullmatch(pattern.replace("*", "[a-z0-9-]*"), region) is not None


def _in_bucket(host: Host, target: Target) -> Target:
    """The path as if the bucket stood in it."""
    bucket = host.s3.bucket if host.s3 is not None else None
    if bucket is None and host.s3 is None and any(name == "s3" for name, _ in host.services):
        bucket = ".".join(host.labels)
    if bucket is None:
        return target
    segments = (bucket,) if target.segments == ("",) else (bucket, *target.segments)
    return replace(target, segments=segments, slashed=target.slashed and (False, *target.slashed))


def _rpc(
    request: HttpRequest, host: Host, auth: Auth, target: Target, headers: Mapping[str, str]
) -> tuple[str, tuple[str, ...], str, Pairs | None] | None:
    """(protocol, services, operation, form) if the request is of a protocol that names its operation; else
    None.
    """
    known = index()
    services = [known.services[name] for name, _ in host.services]
    wanted = headers.get("x-amz-target")
    smithy = headers.get("smithy-protocol")
    path = "/".join(target.segments)
    cbor = _CBOR_PATH.fullmatch(path) if path.startswith("service/") else None
    if smithy is not None or (
        cbor and any("smithy-rpc-v2-cbor" in service.protocols for service in services)
    ):
        if smithy != "rpc-v2-cbor" or cbor is None or wanted is not None:
            raise Refusal("ambiguous-protocol", "The request is only half a Smithy RPC v2 request.")
        return _named(request, services, "smithy-rpc-v2-cbor", cbor[1], cbor[2], target, host)
    if wanted is not None:
        named = _TARGET.fullmatch(wanted)
        if named is None:
            raise Refusal("malformed-target-header", "X-Amz-Target is not of the form Service.Operation.")
        return _named(request, services, "json", named[1], named[2], target, host)
    if any("query" in service.protocols or "ec2" in service.protocols for service in services):
        return _query(request, services, target, headers, host)
    return None


def _named(
    request: HttpRequest,
    services: list[Service],
    protocol: str,
    prefix: str,
    operation: str,
    target: Target,
    host: Host,
) -> tuple[str, tuple[str, ...], str, None]:
    if request.method != "POST":
        raise Refusal("unknown-method", "Operations of this protocol are called with POST.", status=405)
    if protocol == "json" and target.segments != ("",):
        raise Refusal("wrong-path", "Operations of the JSON protocol are called at the path /.")
    if any(key not in V4_KEYS for key, _ in target.pairs):
        raise Refusal("unexpected-query", "Operations of this protocol take no query.")
    serving = [service for service in services if protocol in service.protocols and service.target == prefix]
    if not serving:
        raise Refusal(
            "unknown-operation", f"No service at this host has operations of {prefix!r} in this protocol."
        )
    names = _ordered([service for service in serving if operation in service.operations], host)
    if not names:
        raise Refusal("unknown-operation", f"{serving[0].name} has no operation {operation!r}.")
    return protocol, names, operation, None


def _query(
    request: HttpRequest, services: list[Service], target: Target, headers: Mapping[str, str], host: Host
) -> tuple[str, tuple[str, ...], str, Pairs] | None:
    """Action and Version, from the form or (GET, presigned) from the query; never from both."""
    in_query = [pair for pair in target.pairs if pair[0] not in V4_KEYS]
    kind = media_type(headers)
    form: Pairs = []
    if request.method == "POST" and kind == "application/x-www-form-urlencoded":
        if request.body is None:
            raise Refusal("body-needed", "What the request asks for stands in its body.")
        form = read_form(plain_body(request, headers, "query"))
    asks = [key for key, _ in in_query + form if key.lower() == "action"]
    if not asks:
        return None
    if request.method not in ("GET", "POST"):
        raise Refusal(
            "unknown-method", "Operations of the query protocol are called with POST or GET.", status=405
        )
    # The retired Import/Export service repeats its Action as a literal of its URI.
    if form and in_query and not all(key == "Operation" for key, _ in in_query):
        raise Refusal("ambiguous-action", "Both the query and the body carry parameters.")
    if not form and request.body and kind != "application/x-www-form-urlencoded":
        raise Refusal("ambiguous-action", "The operation stands in the query, and a body follows.")
    pairs = form or in_query
    actions = [value for key, value in pairs if key == "Action"]
    versions = [value for key, value in pairs if key == "Version"]
    if len(asks) != 1 or len(actions) != 1:
        raise Refusal("ambiguous-action", "Action stands more than once, or not as `Action`.")
    if len(versions) != 1:
        raise Refusal("ambiguous-version", "Version is missing or stands more than once.")
    operation = actions[0]
    serving = [
        service
        for service in services
        if versions[0] in service.versions and ("query" in service.protocols or "ec2" in service.protocols)
    ]
    if not serving:
        raise Refusal("unknown-version", "No service at this host has operations of this Version.")
    names = _ordered([service for service in serving if operation in service.operations], host)
    if not names:
        raise Refusal("unknown-operation", f"{serving[0].name} has no operation {operation!r}.")
    service = index().services[names[0]]
    literal = service.operations[operation][1].partition("?")[2]
    if form and in_query and "&".join(f"{key}={value}" for key, value in in_query) != literal:
        raise Refusal("ambiguous-action", "The query names another operation than the body.")
    rest = [pair for pair in pairs if pair[0] not in ("Action", "Version") and pair[0] not in QUERY_V2_KEYS]
    if target.segments != ("",):
        rest = _queue_path(names, target, rest)
    return "ec2" if "ec2" in service.protocols else "query", names, operation, rest


def _queue_path(names: tuple[str, ...], target: Target, pairs: Pairs) -> Pairs:
    """Older SDKs post an SQS query to the queue's own path, /account/queue; a QueueUrl beside it must be the
    same.
    """
    if names != ("sqs",) or len(target.segments) != 2 or not re.fullmatch(r"\d{12}", target.segments[0]):
        raise Refusal("wrong-path", "Operations of the query protocol are called at the path /.")
    path = "/" + "/".join(target.segments)
    urls = [value for key, value in pairs if key == "QueueUrl"]
    if not urls:
        return [*pairs, ("QueueUrl", path)]
    if not all(url.endswith(path) for url in urls):
        raise Refusal("ambiguous-resource", "Path and QueueUrl name different queues.")
    return pairs


def _ordered(services: list[Service], host: Host) -> tuple[str, ...]:
    """Names, first the service that is called as it signs (rds before neptune and docdb)."""
    return tuple(
        sorted(
            (s.name for s in services), key=lambda name: (name not in index().services[name].signing, name)
        )
    )


def _rest(found: Found, host: Host, auth: Auth, match: object) -> Match:
    routes = found.routes
    names = {(route.service, route.operation) for route in routes}
    if ("s3", "ListDirectoryBuckets") in names:
        express = "s3express" in (auth.service, host.s3.signing if host.s3 else None)
        routes = tuple(r for r in routes if (r.operation == "ListDirectoryBuckets") == express)
    if len(routes) > 1:
        rank = {
            name: i for i, name in enumerate(_ordered([index().services[r.service] for r in routes], host))
        }
        routes = tuple(
            sorted(routes, key=lambda route: (rank[route.service], _deprecated(route), route.operation))
        )
    first = routes[0]
    protocol = index().services[first.service].rest
    routes = tuple({(route.service, route.operation): route for route in routes}.values())
    candidates = tuple((route.service, route.operation) for route in routes)
    return match(  # type: ignore[operator, no-any-return]
        first.service, first.operation, protocol, candidates, routes=routes, values=found.values
    )


def _deprecated(route: Route) -> bool:
    row = index().services[route.service].operations[route.operation]
    return len(row) > 5 and bool(row[5])


def _otlp(request: HttpRequest, target: Target, match: object, host: Host) -> Match:
    path = "/".join(target.segments)
    for name, _ in host.services:
        if (named := OTLP.get((name, path))) is not None:
            operation = named(request, target)
            return match(name, operation, "otlp", ((name, operation),))  # type: ignore[operator, no-any-return]
    raise Refusal("unknown-operation", f"{request.host} has no operation at this method and path.")


def _site(request: HttpRequest, host: Host, target: Target, auth: Auth, headers: Mapping[str, str]) -> Match:
    site = host.site
    assert site is not None
    if auth.service is not None and auth.service not in site.signing:
        raise Refusal("scope-mismatch", f"The signature is for {auth.service}, the host is not.")
    region, partition = _region(host, auth)
    operation = site.name(request, target)
    return Match(
        site.service,
        operation,
        ((site.service, operation),),
        "https",
        host,
        auth,
        target,
        headers,
        region,
        partition,
    )


def known_host(host: str, endpoints: Endpoints) -> bool:
    """Whether calls to `host` can be read."""
    return host_of(host, None, endpoints) is not None


__all__ = ["Match", "classify", "is_aws_domain", "known_host"]
