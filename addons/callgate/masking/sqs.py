"""MD5 sums of SQS messages put right: JavaScript's SDK rejects a received message whose sum is stale or gone.

The sums are those of the SQS Developer Guide ("Calculating the MD5 message digest for message attributes").
Only messages that masking changed get new sums, so that damage on the way to the gateway still shows.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from callgate.masking.edits import Edits, unreadable

BINARY: Final = b"\x02"
STRING: Final = b"\x01"
SUM: Final = re.compile("[0-9a-f]{32}")
_stated = re.compile(r'"(MD5OfBody|MD5OfMessageAttributes)"\s*:\s*"([0-9a-f]{32})"')


def put_right(before: str, after: str) -> str:
    """`after`, what masking made of the answer `before`, with the sums of changed messages made anew.

    Refusal (502) if the messages are not what the model says.
    """
    try:
        return _put_right(before, after)
    except (AttributeError, TypeError):
        raise unreadable("the messages are not what the model says") from None


def _put_right(before: str, after: str) -> str:
    old, new = json.loads(before).get("Messages") or [], json.loads(after).get("Messages") or []
    found = list(_stated.finditer(after))
    # The sums stand in the text as often and in the order in which the messages have them.
    wanted = [
        (name, value, index, message)
        for index, message in enumerate(new)
        for name, value in message.items()
        if name in SUMS and isinstance(value, str) and SUM.fullmatch(value)
    ]
    if [(each[1], each[2]) for each in found] != [(name, value) for name, value, _, _ in wanted]:
        raise unreadable("the sums of the messages cannot be told apart")
    edits: Edits[str] = Edits()
    for each, (name, _, index, message) in zip(found, wanted, strict=True):
        # Where messages were dropped nobody knows which is which, and all sums are made anew.
        if len(old) != len(new) or message != old[index]:
            edits.put(each.start(2), each.end(2), SUMS[name](message))
    return edits.splice(after)


def _of_body(message: Mapping[str, Any]) -> str:
    body: str = message.get("Body", "")
    return hashlib.md5(body.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _of_attributes(message: Mapping[str, Any]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for name, attribute in sorted((message.get("MessageAttributes") or {}).items()):
        kind = attribute.get("DataType", "")
        digest.update(_sized(name.encode()) + _sized(kind.encode()))
        if kind.startswith("Binary"):
            digest.update(BINARY + _sized(base64.b64decode(attribute.get("BinaryValue", ""))))
        else:
            digest.update(STRING + _sized(attribute.get("StringValue", "").encode("utf-8", "surrogatepass")))
    return digest.hexdigest()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


SUMS: Final = {"MD5OfBody": _of_body, "MD5OfMessageAttributes": _of_attributes}
