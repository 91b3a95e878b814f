"""What EC2's launches and tags need: the resources that a launch takes and makes, and those that ids name.

Follows "Actions, resources, and condition keys for Amazon EC2" and its "Supported resource-level permissions
for RunInstances". An id tells its resource type by its prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from callgate.aws.arns import UNTOLD, Pair, Resource, Scope, is_arn, path, values

_TYPES: Final = {
    "acl": "network-acl",
    "ami": "image",
    "cgw": "customer-gateway",
    "cr": "capacity-reservation",
    "crf": "capacity-reservation-fleet",
    "cvpn-endpoint": "client-vpn-endpoint",
    "dopt": "dhcp-options",
    "eigw": "egress-only-internet-gateway",
    "eipalloc": "elastic-ip",
    "eni": "network-interface",
    "fl": "vpc-flow-log",
    "fleet": "fleet",
    "h": "dedicated-host",
    "i": "instance",
    "igw": "internet-gateway",
    "ipam": "ipam",
    "ipam-pool": "ipam-pool",
    "ipam-scope": "ipam-scope",
    "key": "key-pair",
    "lt": "launch-template",
    "nat": "natgateway",
    "pcx": "vpc-peering-connection",
    "pg": "placement-group",
    "pl": "prefix-list",
    "rtb": "route-table",
    "sfr": "spot-fleet-request",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "sir": "spot-instances-request",
    "snap": "snapshot",
    "subnet": "subnet",
    "tgw": "transit-gateway",
    "tgw-attach": "transit-gateway-attachment",
    "tgw-rtb": "transit-gateway-route-table",
    "vgw": "vpn-gateway",
    "vol": "volume",
    "vpc": "vpc",
    "vpce": "vpc-endpoint",
    "vpce-svc": "vpc-endpoint-service",
    "vpn": "vpn-connection",
}
_NO_ACCOUNT: Final = ("image", "snapshot")
"""AMIs and snapshots are shared: their ARNs name no account."""

# What RunInstances takes, where its parameters name it, and whether a launch always has one.
_LAUNCH: Final = (
    ("image", ("ImageId",), True),
    ("subnet", ("SubnetId", "NetworkInterfaces[].SubnetId"), True),
    ("security-group", ("SecurityGroupIds[]", "NetworkInterfaces[].Groups[]"), True),
    ("key-pair", ("KeyName",), False),
    ("snapshot", ("BlockDeviceMappings[].Ebs.SnapshotId",), False),
    ("launch-template", ("LaunchTemplate.LaunchTemplateId",), False),
    (
        "capacity-reservation",
        ("CapacityReservationSpecification.CapacityReservationTarget.CapacityReservationId",),
        False,
    ),
    ("placement-group", ("Placement.GroupName",), False),
    ("network-interface", ("NetworkInterfaces[].NetworkInterfaceId",), False),
)
_MADE: Final = ("instance", "network-interface", "volume")


def needs(operation: str, parameters: Mapping[str, Any], scope: Scope) -> list[Pair] | None:
    """The needs of RunInstances and of tagging; None for EC2's other operations."""
    if operation in ("CreateTags", "DeleteTags"):
        ids = values(parameters, path("Resources[]"))
        return [(f"ec2:{operation}", *by_id(name, scope)) for name in ids] or None
    if operation != "RunInstances":
        return None
    resources: list[Resource] = []
    for kind, places, always in _LAUNCH:
        names = [name for place in places for name in values(parameters, path(place))]
        resources += (resource(kind, name, scope) for name in names)
        if always and not names:
            resources.append(resource(kind, UNTOLD, scope))
    if values(parameters, path("LaunchTemplate.LaunchTemplateName")):
        resources.append(resource("launch-template", UNTOLD, scope))
    resources += (resource(kind, "*", scope) for kind in _MADE)
    return [("ec2:RunInstances", *found) for found in resources]


def tagging(operation: str, parameters: Mapping[str, Any], scope: Scope) -> list[Pair]:
    """The need to tag what a call makes."""
    kinds = values(parameters, path("TagSpecifications[].ResourceType"))
    return [("ec2:CreateTags", *resource(kind, "*", scope)) for kind in kinds]


def by_id(name: str, scope: Scope) -> Resource:
    """The resource that an id such as `vol-0123` names; any of the region's if the prefix is not known."""
    if is_arn(name):
        return Resource(name)
    kind = _TYPES.get(name.rpartition("-")[0])
    return resource(kind, name, scope) if kind else scope.arn("ec2", f"{UNTOLD}/{name}")


def resource(kind: str, name: str, scope: Scope) -> Resource:
    """The EC2 resource of that type and name. `*` as a name is one that the call makes."""
    if kind in _NO_ACCOUNT:
        return scope.arn("ec2", f"{kind}/{name}", account=False)
    return scope.arn("ec2", f"{kind}/{name}")
