"""How services let callers name a resource in more ways than its ARN or the plain name in it.

Each function takes the parameters of a call and gives them back with such names brought into the form that
the ARN templates of the Service Authorization Reference take; what stays unknown is taken out. Names that
begin with `@` are parts that no parameter has by itself; scripts/needs.toml says where they go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from callgate.aws.arns import UNTOLD, Scope, is_arn

Parameters = Mapping[str, Any]
Rewrite = Callable[[str, Parameters, Scope], Parameters]


def plain_names(service: str, operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """`parameters` of `service`'s `operation` with the names of resources in plain form."""
    rewrite = _SERVICES.get(service)
    return rewrite(operation, parameters, scope) if rewrite else parameters


def owner(service: str, parameters: Parameters, scope: Scope) -> Scope:
    """`scope` with the account that a parameter names as the owner of what the call is about."""
    name = _OWNERS.get(service)
    account = parameters.get(name) if name else None
    if isinstance(account, str) and re.fullmatch(r"[0-9]{12}", account):
        return scope._replace(account=account)
    return scope


# LocalStack puts `queue/region` before the account.
_QUEUE: Final = re.compile(
    r"https?://[^/?#]+/(?:queue/(?:[a-z0-9-]+/)?)?(?P<account>\d{12})/(?P<name>[\w.-]+)", re.A
)


