"""What the tools for rule authors ask of AWS (`callgate.policy.catalogue`), from the shipped data."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache, cached_property
from typing import Any

from callgate.aws import iam, needs_of
from callgate.aws.hosts import aws_host
from callgate.aws.index import index
from callgate.aws.models import model_of
from callgate.call import Call, Need
from callgate.identity.profiles import profiles


class AwsCatalogue:
    """A `Catalogue`. Everything loads on first use; looking through all operations takes a second or two."""

    @cached_property
    def _needing(self) -> dict[str, set[str]]:
        """The operations that need each action, as far as it does not depend on parameters."""
        found: dict[str, set[str]] = {}
        for service, entry in index().services.items():
            for operation in entry.operations:
                for need in needs_of(
                    service, operation, {}, region="us-east-1", partition="aws", account="111111111111"
                ):
                    found.setdefault(need.action, set()).add(f"{service}:{operation}")
        return found

    def actions(self) -> Collection[str]:
        """IAM's actions, and those that Callgate asks for where IAM's tables name none."""
        return {*iam.actions(), *self._needing}

    def operations(self) -> Collection[str]:
        """Those of the service models, and of hosts in no model, which are named after IAM's actions."""
        modelled = {
            f"{name}:{operation}"
            for name, entry in index().services.items()
            for operation in entry.operations
        }
        return modelled | {
            action for action in iam.actions() if action.partition(":")[0] not in index().services
        }

    def access_level(self, action: str) -> str | None:
        """IAM's access level."""
        return iam.access_level(action)

    def resource_types(self, action: str) -> tuple[str, ...]:
        """ARNs as globs; what IAM's tables do not have might act on anything."""
        return iam.resource_types(action) if iam.find(action) else ("*",)

    def operations_needing(self, action: str) -> Collection[str]:
        """The operations whose needs name `action`."""
        return self._needing.get(action, ())

    def input_shape(self, operation: str) -> Any:
        """botocore's shape of the parameters."""
        model = model_of(*operation.split(":"))
        return model.input_shape if model else None

    def output_shape(self, operation: str) -> Any:
        """botocore's shape of the response."""
        model = model_of(*operation.split(":"))
        return model.output_shape if model else None

    def regions(self) -> Collection[str]:
        """Those of botocore's endpoints."""
        return index().regions

    def is_api_host(self, host: str) -> bool:
        """As CONNECT finds it."""
        return aws_host(host.lower()) is not None

    def needs_of(self, call: Call) -> tuple[Need, ...]:
        """As the gateway works them out."""
        return needs_of(
            call.service,
            call.operation,
            call.parameters,
            region=call.region,
            partition=call.partition,
            account=call.account,
        )

    def claims(self) -> Collection[str]:
        """Those of all issuer profiles."""
        return {"sub"} | {
            name for profile in profiles().values() for name in (*profile.required, *profile.optional)
        }


@cache
def aws_catalogue() -> AwsCatalogue:
    """The one catalogue of this process."""
    return AwsCatalogue()
