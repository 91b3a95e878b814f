"""What operations of some further services need, where neither names nor templates tell.

Each function follows the page of its service in the Service Authorization Reference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from callgate.aws.arns import UNTOLD, Pair, Resource, Scope, is_arn, mappings, path, values

Parameters = Mapping[str, Any]


def secretsmanager(operation: str, parameters: Parameters, scope: Scope) -> list[Pair] | None:
    """A secret by name or ARN; batches need each secret, or any that their filters find."""
    if operation == "BatchGetSecretValue":
        pairs: list[Pair] = [("secretsmanager:BatchGetSecretValue", "*", True)]
        names = values(parameters, path("SecretIdList[]"))
        found = [_secret(name, scope) for name in names] or [scope.arn("secretsmanager", f"secret:{UNTOLD}")]
        return pairs + [("secretsmanager:GetSecretValue", *secret) for secret in found]
    name = parameters.get("Name" if operation == "CreateSecret" else "SecretId")
    if not isinstance(name, str) or not name:
        return None
    return [(f"secretsmanager:{operation}", *_secret(name, scope))]


def _secret(name: str, scope: Scope) -> Resource:
    """The ARN of a secret ends in a hyphen and six random characters that its name does not tell.

    An ARN may be given without them. What looks like a word in their place may be the end of a name.
    """
    if not is_arn(name):
        return scope.arn("secretsmanager", f"secret:{name}-{UNTOLD}")
    end = re.search(r"-([A-Za-z0-9]{6})$", name)
    if end is None:
        return Resource.of(f"{name}-{UNTOLD}")
    kinds = sum(bool(re.search(kind, end[1])) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return Resource.of(name if kinds > 1 else name + UNTOLD)


def sns(operation: str, parameters: Parameters, scope: Scope) -> list[Pair] | None:
    """Publishing to a topic, an endpoint or a telephone; subscriptions are authorised as their topic."""
    if operation in ("Publish", "PublishBatch"):
        target = parameters.get("TopicArn") or parameters.get("TargetArn")
        if is_arn(target):
            return [("sns:Publish", str(target), True)]
        anywhere = Resource("*") if parameters.get("PhoneNumber") else scope.arn("sns", UNTOLD)
        return [("sns:Publish", *anywhere)]
    subscription = parameters.get("SubscriptionArn")
    if isinstance(subscription, str) and is_arn(subscription):
        return [(f"sns:{operation}", subscription.rpartition(":")[0], True)]
    return None


def ssm(operation: str, parameters: Parameters, scope: Scope) -> list[Pair] | None:
    """A command needs its document and each instance; tags choose instances that only AWS knows.

    A path stands for itself and for whatever parameters are under it.
    """
    if operation == "GetParametersByPath":
        top = str(parameters.get("Path") or UNTOLD)
        names = (UNTOLD,) if top == UNTOLD else (top, f"{top}/{UNTOLD}")
        return [("ssm:GetParametersByPath", *scope.arn("ssm", f"parameter/{name}")) for name in names]
    if operation != "SendCommand":
        return None
    document = parameters.get("DocumentName")
    known = isinstance(document, str) and document != ""
    found = scope.arn("ssm", f"document/{document}") if known else scope.arn("ssm", f"document/{UNTOLD}")
    resources = [Resource(str(document)) if is_arn(document) else found]
    ids = values(parameters, path("InstanceIds[]")) + values(parameters, path("@managed"))
    for target in mappings(parameters.get("Targets")):
        if str(target.get("Key")).lower() == "instanceids":
            ids += values(target, path("Values[]"))
        else:
            resources += (
                scope.arn("ec2", f"instance/{UNTOLD}"),
                scope.arn("ssm", f"managed-instance/{UNTOLD}"),
            )
    resources += (_instance(name, scope) for name in ids)
    return [("ssm:SendCommand", *resource) for resource in resources]


def _instance(name: str, scope: Scope) -> Resource:
    managed = name.startswith("mi-")
    return scope.arn("ssm", f"managed-instance/{name}") if managed else scope.arn("ec2", f"instance/{name}")


def sts(operation: str, parameters: Parameters, scope: Scope) -> list[Pair] | None:
    """Assuming a role, and what else a session is given."""
    role = parameters.get("RoleArn")
    if not operation.startswith("AssumeRole") or not is_arn(role):
        return None
    actions = [operation]
    actions += ["TagSession"] if parameters.get("Tags") else []
    actions += ["SetSourceIdentity"] if parameters.get("SourceIdentity") else []
    return [(f"sts:{action}", str(role), True) for action in actions]


_BY_RULE: Final = ("PutTargets", "RemoveTargets", "ListTargetsByRule")
_RULES: Final = ("PutRule", "DeleteRule", "DescribeRule", "EnableRule", "DisableRule", *_BY_RULE)


def events(operation: str, parameters: Parameters, scope: Scope) -> list[Pair] | None:
    """Events go to the bus that each names; a rule's ARN has its bus in it unless that is the default."""
    if operation == "PutEvents":
        entries = mappings(parameters.get("Entries")) or [{}]
        buses = dict.fromkeys(_bus(entry.get("EventBusName")) for entry in entries)
        return [("events:PutEvents", *_in_events(bus, f"event-bus/{bus}", scope)) for bus in buses]
    if operation in _RULES:
        name = parameters.get("Rule" if operation in _BY_RULE else "Name")
        named = parameters.get("EventBusName")
        bus = _bus(named).partition("event-bus/")[2] if is_arn(named) else _bus(named)
        rule = f"{name}" if bus == "default" else f"{bus}/{name}"
        return [(f"events:{operation}", *_in_events(named, f"rule/{rule}", scope))] if name else None
    return None


