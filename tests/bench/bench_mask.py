"""Masking beside botocore's own parser on the same body, in the same run.

    scripts/bench mask [--json] [--beside]

Figures are CPU time, the best of several passes: milliseconds of masking, of parsing, and their ratio. With
--beside, also what small calls wait while 4 MB answers are masked (four minutes).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

import mask_beside
from botocore.awsrequest import HeadersDict
from botocore.parsers import create_parser
from rich.console import Console
from rich.table import Table

from callgate.aws import service_model
from callgate.call import Call, HttpResponse
from callgate.decision import Mask
from callgate.masking import mask_response

PASSES = 7


def instances_in_json(count: int) -> bytes:
    one = (
        '{"InstanceId":"i-%017d","PingStatus":"Online","LastPingDateTime":1.7E9,"AgentVersion":"3.1",'
        '"IsLatestVersion":true,"PlatformType":"Linux","PlatformName":"Amazon Linux","PlatformVersion":"2",'
        '"ResourceType":"EC2Instance","IPAddress":"10.0.0.1","ComputerName":"ip-10-0-0-1",'
        '"AssociationOverview":{"DetailedStatus":"Success",'
        '"InstanceAssociationStatusAggregatedCount":{"Success":3}}}'
    )
    return ('{"InstanceInformationList":[' + ",".join(one % index for index in range(count)) + "]}").encode()


def secrets_in_json(count: int) -> bytes:
    one = (
        '{"ARN":"arn:aws:secretsmanager:eu-west-1:111111111111:secret:db-%d","Name":"prod/db","VersionId":'
        '"11111111-2222-3333-4444-555555555555","SecretString":"{\\"user\\":\\"bob\\",\\"password\\":\\"x\\"}",'
        '"VersionStages":["AWSCURRENT"],"CreatedDate":1.7E9}'
    )
    return ('{"SecretValues":[' + ",".join(one % index for index in range(count)) + "]}").encode()


def instances_in_xml(count: int) -> bytes:
    one = (
        "<item><instanceId>i-%017d</instanceId><imageId>ami-1</imageId><instanceState><code>16</code>"
        "<name>running</name></instanceState><keyName>k</keyName><instanceType>t3.micro</instanceType>"
        "<launchTime>2026-01-01T00:00:00.000Z</launchTime><subnetId>subnet-1</subnetId><vpcId>vpc-1</vpcId>"
        "<privateIpAddress>10.0.0.1</privateIpAddress><tagSet><item><key>Name</key><value>web</value></item>"
        "</tagSet></item>"
    )
    items = "".join(one % index for index in range(count))
    return (
        '<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>'
        f"<instancesSet>{items}</instancesSet></item></reservationSet></DescribeInstancesResponse>"
    ).encode()


CASES: list[tuple[str, str, str, Callable[[int], bytes], int, tuple[str, ...]]] = [
    ("json-1mb", "ssm", "DescribeInstanceInformation", instances_in_json, 2600,
     ("$.InstanceInformationList[*].IPAddress", "$..ComputerName", "$..AgentVersion")),
    ("json-2kb", "ssm", "DescribeInstanceInformation", instances_in_json, 5,
     ("$.InstanceInformationList[*].IPAddress", "$..ComputerName", "$..AgentVersion")),
    ("json-1mb-all-secrets", "secretsmanager", "BatchGetSecretValue", secrets_in_json, 3600,
     ("$..SecretString", "$..SecretBinary", "$..Name")),
    ("xml-1mb", "ec2", "DescribeInstances", instances_in_xml, 2000,
     ("$..PrivateIpAddress", "$..KeyName", "$..UserData")),
    ("xml-2kb", "ec2", "DescribeInstances", instances_in_xml, 4,
     ("$..PrivateIpAddress", "$..KeyName", "$..UserData")),
]  # fmt: skip


def best(work: Callable[[], object]) -> float:
    """The shortest CPU time of `work` in milliseconds."""
    taken = []
    for _ in range(PASSES):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken) * 1000


def forever() -> None:
    """Mask 4 MB again and again, and say once when that begins."""
    _, service, operation, made, _, paths = CASES[0]
    work = masking(service, operation, made(9600), paths)
    work()
    print("masking", flush=True)
    while True:
        work()


def masking(service: str, operation: str, body: bytes, paths: tuple[str, ...]) -> Callable[[], object]:
    """What masks `body`, once each time."""
    call = Call(
        service=service,
        operation=operation,
        candidates=((service, operation),),
        protocol=service_model(service).metadata["protocol"],
        region="eu-west-1",
    )
    response = HttpResponse(200, (("Content-Length", str(len(body))),), body)
    masks = [Mask("bench", paths)]
    return lambda: mask_response(masks, call, response, method="POST", key=b"k" * 32)


def measure(service: str, operation: str, body: bytes, paths: tuple[str, ...]) -> dict[str, float]:
    model = service_model(service)
    shape = model.operation_model(operation).output_shape
    wire = {"status_code": 200, "headers": HeadersDict({}), "body": body, "context": {}}
    parser = create_parser(model.metadata["protocol"])
    masked = best(masking(service, operation, body, paths))
    parsing = best(lambda: parser.parse(wire, shape))
    return {"bytes": len(body), "mask_ms": masked, "botocore_ms": parsing, "ratio": masked / parsing}


def beside(found: dict[str, dict[str, float]]) -> Table:
    """What `mask_beside.measure` found."""
    columns = ("4 MB beside", "a second", "calls", "p50 ms", "p99 ms", "ratio", "")
    title = f"Small calls, {mask_beside.RATE} a second; p99 by that alone, over {mask_beside.ROUNDS} rounds"
    table = Table(*columns, title=title)
    for name, each in found.items():
        is_masked = name.startswith("masked")
        mark = ("✔" if each["ratio"] <= mask_beside.LIMIT else "✘") if is_masked else ""
        table.add_row(
            name,
            f"{each['answers']:.1f}",
            f"{each['calls']:,.0f}",
            f"{each['p50']:.1f}",
            f"{each['p99']:.1f}",
            f"{each['ratio']:.2f} ({each['low']:.2f} to {each['high']:.2f})",
            f"≤ {mask_beside.LIMIT} {mark}" if is_masked else "",
        )
    return table


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--json", action="store_true", help="one JSON object on stdout")
    options.add_argument("--beside", action="store_true", help="latencies of others, through a gateway")
    wanted = options.parse_args()
    found = {
        name: measure(service, operation, made(count), paths)
        for name, service, operation, made, count, paths in CASES
    }
    others = mask_beside.measure(instances_in_json(9600)) if wanted.beside else {}
    if wanted.json:
        print(json.dumps(found | {"beside": others}))
        return 0
    out = Console()
    table = Table("body", "kB", "mask ms", "botocore ms", "ratio", title="Masking beside botocore's parser")
    for name, each in found.items():
        figures = (each["bytes"] / 1000, each["mask_ms"], each["botocore_ms"], each["ratio"])
        table.add_row(name, *(f"{figure:,.2f}" for figure in figures))
    out.print(table)
    if others:
        out.print(beside(others))
    return 0


if __name__ == "__main__":
    sys.exit(main())
