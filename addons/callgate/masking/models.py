"""Until callgate.aws has it."""

import functools

import botocore.loaders
from botocore.model import ServiceModel


@functools.lru_cache(maxsize=64)
def service_model(service: str) -> ServiceModel:
    return ServiceModel(botocore.loaders.Loader().load_service_model(service, "service-2"), service)
