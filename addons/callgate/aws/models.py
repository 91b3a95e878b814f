"""The shipped service models: botocore's, without documentation, loaded when a service is first asked for.

All of them together would take 200 MB, so the least recently used give way.
"""

from __future__ import annotations

import json
import threading
import zipfile
from functools import lru_cache
from importlib.resources import files

from botocore.model import OperationModel, OperationNotFoundError, ServiceModel

from callgate.aws.index import index
from callgate.call import Call, Refusal

UNMODELLED = frozenset(("https", "otlp"))
"""Protocols of calls that stand in no model, though the operation's name may."""

_QUERY_ONCE = frozenset(("sqs",))
_LOCK = threading.Lock()


@lru_cache(maxsize=1)
def _archive() -> zipfile.ZipFile:
    return zipfile.ZipFile(str(files("callgate.aws") / "data/models.zip"))


@lru_cache(maxsize=24)
def service_model(service: str) -> ServiceModel:
    """The model of `service` (botocore's name). Raises KeyError if there is none."""
    with _LOCK:
        text = _archive().read(f"{service}.json")
    return ServiceModel(json.loads(text), service)


def signing_name(service: str) -> str:
    """The name that `service` signs with, which is CloudTrail's too; its own name if it is in no model."""
    known = index().services.get(service)
    return known.signing[0] if known is not None else service


def operation_model(call: Call) -> OperationModel:
    """The model of the operation that `call` names. Raises Refusal for hosts that stand in no model."""
    found = None if call.protocol in UNMODELLED else model_of(call.service, call.operation)
    if found is None:
        raise Refusal("no-model", f"{call.name} stands in no service model.")
    return found


def model_of(service: str, operation: str, protocol: str = "") -> OperationModel | None:
    """The model of one operation, None if there is none.

    With `protocol` it is the one whose wire names are that protocol's: SQS spoke query before it spoke JSON.
    """
    older = f"{service}.query" if protocol == "query" and service in _QUERY_ONCE else service
    try:
        return service_model(older).operation_model(operation)
    except (KeyError, OperationNotFoundError):
        return None
