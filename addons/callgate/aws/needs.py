"""What a call needs: the pairs of IAM action and resource that AWS will ask its policies for.

`needs_of` looks an operation's plan up (built by scripts/build-iam from the Service Authorization
Reference) and fills its ARN templates from the parameters. Operations that AWS authorises otherwise have a
function of their own in the modules needs_*.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple

from callgate.aws import iam, names, needs_dynamodb, needs_ec2, needs_more, needs_s3
from callgate.aws.arns import UNTOLD, Pair, Path, Resource, Scope, Template, is_arn, path, values
from callgate.call import Need

UNKNOWN = Resource("*", False)
BY_HAND: Final[dict[str, Callable[[str, Mapping[str, Any], Scope], list[Pair] | None]]] = {
    "bedrock-runtime": needs_more.bedrock_runtime,
    "dynamodb": needs_dynamodb.needs,
    "ec2": needs_ec2.needs,
    "events": needs_more.events,
    "s3": needs_s3.needs,
    "s3control": needs_s3.control_needs,
    "secretsmanager": needs_more.secretsmanager,
    "sns": needs_more.sns,
    "ssm": needs_more.ssm,
    "sts": needs_more.sts,
}
"""Services with operations that AWS authorises in ways of their own. None: as the operation's plan says."""


class Choice(NamedTuple):
    """One resource type of an action."""

    required: bool
    template: Template


class Plan(NamedTuple):
    """What an operation needs: each action with the resource types that it acts on.

    `any` are the parameters with ARNs of any type; `roles`, `named` and `profiles` hand over roles by ARN, by
    name and in an instance profile.
    """

    needs: tuple[tuple[str, tuple[Choice, ...]], ...]
    any: tuple[Path, ...]
    roles: tuple[Path, ...]
    named: tuple[Path, ...]
    profiles: tuple[Path, ...]


def needs_of(
    service: str,
    operation: str,
    parameters: Mapping[str, Any],
    *,
    region: str | None,
    partition: str,
    account: str | None,
) -> tuple[Need, ...]:
    """The needs of a call of `service`'s `operation` (botocore's names), without duplicates; at least one.

    `parameters` follow botocore's input shape. `account` is the caller's, None if unknown.
    """
    pairs = pairs_of(service, operation, parameters, Scope(partition, region, account))
    source = f"{service}:{operation}"
    return tuple(
        Need(action, resource, source, determined, iam.access_level(action))
        for action, resource, determined in dict.fromkeys(pairs)
    )


def pairs_of(service: str, operation: str, parameters: Mapping[str, Any], scope: Scope) -> list[Pair]:
    """As `needs_of`, as plain pairs."""
    plan = plan_of(service, operation)
    scope = names.owner(service, parameters, scope)
    parameters = names.plain_names(service, operation, parameters, scope)
    by_hand = BY_HAND.get(service)
    pairs = by_hand(operation, parameters, scope) if by_hand else None
    if pairs is None:
        pairs = []
        for action, choices in plan.needs:
            pairs += ((action, *resource) for resource in _resources(choices, plan.any, parameters, scope))
    if service == "ec2":
        pairs = [*pairs, *needs_ec2.tagging(operation, parameters, scope)]
    # No call is without needs: a rule that allows all of none would allow it.
    return [*(pairs or [(plan.needs[0][0], *UNKNOWN)]), *_handed_over(plan, parameters, scope)]


def _handed_over(plan: Plan, parameters: Mapping[str, Any], scope: Scope) -> list[Pair]:
    """The need to pass each role that the call hands over."""
    given = [value for steps in plan.roles for value in values(parameters, steps)]
    roles = [Resource(value) for value in given if is_arn(value) and ":role/" in value]
    given = [value for steps in plan.named for value in values(parameters, steps)]
    # A name does not tell the role's path.
    roles += (scope.arn("iam", f"role/{UNTOLD}{name}", region=False) for name in given if not is_arn(name))
    if any(values(parameters, steps) for steps in plan.profiles):
        # An instance profile does not tell the role in it.
        roles.append(scope.arn("iam", f"role/{UNTOLD}", region=False))
    return [("iam:PassRole", *found) for found in roles]


def _resources(
    choices: tuple[Choice, ...], any_paths: tuple[Path, ...], parameters: Mapping[str, Any], scope: Scope
) -> list[Resource]:
    """The resources of an action: those always needed, and the optional ones that are named."""
    if not choices:
        return [Resource("*")]
    found: list[Resource] = []
    best, best_known, told = UNKNOWN, -2, False
    for choice in choices:
        resources, known = choice.template.fill(parameters, scope)
        whole = known == len(choice.template.sources) or known == -1
        told = told or known > 0
        if choice.required or (whole and known > 0):
            found += resources
        elif known > best_known:
            best, best_known = resources[0], known
    if found and all(resource.determined for resource in found):
        return found
    named = [Resource(value) for steps in any_paths for value in values(parameters, steps) if is_arn(value)]
    # What an ARN of any type names stands for the types that nothing names.
    return [*(found if told or not named else ()), *named] or [best]


@cache
def _plans(service: str) -> dict[str, str]:
    loaded: dict[str, str] | None = iam.load(f"needs/{service}.json")
    return loaded or {}


@lru_cache(maxsize=4096)
def plan_of(service: str, operation: str) -> Plan:
    """The plan of an operation; one that the tables do not have needs the action of its name on anything."""
    text = _plans(service).get(operation)
    if text is None:
        return Plan(((f"{_plans(service).get('', service)}:{operation}", (_ANYTHING,)),), (), (), (), ())
    plan = json.loads(text)
    return Plan(
        tuple(
            (
                action,
                tuple(Choice(bool(req), Template.compile(arn, dict(filled))) for req, arn, filled in choices),
            )
            for action, choices in plan["needs"]
        ),
        tuple(map(path, plan.get("any", ()))),
        tuple(map(path, plan.get("roles", ()))),
        tuple(map(path, plan.get("named", ()))),
        tuple(map(path, plan.get("profiles", ()))),
    )


_ANYTHING = Choice(False, Template(("", ""), ("Unknown",), ((),)))
