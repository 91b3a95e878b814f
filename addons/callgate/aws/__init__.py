"""AWS: HTTP requests to calls, and refusals back in the protocol of the request. All data ships with the
package.
"""

from __future__ import annotations

from callgate.aws.auth import account_of
from callgate.aws.classify import Match, classify
from callgate.aws.endpoints import Endpoints, knows_host
from callgate.aws.hosts import is_aws_domain
from callgate.aws.iam import access_level
from callgate.aws.index import index
from callgate.aws.limits import DEEPEST, DEFAULT, Limits
from callgate.aws.models import operation_model, service_model, signing_name
from callgate.aws.needs import needs_of
from callgate.aws.parameters import head_is_enough, read_parameters
from callgate.aws.refusal import answer
from callgate.call import Call, HttpRequest, Refusal

__all__ = [
    "DEEPEST",
    "Endpoints",
    "Limits",
    "access_level",
    "account_of",
    "answer",
    "head_suffices",
    "is_aws_domain",
    "knows_host",
    "needs_of",
    "operation_model",
    "read",
    "service_model",
    "signing_name",
]

NO_ENDPOINTS = Endpoints()


def read(request: HttpRequest, endpoints: Endpoints = NO_ENDPOINTS, limits: Limits = DEFAULT) -> Call:
    """What `request` asks of AWS. Raises Refusal, and nothing else, for what is unknown, ambiguous or
    malformed.

    A body of None streams: that is allowed only where `head_suffices`.
    """
    match = classify(request, endpoints, limits)
    found = read_parameters(match)
    candidates = match.candidates
    if found.candidate:
        candidates = (
            candidates[found.candidate],
            *candidates[: found.candidate],
            *candidates[found.candidate + 1 :],
        )
    service, operation = candidates[0]
    account = account_of(match.head.auth.access_key_id)
    site = match.head.host.site
    needs = (
        site.needs(operation, match.head.partition, request, match.head.target)
        if site
        else tuple(
            need
            for name, asked in candidates
            for need in needs_of(
                name,
                asked,
                found.values,
                region=match.head.region,
                partition=match.head.partition,
                account=match.head.host.account or account,
            )
        )
    )
    return Call(
        service=service,
        operation=operation,
        candidates=candidates,
        protocol=match.protocol,
        region=match.head.region,
        partition=match.head.partition,
        account=account,
        access_key_id=match.head.auth.access_key_id,
        auth=_auth(match),
        parameters=found.values,
        needs=needs,
        payload=found.payload,
        idempotency_tokens=tuple(found.model.idempotent_members) if found.model is not None else (),
    )


def _auth(match: Match) -> str:
    """How the request is authenticated; without a signature that its operation wants it is anonymous."""
    kind = match.head.auth.kind
    if kind == "unsigned" and match.head.host.site is None:
        known = index().services
        if not all(known[service].is_unsigned(operation) for service, operation in match.candidates):
            return "anonymous"
    return "bearer" if kind == "basic" else kind


def head_suffices(request: HttpRequest, endpoints: Endpoints = NO_ENDPOINTS) -> bool:
    """Whether everything that matters stands in the head, so that the body may stream past."""
    try:
        return head_is_enough(classify(request, endpoints))
    except Refusal:
        return False
