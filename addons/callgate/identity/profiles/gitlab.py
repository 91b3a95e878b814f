"""GitLab CI/CD id tokens, from gitlab.com or a self-managed server (which is its own issuer).

Claims: https://docs.gitlab.com/ci/secrets/id_token_authentication/. Ids and truth values come as strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callgate.identity.profiles.profile import Profile, like, number, one_of, text, texts, truth

if TYPE_CHECKING:
    from callgate.identity.settings import IssuerSettings


def principal(claims: Mapping[str, Any], settings: IssuerSettings) -> str:
    """`GROUP/PROJECT:environment:NAME`, else `GROUP/PROJECT:branch:REF` (or `tag`, `merge_request`)."""
    if "environment" in claims:
        return f"{claims['project_path']}:environment:{claims['environment']}"
    return f"{claims['project_path']}:{claims['ref_type']}:{claims['ref']}"


def consistent(claims: Mapping[str, Any], settings: IssuerSettings) -> None:
    """`sub` (where it has the default form) and namespace name the same project."""
    if not claims["project_path"].startswith(claims["namespace_path"] + "/"):
        raise ValueError("project_path is not in namespace_path")
    kind, _, rest = claims["sub"].partition(":")
    if kind == "project_path" and rest.partition(":")[0] != claims["project_path"]:
        raise ValueError("sub names another project")


PROFILE = Profile(
    url="https://gitlab.com",
    principal=principal,
    consistent=consistent,
    anchors=("project_id", "namespace_id", "job_id"),
    # A job's token lives as long as the job may: an hour by default, often set to two or three.
    max_token_life=3 * 3600.0,
    required={
        "namespace_id": number,
        "namespace_path": like(r"[^:]+"),
        "project_id": number,
        "project_path": like(r"[^:]+/[^:/]+"),
        "ref": text,
        "ref_type": one_of("branch", "tag", "merge_request"),
        "job_id": number,
        "pipeline_id": number,
    },
    optional={
        "ci_config_ref_uri": text,
        "ci_config_sha": text,
        "deployment_tier": text,
        "environment": text,
        "environment_action": text,
        "environment_protected": truth,
        "groups_direct": texts,
        "job_namespace_id": number,
        "job_namespace_path": text,
        "job_project_id": number,
        "job_project_path": text,
        "job_source": text,
        "pipeline_source": text,
        "project_visibility": one_of("public", "private", "internal"),
        "ref_path": text,
        "ref_protected": truth,
        "runner_environment": text,
        "runner_id": number,
        "sha": like(r"[0-9a-f]{40,64}"),
        "user_access_level": text,
        "user_email": text,
        "user_id": number,
        "user_login": text,
    },
    ignored=frozenset({"user_identities"}),
)
