"""What a client tells of itself with every request: SDK, CLI command, execution environment, attempt. Never
verified.

The user agent's parts follow the SDKs' shared specification (`name/value`, `name/key#value`); AWS CLI v2 and
older SDKs write some of them differently. `amz-sdk-request` and `amz-sdk-invocation-id` come from the SDKs'
retry handlers.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from callgate.call import HttpRequest

_MAX = 1024
_PART = re.compile(r"([A-Za-z][\w.+-]*)/([^\s/]+)")
_SDKS = re.compile(r"aws-sdk-[a-z0-9-]+|boto3|botocore|aws-cli|aws-crt-[a-z]+", re.IGNORECASE)
_ATTEMPT = re.compile(r"attempt=([0-9]{1,4})(?:; *max=([0-9]{1,4}))?")
_INVOCATION = re.compile(r"[A-Za-z0-9-]{1,64}")
_NAMED = {"app": "appId", "exec-env": "executionEnvironment", "command": "command"}
_KEYED = {"command": "command", "retry-mode": "retryMode"}


def unverified_client(request: HttpRequest) -> dict[str, Any]:
    """What the headers of `request` say, as far as they say it: `sdk`, `sdkVersion`, `command` (AWS CLI),
    `appId`, `executionEnvironment`, `retryMode`, `attempt`, `maxAttempts`, `invocationId`.
    """
    # Browsers, and the SDK in them, cannot set User-Agent.
    agent = " ".join(request.values("user-agent") or request.values("x-amz-user-agent"))[:_MAX]
    said: dict[str, Any] = dict(_of_agent(agent))
    if found := _ATTEMPT.match("".join(request.values("amz-sdk-request"))):
        said["attempt"] = int(found[1])
        if found[2]:
            said["maxAttempts"] = int(found[2])
    invocation = "".join(request.values("amz-sdk-invocation-id"))
    if _INVOCATION.fullmatch(invocation):
        said["invocationId"] = invocation
    return said


@lru_cache(maxsize=256)
def _of_agent(agent: str) -> dict[str, str]:
    """What a user agent says. A client sends the same with every call."""
    said: dict[str, str] = {}
    for name, value in _PART.findall(agent):
        key, _, keyed = value.partition("#")
        if _SDKS.fullmatch(name):
            said.setdefault("sdk", name)
            said.setdefault("sdkVersion", key)
        elif name in _NAMED:
            said.setdefault(_NAMED[name], value)
        elif name in ("md", "cfg") and key in _KEYED:
            said.setdefault(_KEYED[key], keyed)
    return {name: value for name, value in said.items() if value.isprintable()}
