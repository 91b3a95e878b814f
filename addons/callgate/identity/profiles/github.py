"""GitHub Actions (github.com, Enterprise Cloud with its own issuer, Enterprise Server).

Claims: https://docs.github.com/en/actions/reference/security/oidc. `sub` has many forms (customised, per
environment, with immutable ids), so the principal is made of the claims that `sub` is made of, and `sub` must
not contradict them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callgate.identity.profiles.profile import Profile, like, number, one_of, text, truth

if TYPE_CHECKING:
    from callgate.identity.settings import IssuerSettings

# Runs with the base repository's secrets on behalf of whoever opened the pull request.
_PULL_REQUEST_TARGET = "pull_request_target"


def principal(claims: Mapping[str, Any], settings: IssuerSettings) -> str:
    """`OWNER/REPO:environment:NAME`, else `OWNER/REPO:pull_request`, else `OWNER/REPO:ref:REF`."""
    repository = claims["repository"]
    if "environment" in claims:
        return f"{repository}:environment:{claims['environment']}"
    if claims["event_name"].startswith("pull_request"):
        return f"{repository}:{claims['event_name']}"
    return f"{repository}:ref:{claims['ref']}"


def consistent(claims: Mapping[str, Any], settings: IssuerSettings) -> None:
    """`sub`, owner and repository agree; `pull_request_target` is allowed, if it is that."""
    owner, name = claims["repository"].split("/")
    if claims["repository_owner"] != owner:
        raise ValueError("repository_owner is not the repository's owner")
    if claims["event_name"] == _PULL_REQUEST_TARGET and _PULL_REQUEST_TARGET not in settings.allow:
        raise ValueError("event_name pull_request_target is not allowed for this issuer")
    kind, _, rest = claims["sub"].partition(":")
    if kind != "repo":
        return
    ids = claims["repository_owner_id"], claims["repository_id"]
    immutable = [f"{owner}{mark}{ids[0]}/{name}{mark}{ids[1]}" for mark in "@-"]
    if rest.partition(":")[0] not in [f"{owner}/{name}", *immutable]:
        raise ValueError("sub names another repository")


PROFILE = Profile(
    url="https://token.actions.githubusercontent.com",
    principal=principal,
    consistent=consistent,
    anchors=("repository_id", "repository_owner_id", "run_id"),
    max_token_life=900.0,
    allowances=frozenset({_PULL_REQUEST_TARGET}),
    required={
        "repository": like(r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9._-]+"),
        "repository_id": number,
        "repository_owner": text,
        "repository_owner_id": number,
        "event_name": like(r"[a-z_]+"),
        "ref": text,
        "run_id": number,
    },
    optional={
        "actor": text,
        "actor_id": number,
        "base_ref": text,
        "check_run_id": number,
        "enterprise": text,
        "enterprise_id": number,
        "environment": text,
        "environment_node_id": text,
        "head_ref": text,
        "issuer_scope": text,
        "job_workflow_ref": text,
        "job_workflow_sha": like(r"[0-9a-f]{40,64}"),
        "ref_protected": truth,
        "ref_type": one_of("branch", "tag"),
        "repository_visibility": one_of("public", "private", "internal"),
        "run_attempt": number,
        "run_number": number,
        "runner_environment": text,
        "sha": like(r"[0-9a-f]{40,64}"),
        "workflow": text,
        "workflow_ref": text,
        "workflow_sha": like(r"[0-9a-f]{40,64}"),
    },
)
