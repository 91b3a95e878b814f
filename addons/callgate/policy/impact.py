"""What enforcing would change, from what the ledger says of calls judged in observe mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Impact:
    """Calls of one principal that enforcing would treat alike.

    `would` is deny, hold or mask; `example` is the newest such call.
    """

    principal: str
    would: str
    operation: str
    rules: tuple[str, ...]
    count: int
    example: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As the command line prints it for scripts."""
        return {
            "principalId": self.principal,
            "would": self.would,
            "operation": self.operation,
            "rules": list(self.rules),
            "count": self.count,
            "example": dict(self.example),
        }


def impact(bodies: Iterable[Mapping[str, Any]]) -> list[Impact]:
    """The impacts in `bodies` (of `call.intent` and `call.refused`, oldest first); refusals come first.

    A call counts once if enforcing would deny or hold it, and once if it would mask its response.
    """
    counts: dict[tuple[str, str, str, tuple[str, ...]], tuple[int, dict[str, Any]]] = {}
    for body in bodies:
        decision = body.get("decision") or {}
        principal = (body.get("userIdentity") or {}).get("principalId") or "unknown"
        operation = f"{body.get('service')}:{body.get('eventName')}"
        found = []
        if (would := decision.get("would")) in ("deny", "hold"):
            found.append((would, decision.get("rules", ())))
        if decision.get("wouldMask"):
            found.append(("mask", decision["wouldMask"]))
        for would, rules in found:
            key = (principal, would, operation, tuple(rules))
            counts[key] = (counts.get(key, (0, {}))[0] + 1, _example(body))
    impacts = [Impact(*key, count, example) for key, (count, example) in counts.items()]
    order = ("deny", "hold", "mask")
    return sorted(
        impacts, key=lambda each: (order.index(each.would), -each.count, each.principal, each.operation)
    )


def _example(body: Mapping[str, Any]) -> dict[str, Any]:
    resources = body.get("resources") or [{}]
    return {
        "callId": body.get("callId"),
        "eventTime": body.get("eventTime"),
        "resource": resources[0].get("ARN"),
        "reason": (body.get("decision") or {}).get("reason"),
    }