def _bus(name: Any) -> str:
    return str(name) if name else "default"


def _in_events(bus: Any, resource: str, scope: Scope) -> Resource:
    """`resource`, in the region and account of the bus where that is given by its ARN."""
    if not is_arn(bus):
        return scope.arn("events", resource)
    return Resource(str(bus)) if resource.startswith("event-bus/") else Resource(f"{_place(bus)}:{resource}")


def _place(arn: str) -> str:
    return ":".join(arn.split(":")[:5])


_MODEL_ACTIONS: Final = {
    "Converse": "InvokeModel",
    "ConverseStream": "InvokeModelWithResponseStream",
    "CountTokens": "CountTokens",
    "InvokeModel": "InvokeModel",
    "InvokeModelWithBidirectionalStream": "InvokeModel",
    "InvokeModelWithResponseStream": "InvokeModelWithResponseStream",
    "StartAsyncInvoke": "InvokeModel",
}
_PROFILE: Final = re.compile(r"(?:[a-z]{2}|us-gov|apac|global)\.(?P<model>[a-z0-9-]+\..+)")


def bedrock_runtime(operation: str, parameters: Parameters, scope: Scope) -> list[Pair] | None:
    """Models by ARN, id or inference profile (which needs its foundation model, in any region, as well)."""
    action = _MODEL_ACTIONS.get(operation)
    if action is None:
        return None
    pairs: list[Pair] = [(f"bedrock:{action}", *model) for model in _models(parameters.get("modelId"), scope)]
    guardrail = values(parameters, path("guardrailIdentifier"))
    guardrail = guardrail or values(parameters, path("guardrailConfig.guardrailIdentifier"))
    for name in guardrail:
        found = Resource(name) if is_arn(name) else scope.arn("bedrock", f"guardrail/{name}")
        pairs.append(("bedrock:ApplyGuardrail", *found))
    return pairs


def _models(model: Any, scope: Scope) -> list[Resource]:
    if not isinstance(model, str) or not model:
        return [Resource.of(UNTOLD)]
    name = model.rpartition("inference-profile/")[2] if is_arn(model) else model
    profile = _PROFILE.fullmatch(name)
    if profile:
        behind = scope._replace(region=None).arn(
            "bedrock", f"foundation-model/{profile['model']}", account=False
        )
        found = Resource(model) if is_arn(model) else scope.arn("bedrock", f"inference-profile/{name}")
        return [found, behind]
    if is_arn(model):
        return [Resource(model)]
    if "." in model:
        return [scope.arn("bedrock", f"foundation-model/{model}", account=False)]
    return [scope.arn("bedrock", f"{UNTOLD}/{model}")]
