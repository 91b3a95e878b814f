"""What the tools for rule authors need to know of AWS. The command line hands it in; judging does without."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol

from callgate.call import Call, Need


class Catalogue(Protocol):
    """IAM's actions, botocore's operations and their shapes."""

    def actions(self) -> Collection[str]:
        """All IAM actions (`s3:GetObject`)."""
        ...

    def operations(self) -> Collection[str]:
        """All operations (`s3:GetObject`), botocore's names."""
        ...

    def access_level(self, action: str) -> str | None:
        """IAM's access level of an action."""
        ...

    def resource_types(self, action: str) -> tuple[str, ...]:
        """The ARNs that an action acts on, as globs; empty if it takes only `*`."""
        ...

    def operations_needing(self, action: str) -> Collection[str]:
        """The operations that need an action."""
        ...

    def input_shape(self, operation: str) -> Any:
        """botocore's shape of an operation's parameters; None if it has none or is not modelled."""
        ...

    def output_shape(self, operation: str) -> Any:
        """botocore's shape of an operation's response; None if it has none or is not modelled."""
        ...

    def regions(self) -> Collection[str]:
        """AWS's regions."""
        ...

    def is_api_host(self, host: str) -> bool:
        """Whether calls to `host` are read as an API of AWS."""
        ...

    def needs_of(self, call: Call) -> tuple[Need, ...]:
        """The needs of a call, from its operation, parameters, region and account."""
        ...

    def claims(self) -> Collection[str]:
        """The claims that the issuer profiles know."""
        ...
