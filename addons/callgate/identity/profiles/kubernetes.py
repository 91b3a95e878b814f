"""Kubernetes service accounts, by projected (bound) tokens. The cluster is the issuer.

Claims: https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/. Legacy tokens from
secrets have no `exp` and no audience of ours, and are refused for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callgate.identity.profiles.profile import Profile, like, text

if TYPE_CHECKING:
    from callgate.identity.settings import IssuerSettings

_NAME = like(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_UID = like(r"[0-9a-f-]{36}")
_BOUND = "kubernetes.io"


def principal(claims: Mapping[str, Any], settings: IssuerSettings) -> str:
    """`NAMESPACE:SERVICEACCOUNT`."""
    return f"{claims['namespace']}:{claims['service_account']}"


def consistent(claims: Mapping[str, Any], settings: IssuerSettings) -> None:
    """`sub` names the same service account."""
    if claims["sub"] != f"system:serviceaccount:{claims['namespace']}:{claims['service_account']}":
        raise ValueError("sub names another service account")


PROFILE = Profile(
    principal=principal,
    consistent=consistent,
    anchors=("service_account_uid", "pod_uid"),
    # The kubelet writes a fresh token into a projected volume at 80% of its life, or after a day.
    max_token_life=24 * 3600.0,
    required={"namespace": _NAME, "service_account": _NAME, "service_account_uid": _UID},
    optional={"pod": _NAME, "pod_uid": _UID, "node": text, "node_uid": text},
    paths={
        "namespace": (_BOUND, "namespace"),
        "service_account": (_BOUND, "serviceaccount", "name"),
        "service_account_uid": (_BOUND, "serviceaccount", "uid"),
        "pod": (_BOUND, "pod", "name"),
        "pod_uid": (_BOUND, "pod", "uid"),
        "node": (_BOUND, "node", "name"),
        "node_uid": (_BOUND, "node", "uid"),
    },
)
