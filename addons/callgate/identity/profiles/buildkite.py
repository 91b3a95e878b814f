"""Buildkite pipelines, by the agent's `oidc request-token`.

Claims: https://buildkite.com/docs/agent/v3/cli-oidc. Names come as slugs, ids as UUIDs where the agent was
asked for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callgate.identity.profiles.profile import Profile, like, number, text

if TYPE_CHECKING:
    from callgate.identity.settings import IssuerSettings

_SLUG = like(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_UUID = like(r"[0-9a-f-]{36}")


def principal(claims: Mapping[str, Any], settings: IssuerSettings) -> str:
    """`ORGANIZATION/PIPELINE:tag:TAG` for a build of a tag, else `ORGANIZATION/PIPELINE:branch:BRANCH`."""
    pipeline = f"{claims['organization_slug']}/{claims['pipeline_slug']}"
    if "build_tag" in claims:
        return f"{pipeline}:tag:{claims['build_tag']}"
    return f"{pipeline}:branch:{claims['build_branch']}"


def consistent(claims: Mapping[str, Any], settings: IssuerSettings) -> None:
    """`sub` (where it has the default form) names the same pipeline."""
    subject = claims["sub"]
    pipeline = f"organization:{claims['organization_slug']}:pipeline:{claims['pipeline_slug']}:"
    if subject.startswith("organization:") and not subject.startswith(pipeline):
        raise ValueError("sub names another pipeline")


PROFILE = Profile(
    url="https://agent.buildkite.com",
    principal=principal,
    consistent=consistent,
    anchors=("organization_id", "pipeline_id", "job_id"),
    required={
        "organization_slug": _SLUG,
        "pipeline_slug": _SLUG,
        "build_number": number,
        "build_branch": text,
        "build_commit": text,
        "job_id": _UUID,
        "agent_id": _UUID,
    },
    optional={
        "build_id": _UUID,
        "build_source": text,
        "build_tag": text,
        "cluster_id": _UUID,
        "cluster_name": text,
        "organization_id": _UUID,
        "pipeline_id": _UUID,
        "queue_id": _UUID,
        "queue_key": text,
        "runner_environment": text,
        "step_key": text,
    },
)
