"""(Rules, identity, call, moment) -> Decision. Pure; never raises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from callgate.call import Call, Need
from callgate.decision import Decision, Effect, Mask
from callgate.identity.identity import Identity
from callgate.policy.facts import Facts, Moment, claim_literal
from callgate.policy.logic import Truth
from callgate.policy.rule import Rule
from callgate.policy.ruleset import Exemption, RuleSet


def decide(rules: RuleSet, identity: Identity, call: Call, moment: Moment) -> Decision:
    """May `identity` make this `call` now? Any error in matching is a deny with code `rule-error`."""
    try:
        return _decide(rules, Facts(identity, call, moment))
    except Exception as error:  # noqa: BLE001 - whatever goes wrong in matching must refuse, not pass
        return Decision(
            effect="deny",
            rules=(),
            reason=f"The rules could not be matched against this call ({type(error).__name__}).",
            code="rule-error",
            digest=rules.digest,
            mode=moment.mode,
        )


@dataclass(slots=True)
class _Matched:
    """Rules that matched, in the order of their ids, and what they permit."""

    denies: list[Rule] = field(default_factory=list)
    holds: list[Rule] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)
    open_needs: list[Need] = field(default_factory=list)

    @property
    def effect(self) -> Effect:
        if self.denies or self.open_needs:
            return "deny"
        return "hold" if self.holds else "allow"


def _decide(rules: RuleSet, facts: Facts) -> Decision:
    if not facts.call.needs:
        raise LookupError("the call has no needs")
    matches = _match(rules, facts)
    lifted = {
        rule.id: exemption
        for rule in matches
        if rule.effect in ("deny", "hold") and (exemption := _exemption(rules, rule, facts))
    }
    standing = {rule: needs for rule, needs in matches.items() if rule.id not in lifted}
    base = facts.moment.mode
    if base == "enforce" and rules.observed and any(entry.covers(facts) for entry in rules.observed):
        base = "observe"
    enforcing = _weigh(standing, facts, standing)
    applied = enforcing
    if base == "observe" or any(rule.mode == "observe" for rule in standing):
        applied = _weigh([rule for rule in standing if (rule.mode or base) == "enforce"], facts, standing)
        if base == "observe":
            applied.open_needs = []
    differs = applied.effect != enforcing.effect
    code, reason = _why(
        enforcing if differs and applied.effect == "allow" else applied, facts, standing, lifted
    )
    if differs and applied.effect == "allow":
        code, reason = f"would-{enforcing.effect}", f"Observed only, not applied: {reason}"
    return Decision(
        effect=applied.effect,
        rules=tuple(sorted(rule.id for rule in matches)),
        reason=reason,
        code=code,
        digest=rules.digest,
        masks=tuple(applied.masks),
        holds=tuple(rule.terms for rule in applied.holds if rule.terms),
        mode=base,
        would=enforcing.effect if differs else None,
        would_mask=tuple(mask for mask in enforcing.masks if mask not in applied.masks),
    )


def _match(rules: RuleSet, facts: Facts) -> dict[Rule, list[tuple[Need, Truth]]]:
    """Each rule that matches, with the needs for which it does. An allow matches only what is known."""
    asked: dict[Rule, Truth] = {}
    matches: dict[Rule, list[tuple[Need, Truth]]] = {}
    for need in facts.call.needs:
        for rule in rules.index.candidates(need, facts.identity):
            if rule in asked:
                of_call = asked[rule]
            else:
                of_call = asked[rule] = rule.judges_call(facts)
            if of_call is False or (of_call is None and rule.effect == "allow"):
                continue
            of_need = rule.judges_need(need, facts)
            if of_need is False or (of_need is None and rule.effect == "allow"):
                continue
            matches.setdefault(rule, []).append((need, of_call))
    return matches


def _exemption(rules: RuleSet, rule: Rule, facts: Facts) -> Exemption | None:
    return next((exemption for exemption in rules.exemptions if exemption.lifts(rule.id, facts)), None)


def _weigh(standing: Iterable[Rule], facts: Facts, matches: dict[Rule, list[tuple[Need, Truth]]]) -> _Matched:
    found = _Matched()
    permitted: set[Need] = set()
    for rule in sorted(standing, key=lambda rule: rule.id):
        if rule.effect == "mask" and rule.mask:
            found.masks.append(rule.mask)
        elif rule.effect == "deny":
            found.denies.append(rule)
        elif rule.effect == "hold":
            found.holds.append(rule)
            # A hold that matches only because something about the caller is absent asks a person,
            # but cannot permit: else leaving a claim out would gain more than a wrong one.
            if all(claim_literal(facts.identity, name) is not None for name in rule.claims):
                permitted.update(need for need, of_call in matches[rule] if of_call)
        else:
            permitted.update(need for need, _ in matches[rule])
    found.open_needs = [need for need in facts.call.needs if need not in permitted]
    return found


def _shown(need: Need) -> str:
    """The resource as a message may have it: not endless, and without the query of a URL."""
    text = need.resource.partition("?")[0] if need.action.startswith("http:") else need.resource
    return text if len(text) <= 256 else text[:255] + "…"


def _why(
    found: _Matched, facts: Facts, standing: Iterable[Rule], lifted: dict[str, Exemption]
) -> tuple[str, str]:
    """Code and reason of a verdict."""
    if found.denies:
        rule = found.denies[0]
        return "rule-deny", f"Rule {rule.id!r}: {rule.reason or 'denied.'}"
    if found.open_needs:
        need = found.open_needs[0]
        more = f" (and {len(found.open_needs) - 1} more)" if len(found.open_needs) > 1 else ""
        return "no-rule-allows", f"No rule allows {need.action} on {_shown(need)}{more}."
    if found.holds:
        rule = found.holds[0]
        return "rule-hold", f"Rule {rule.id!r}: {rule.reason or 'a person decides.'}"
    notes = [
        f"Rule {name!r} is lifted ({by.owner}, until {by.until:%Y-%m-%d}). " for name, by in lifted.items()
    ]
    allows = sorted(rule.id for rule in standing if rule.effect == "allow")
    said = f"Allowed by {', '.join(map(repr, allows))}." if allows else "Nothing is enforced."
    return "rule-allow", "".join(notes) + said
