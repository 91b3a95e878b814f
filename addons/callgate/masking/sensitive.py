"""Which members are sensitive: what botocore's models mark."""

from __future__ import annotations

from botocore.model import Shape

from callgate.masking.places import IsSecret


def is_secret(service: str, operation: str) -> IsSecret:
    """Tells the sensitive members of the output of `operation`."""
    return _marked


def _marked(parent: Shape, name: str, shape: Shape) -> bool:
    return bool(shape.metadata.get("sensitive"))
