"""Real requests for tests: botocore builds and signs them with made-up credentials, nothing is sent."""

from __future__ import annotations

import base64
import datetime
import decimal
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import botocore
import botocore.session
from botocore.config import Config
from botocore.exceptions import MissingDependencyException
from botocore.model import OperationModel, Shape
from botocore.tokens import FrozenAuthToken

from callgate.call import HttpRequest, to_json

KEY_ID = "ASIAQNZGKIQY56JQ7WML"
ACCOUNT = "029608264753"
BLOB = b"\x00\xffblob"
TIME = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
_ARN = "arn:aws:service:us-west-2:123456789012:thing/name"


# Services that SDKs find by asking for an endpoint first, which answers with one of many cells.
DISCOVERED = {"timestream-query": "query", "timestream-write": "ingest"}


class _Captured(Exception):
    pass


class _Token:
    """A bearer token for the services that want one."""

    def load_token(self, **_: Any) -> _Token:
        return self

    def get_frozen_token(self) -> FrozenAuthToken:
        return FrozenAuthToken("token")


def session() -> botocore.session.Session:
    made = botocore.session.Session()
    made.set_credentials(KEY_ID, "secret", "token")
    made.register_component("token_provider", _Token())
    return made


class Builder:
    """Builds signed requests of one service."""

    def __init__(
        self,
        service: str,
        region: str = "us-west-2",
        made: botocore.session.Session | None = None,
        **more: Any,
    ):
        config = more.pop("config", None) or Config()
        config = config.merge(
            Config(retries={"max_attempts": 0, "mode": "legacy"}, parameter_validation=False)
        )
        if service in DISCOVERED:
            more.setdefault(
                "endpoint_url", f"https://{DISCOVERED[service]}-cell1.timestream.{region}.amazonaws.com"
            )
        self.service = service
        self.client = (made or session()).create_client(service, region, config=config, **more)
        self.client.meta.events.register("before-send", self._capture)
        self.sent: HttpRequest | None = None

    def _capture(self, request: Any, **_: Any) -> None:
        self.sent = as_request(request.method, request.url, request.headers.items(), request.body)
        raise _Captured

    def build(self, operation: str, parameters: dict[str, Any]) -> HttpRequest:
        """The request. What botocore signs in C only is signed here by the look of it (SigV4A)."""
        try:
            return self._build(operation, parameters)
        except MissingDependencyException:
            unsigned = self.client.meta.config.merge(Config(signature_version=botocore.UNSIGNED))
            region = self.client.meta.region_name
            request = Builder(self.service, region, config=unsigned)._build(operation, parameters)
        name = self.client.meta.service_model.signing_name
        scope = f"Credential={KEY_ID}/20240102/{name}/aws4_request, SignedHeaders=host, Signature=aa"
        signed = (("Authorization", f"AWS4-ECDSA-P256-SHA256 {scope}"), ("X-Amz-Region-Set", "*"))
        return replace(request, headers=request.headers + signed)

    def _build(self, operation: str, parameters: dict[str, Any]) -> HttpRequest:
        self.sent = None
        with suppress(_Captured):
            self.client._make_api_call(operation, parameters)
        assert self.sent is not None
        return self.sent

    def model(self, operation: str) -> OperationModel:
        return self.client.meta.service_model.operation_model(operation)


