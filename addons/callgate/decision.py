"""The words in which a judgement travels: the decision, its masks and the terms of a hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Effect = Literal["allow", "deny", "hold"]
Mode = Literal["enforce", "observe"]


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask that a rule puts on a response.

    `paths` are JSONPaths (jsonpath-ng's text) over the modelled output; `how` is the way of masking
    (`fixed`, `last4`, `first4`, `hash`, `drop`); `inside` a JSONPath into JSON that a string at the path
    holds; `sensitive` adds the members that the model (and the curated overlay) calls sensitive; `detect`
    names patterns that are masked in any string.
    """

    rule: str
    paths: tuple[str, ...] = ()
    how: str = "fixed"
    inside: str | None = None
    sensitive: bool = False
    detect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HoldTerms:
    """What one hold rule demands: `count` approvals by people in the groups `by`, within `within` seconds.

    `grant` (seconds), if set, lets an approval cover further calls that `rule` matches.
    """

    rule: str
    by: tuple[str, ...]
    count: int = 1
    within: float = 900.0
    grant: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """May it: the verdict on one call of one identity.

    `effect` is what is applied. In observe mode `would` tells what enforcing would have done where that
    differs (`deny`, `hold`), and `would_mask` the masks that would have been put on. `rules` are the ids of
    all rules that matched. `code` names the reason (`rule-deny`, `no-rule-allows`, `rule-hold`,
    `rule-allow`); `digest` the rule set.
    """

    effect: Effect
    rules: tuple[str, ...]
    reason: str
    code: str
    digest: str
    masks: tuple[Mask, ...] = ()
    holds: tuple[HoldTerms, ...] = ()
    mode: Mode = "enforce"
    would: Effect | None = None
    would_mask: tuple[Mask, ...] = ()

    def summary(self) -> Mapping[str, Any]:
        """The decision as the ledger and people see it: plain JSON."""
        said: dict[str, Any] = {
            "effect": self.effect,
            "rules": list(self.rules),
            "reason": self.reason,
            "code": self.code,
            "ruleSet": self.digest,
            "mode": self.mode,
        }
        if self.masks:
            said["masks"] = sorted({mask.rule for mask in self.masks})
        if self.would:
            said["would"] = self.would
        if self.would_mask:
            said["wouldMask"] = sorted({mask.rule for mask in self.would_mask})
        return said
