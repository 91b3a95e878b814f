"""The head of a request, read once: headers, target, signature, and the host that all of them agree on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from callgate.aws.auth import Auth, read_auth
from callgate.aws.endpoints import Endpoints, standin
from callgate.aws.headers import FORBIDDEN, read_headers
from callgate.aws.hosts import Host, aws_host
from callgate.aws.index import index
from callgate.aws.limits import Limits
from callgate.aws.target import Target, read_target
from callgate.call import HttpRequest, Refusal

_METHODS = frozenset(("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"))


@dataclass(frozen=True, slots=True)
class Head:
    """A request whose host, scope and region agree. `host.services` are those that the signature may be for;
    `target` has the bucket in its path where the host has it in its name.
    """

    request: HttpRequest
    headers: Mapping[str, str]
    target: Target
    auth: Auth
    host: Host
    region: str | None
    partition: str
    limits: Limits


def read_head(request: HttpRequest, endpoints: Endpoints, limits: Limits) -> Head:
    """Reads all but the body. Raises Refusal for what is unknown, malformed or at odds with itself."""
    if request.method not in _METHODS:
        raise Refusal("unknown-method", "The method is none that AWS's protocols use.", status=405)
    headers = read_headers(request)
    found = endpoints.find(request.host, request.port) if endpoints.entries else None
    target = read_target(request.target, found[0].path if found else "")
    auth = read_auth(headers, target.pairs)
    host = standin(*found, auth.service) if found else aws_host(request.host)
    if host is None:
        raise Refusal("unknown-host", f"{request.host} is no host whose calls the gateway can read.")
    if not host.standin:
        _check_channel(request, host)
    if host.site is None:
        host = _signed_for(host, auth)
        if auth.kind == "presigned" and any(name == "s3" for name, _ in host.services):
            headers, target = _hoisted(headers, target)
        host, target = _bucket_in_path(host, target, headers)
    elif auth.service is not None and auth.service not in host.site.signing:
        raise _mismatch(auth.service)
    region, partition = _region(host, auth)
    return Head(request, headers, target, auth, host, region, partition, limits)


def signed_head(head: Head, auth: Auth) -> Head:
    """`head` as signed by `auth`, which was found elsewhere. Raises Refusal where host and scope disagree."""
    host = _signed_for(head.host, auth)
    region, partition = _region(host, auth)
    return replace(head, auth=auth, host=host, region=region, partition=partition)


def _check_channel(request: HttpRequest, host: Host) -> None:
    plain = request.scheme != "https"
    if plain and not (host.s3 is not None and host.s3.kind == "website"):
        raise Refusal("plaintext", "Calls to AWS go over TLS only.")
    if request.port != (80 if plain else 443):
        raise Refusal("unexpected-port", f"AWS does not answer at port {request.port}.")


def _mismatch(name: str) -> Refusal:
    return Refusal("scope-mismatch", f"The signature is for {name}, the host is not.")


def _signed_for(host: Host, auth: Auth) -> Host:
    """`host` with the services that the signature may be for; scope and host must agree."""
    if auth.service is None:
        return host
    services = index().services
    if host.signing is not None and auth.service not in host.signing:
        raise _mismatch(auth.service)
    kept = tuple(pair for pair in host.services if auth.service in services[pair[0]].signing)
    if not kept:
        raise _mismatch(auth.service)
    return host if kept == host.services else replace(host, services=kept)


def _hoisted(headers: dict[str, str], target: Target) -> tuple[dict[str, str], Target]:
    """In a presigned URL of S3, what begins with `x-amz-` is a header: SDKs move theirs to the query."""
    moved = [pair for pair in target.pairs if pair[0].startswith("x-amz-")]
    if not moved or not any(key == "X-Amz-Signature" for key, _ in target.pairs):
        return headers, target
    kept = [pair for pair in target.pairs if not pair[0].startswith("x-amz-")]
    headers = dict(headers)
    for name, text in moved:
        if name in headers:
            raise Refusal("duplicate-header", f"The header {name} stands more than once.")
        if FORBIDDEN.search(text):
            raise Refusal("malformed-header", "A header holds characters that it must not hold.")
        headers[name] = text.encode("utf-8").decode("latin-1")
    return headers, replace(target, pairs=kept)


def _bucket_in_path(host: Host, target: Target, headers: Mapping[str, str]) -> tuple[Host, Target]:
    """The path as if the bucket stood in it, and without the slash that may end a bucket's own path."""
    if not any(name == "s3" for name, _ in host.services):
        return host, target
    bucket = host.s3.bucket if host.s3 is not None else None
    if host.standin and host.s3 is None and host.labels:
        if "x-amz-account-id" in headers:
            return replace(host, services=tuple(pair for pair in host.services if pair[0] != "s3")), target
        bucket = ".".join(host.labels)
        host = replace(host, services=(("s3", ""),))
    segments, slashed = target.segments, target.slashed
    if bucket is not None:
        segments, slashed = (bucket, *segments), slashed and (False, *slashed)
    if len(segments) == 2 and segments[1] == "":
        segments, slashed = segments[:1], slashed and slashed[:1]
    if segments is target.segments:
        return host, target
    return host, replace(target, segments=segments, slashed=slashed)


def _region(host: Host, auth: Auth) -> tuple[str | None, str]:
    """Region and partition that host and signature agree on."""
    known = index()
    if auth.regions is not None:
        if host.region is not None and not any(_covers(pattern, host.region) for pattern in auth.regions):
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
        raise Refusal("unknown-region", "The signature names a region that AWS does not have.")
    if host.scopes is not None:
        if region not in host.scopes and not any(
            region in known.services[name].everywhere for name, _ in host.services
        ):
            raise _mismatch(region)
    elif host.partition is not None and known.partitions[partition][0] != known.partitions[host.partition][0]:
        raise _mismatch(region)
    return host.region or region, known.regions.get(host.region or "", partition)


def _covers(pattern: str, region: str) -> bool:
    return re.fullmatch(pattern.replace("*", "[a-z0-9-]*"), region) is not None