def _latin(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def as_request(method: str, url: str, headers: Any, body: Any) -> HttpRequest:
    parts = urlsplit(url)
    target = url.split("://", 1)[1][len(parts.netloc) :]
    if body is None:
        body = b""
    elif hasattr(body, "read"):
        body = body.read()
    elif isinstance(body, str):
        body = body.encode()
    pairs = tuple((name, _latin(value)) for name, value in headers)
    scheme = parts.scheme
    return HttpRequest(
        method,
        (parts.hostname or "").lower(),
        target if target.startswith("/") else "/" + target,
        pairs,
        bytes(body),
        port=parts.port or (443 if scheme == "https" else 80),
        scheme=scheme,
    )


def required(shape: Shape | None) -> dict[str, Any]:
    """A value for the input `shape` with the required members only."""
    return (
        {} if shape is None else {name: sample(shape.members[name], name) for name in shape.required_members}
    )


def sample(shape: Shape | None, name: str = "", seen: tuple[str, ...] = ()) -> Any:
    """A value for `shape` with every member set, recursion cut off."""
    if shape is None:
        return {}
    kind = shape.type_name
    if name == "ContentLength":
        return len(BLOB)
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return {"a": [1, "b", {"c": None}], "d": True}
        if shape.name in seen:
            return None
        members = shape.members
        if getattr(shape, "is_tagged_union", False):
            members = dict(list(members.items())[:1])
        made = {key: sample(member, key, (*seen, shape.name)) for key, member in members.items()}
        return {key: value for key, value in made.items() if value is not None}
    if kind == "list":
        item = sample(shape.member, name, seen)
        return None if item is None else [item] if isinstance(item, dict | list) else [item, item]
    if kind == "map":
        value = sample(shape.value, name, seen)
        second = "key2" if shape.serialization.get("location") == "headers" else "key two"
        return None if value is None else {"key1": value, second: value}
    if kind == "string":
        if shape.serialization.get("jsonvalue") and shape.serialization.get("location") == "header":
            return {"a": 1}
        return text(name)
    return {
        "integer": 7,
        "long": 1 << 40,
        "float": 1.5,
        "double": 0.1,
        "boolean": True,
        "timestamp": TIME,
        "blob": BLOB,
    }[kind]


SPECIAL: dict[str, Any] = {
    "AccountId": "123456789012",
    "Bucket": "amzn-bucket",
    "OutpostId": "op-0123456789abcdef0",
    "graphIdentifier": "g-0123456789",
    "EndpointId": "abc123.456",
    "RequestRoute": "io-route",
    "KvsARN": "arn:aws:cloudfront::123456789012:key-value-store/guid",
    "ChecksumAlgorithm": "CRC32",
    "CopySource": "amzn-source/a key",
    "RenameSource": "/amzn-bucket/a",
    "StreamARN": "arn:aws:kinesis:us-west-2:123456789012:stream/name",
    "ResourceARN": "arn:aws:kinesis:us-west-2:123456789012:stream/name",
    "ConsumerARN": "arn:aws:kinesis:us-west-2:123456789012:stream/name/consumer/c:1",
    "QueueARN": "arn:aws:kinesis:us-west-2:123456789012:queue/name",
    "ChannelARN": "arn:aws:kinesis:us-west-2:123456789012:channel/name",
    "PredictEndpoint": "https://realtime.machinelearning.us-west-2.amazonaws.com",
    "spaceId": "space-1",
    "SpaceId": "space-1",
    "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg==",
    "QueueUrl": "https://sqs.us-west-2.amazonaws.com/123456789012/queue",
}


def text(name: str) -> str:
    if name in SPECIAL:
        return SPECIAL[name]
    if name.lower().endswith("arn"):
        return _ARN
    return f"{name[:20]} é/+%" if name and name[0].islower() else f"{name[:20]}-1"


def plain(value: Any) -> Any:
    """`value` as the gateway has it: numbers exact, empty members kept."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return decimal.Decimal(repr(value))
    return value


def as_json(value: Any) -> str:
    return json.dumps(to_json(value), sort_keys=True)


@contextmanager
def forced_protocol(made: botocore.session.Session, protocol: str) -> Iterator[None]:
    """Within, `made` knows every service by this protocol alone."""
    loader = made.get_component("data_loader")
    original = loader.load_service_model

    def load(name: str, kind: str, api_version: str | None = None) -> Any:
        model = original(name, kind, api_version)
        if kind == "service-2":
            model = {
                **model,
                "metadata": {**model["metadata"], "protocol": protocol, "protocols": [protocol]},
            }
        return model

    loader.load_service_model = load
    try:
        yield
    finally:
        loader.load_service_model = original


def line(request: HttpRequest, **more: Any) -> str:
    """`request` as a line for `callgate explain`."""
    default = 443 if request.scheme == "https" else 80
    port = "" if request.port == default else f":{request.port}"
    body = base64.b64encode(request.body or b"").decode()
    url = f"{request.scheme}://{request.host}{port}{request.target}"
    said = {"method": request.method, "url": url, "headers": request.headers, "body_b64": body}
    return json.dumps({**said, **more})
