"""What the ledger, prompts and mitmweb may see of a request's parameters.

In: a call. Out: plain JSON that RFC 8785 can hold. Sensitive members and blobs become `{"$hash", "$length"}`
with a keyed hash, so that equal values can be told to be equal and none can be guessed; so do strings longer
than `LONG`. Numbers that RFC 8785 cannot hold become `{"$number": text}`. What exceeds the bound of the whole
is hashed too.
"""

from __future__ import annotations

import datetime
import decimal
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from botocore.model import ListShape, MapShape, Shape, StructureShape

from callgate.call import Call, Payload, to_json
from callgate.decision import Mask
from callgate.masking.models import service_model
from callgate.masking.places import IsSecret
from callgate.masking.sensitive import is_secret
from callgate.masking.ways import keyed_hash

LONG: Final = 256
"""Strings longer than this (characters) are kept as length and keyed hash."""
WHOLE: Final = 32_768
"""About how many characters the redacted parameters of one call may take."""
EXACT: Final = 2**53
"""Integers from here on are not exact in RFC 8785."""


def redact_parameters(call: Call, *, key: bytes, masks: Sequence[Mask] = ()) -> dict[str, Any]:
    """The parameters of `call` as they may be stored and shown. `key` is the deployment's, for the hashes."""
    shape: Shape | None = None
    if call.service not in ("tunnel", "http"):
        shape = service_model(call.service).operation_model(call.operation).input_shape
    redactor = _Redactor(key, is_secret(call.service, call.operation))
    return {str(name): redactor.member(shape, str(name), value) for name, value in call.parameters.items()}


class _Redactor:
    """Redacts the values of one call; `room` is what is left of the bound."""

    def __init__(self, key: bytes, secret: IsSecret) -> None:
        self.key = key
        self.secret = secret
        self.room = WHOLE

    def member(self, parent: Shape | None, name: str, value: Any) -> Any:
        shape = parent.members.get(name) if isinstance(parent, StructureShape) else None
        return self.below(parent, name, shape, value)

    def below(self, parent: Shape | None, name: str, shape: Shape | None, value: Any) -> Any:
        if parent is not None and shape is not None and self.secret(parent, name, shape):
            return self.hashed(value)
        return self.value(shape, value)

    def value(self, shape: Shape | None, value: Any) -> Any:
        if self.room <= 0:
            return self.hashed(value)
        match value:
            case None | bool():
                self.room -= 5
                return value
            case str():
                return self.string(value)
            case int():
                self.room -= 8
                return value if -EXACT < value < EXACT else {"$number": str(value)}
            case float() | decimal.Decimal():
                self.room -= 16
                number = float(value)
                exact = math.isfinite(number) and abs(number) < EXACT and number == value
                return number if exact else {"$number": str(value)}
            case datetime.datetime():
                self.room -= 24
                return value.isoformat().replace("+00:00", "Z")
            case Payload():
                return {"$payload": {"length": value.length, "sha256": value.sha256}}
            case Mapping():
                return self.mapping(shape, value)
            case list() | tuple():
                item = shape.member if isinstance(shape, ListShape) else None
                return [self.below(shape, "member", item, each) for each in value]
            case _:
                return self.hashed(value)

    def mapping(self, shape: Shape | None, value: Mapping[Any, Any]) -> dict[str, Any]:
        redacted: dict[str, Any] = {}
        for name, each in value.items():
            text = str(name)
            self.room -= len(text)
            if isinstance(shape, MapShape):
                redacted[self.name(text)] = self.below(shape, "value", shape.value, each)
            else:
                redacted[self.name(text)] = self.member(shape, text, each)
        return redacted

    def name(self, name: str) -> str:
        """A name, if it is short and text; its hash if not."""
        return name if self.is_plain(name) else keyed_hash(name.encode("utf-8", "surrogatepass"), self.key)

    def string(self, value: str) -> Any:
        self.room -= len(value)
        return value if self.is_plain(value) else self.hashed(value)

    @staticmethod
    def is_plain(text: str) -> bool:
        # RFC 8785 cannot hold lone surrogates.
        return len(text) <= LONG and (
            text.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in text)
        )

    def hashed(self, value: Any) -> dict[str, Any]:
        """A value as its keyed hash and length: bytes of a string or blob, else those of its canonical
        JSON."""
        match value:
            case bytes() | bytearray():
                data = bytes(value)
            case str():
                data = value.encode("utf-8", "surrogatepass")
            case _:
                data = json.dumps(to_json(value), sort_keys=True, default=str).encode()
        self.room -= 80
        return {"$hash": keyed_hash(data, self.key), "$length": len(data)}