def _sqs(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """Queues are named by URL: `https://sqs.region.amazonaws.com/account/name`."""
    url = parameters.get("QueueUrl")
    if not isinstance(url, str):
        return parameters
    match = _QUEUE.fullmatch(url)
    if match is None:
        return {**parameters, "QueueUrl": scope._replace(account=None).written("sqs", UNTOLD)}
    queue = scope._replace(account=match["account"]).written("sqs", match["name"])
    return {**parameters, "QueueUrl": queue}


_FUNCTION: Final = re.compile(
    r"(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[A-Za-z0-9_-]+)(?::(?P<qualifier>[^:]+))?",
    re.A,
)


def _lambda(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """Functions are named by name, name:qualifier, account:function:name or ARN, the qualifier also apart.

    A qualified function is a resource of its own, and is the function as well.
    """
    named = parameters.get("FunctionName")
    if not isinstance(named, str):
        return parameters
    front, _, tail = named.partition(":function:") if is_arn(named) else ("", "", named)
    match = _FUNCTION.fullmatch(tail)
    if match is None:
        anywhere = Scope(scope.partition, None, None).written("lambda", f"function:{UNTOLD}")
        return parameters if is_arn(named) else {**parameters, "FunctionName": anywhere}
    if not front:
        front = scope._replace(account=match["account"] or scope.account).written("lambda", "")[:-1]
    function = f"{front}:function:{match['name']}"
    qualifier = match["qualifier"] or parameters.get("Qualifier")
    return {**parameters, "FunctionName": [function, f"{function}:{qualifier}"] if qualifier else function}


def _kms(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """A key named by an alias is authorised as the key, which only AWS knows."""
    changed = dict(parameters)
    for name in ("KeyId", "TargetKeyId", "SourceKeyId", "DestinationKeyId"):
        given = parameters.get(name)
        if isinstance(given, str) and "alias/" in given:
            place = given.partition("alias/")[0]
            changed[name] = f"{place}key/{UNTOLD}" if place else UNTOLD
    if isinstance(alias := parameters.get("AliasName"), str):
        changed["AliasName"] = alias.removeprefix("alias/")
    return changed


def _ssm(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """Parameters without the leading slash, or a version or label behind; instances apart by their ids."""
    changed = dict(parameters)
    if "Parameter" in operation:
        for name in ("Name", "Path", "ResourceId"):
            if isinstance(parameters.get(name), str):
                changed[name] = _parameter(parameters[name])
        if isinstance(parameters.get("Names"), list):
            changed["Names"] = [_parameter(n) for n in parameters["Names"] if isinstance(n, str)]
    for name in ("InstanceIds", "InstanceId", "Target"):
        given = parameters.get(name)
        ids = given if isinstance(given, list) else [given]
        managed = [i for i in ids if isinstance(i, str) and i.startswith("mi-")]
        if managed:
            changed |= {"@managed": managed, name: [i for i in ids if i not in managed]}
    return changed


def _parameter(name: str) -> str:
    place, _, tail = name.partition(":parameter/") if is_arn(name) else ("", "", name)
    plain = tail.partition(":")[0].strip("/") or UNTOLD
    return f"{place}:parameter/{plain}" if place else plain


def _logs(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """The ARN of a log group may end in `:*`, for its streams."""
    changed = dict(parameters)
    for name, value in parameters.items():
        if is_arn(value):
            changed[name] = str(value).removesuffix(":*")
        elif isinstance(value, list):
            changed[name] = [item.removesuffix(":*") if is_arn(item) else item for item in value]
    return changed


def _states(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """An alias or a version of a state machine is a resource of its own, and is the state machine as well."""
    arn = parameters.get("stateMachineArn")
    if not isinstance(arn, str) or arn.count(":") != 7:
        return parameters
    return {**parameters, "stateMachineArn": [arn.rpartition(":")[0], arn]}


def _ecs(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """`family` and `family:revision` taken apart."""
    named = parameters.get("taskDefinition")
    if not isinstance(named, str) or is_arn(named):
        return parameters
    family, _, revision = named.partition(":")
    return {**_without(parameters, "taskDefinition"), "@family": family, "@revision": revision}


def _elbv2(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """The type of a load balancer stands in its ARN."""
    kinds = {"network": "net", "gateway": "gwy"}
    return {**parameters, "@kind": kinds.get(str(parameters.get("Type")), "app")}


def _organizations(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """Ids begin with what the ARN templates have before them (`p-`, `ou-`, `h-`)."""
    return {
        name: re.sub(r"^(p|ou|h|r|rt|rp)-", "", value) if isinstance(value, str) else value
        for name, value in parameters.items()
    }


def _wafv2(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """The scope of a web ACL stands in its ARN."""
    scopes = {"REGIONAL": "regional", "CLOUDFRONT": "global"}
    said = parameters.get("Scope")
    return {**parameters, "Scope": scopes.get(said, said)} if isinstance(said, str) else parameters


_IAM_NAMES: Final = (
    "RoleName",
    "UserName",
    "GroupName",
    "InstanceProfileName",
    "PolicyName",
    "ServerCertificateName",
)


def _iam(operation: str, parameters: Parameters, scope: Scope) -> Parameters:
    """What is created may be given a path, which is part of its ARN; a provider is named by its URL."""
    given, url = parameters.get("Path"), parameters.get("Url")
    if operation == "CreateOpenIDConnectProvider" and isinstance(url, str):
        return {**parameters, "Url": url.removeprefix("https://")}
    if not isinstance(given, str) or not operation.startswith(("Create", "Upload")):
        return parameters
    folder = given.strip("/")
    front = f"{folder}/" if folder else ""
    named = {name: front + parameters[name] for name in _IAM_NAMES if isinstance(parameters.get(name), str)}
    return {**parameters, **named}


def _without(parameters: Parameters, *names: str) -> Parameters:
    return {name: value for name, value in parameters.items() if name not in names}


_SERVICES: Final[dict[str, Rewrite]] = {
    "ecs": _ecs,
    "elbv2": _elbv2,
    "iam": _iam,
    "kms": _kms,
    "lambda": _lambda,
    "logs": _logs,
    "organizations": _organizations,
    "sqs": _sqs,
    "ssm": _ssm,
    "stepfunctions": _states,
    "wafv2": _wafv2,
}
_OWNERS: Final = {
    "account": "AccountId",
    "budgets": "AccountId",
    "ecr": "registryId",
    "glue": "CatalogId",
    "quicksight": "AwsAccountId",
    "s3control": "AccountId",
    "sqs": "QueueOwnerAWSAccountId",
}
