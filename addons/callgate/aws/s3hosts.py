"""S3's many addresses, told from the part of a host before the partition's suffix.

Follows "Making requests to Amazon S3" and the `s3` endpoint rule set. A bucket may have dots; which rule
applies is decided at the right end of the name, where the client has no say.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_REGION = r"(?P<region>[a-z]{2,4}-[a-z]+(?:-[a-z]+)?-\d)"
_BUCKET = r"(?:(?P<bucket>[a-z0-9][a-z0-9._-]*)\.)?"
_NAMED = _BUCKET.removesuffix("?")
_POINT = r"(?P<point>[a-z0-9][a-z0-9-]*)-(?P<account>\d{12})"
_FIPS, _DUAL = r"(?:-fips)?", r"(?:\.dualstack)?"
_ADDRESSES = [
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("bucket", rf"{_BUCKET}s3{_FIPS}{_DUAL}\.{_REGION}"),
        ("bucket", rf"{_BUCKET}s3-(?:fips-)?{_REGION}"),
        ("bucket", rf"{_BUCKET}s3{_FIPS}(?:-external-1)?"),
        ("accelerate", rf"{_NAMED}s3-accelerate{_DUAL}"),
        ("access-point", rf"{_POINT}\.s3-accesspoint{_FIPS}{_DUAL}\.{_REGION}"),
        ("outposts", rf"{_POINT}\.(?P<outpost>op-[a-z0-9]+)\.s3-outposts{_FIPS}\.{_REGION}"),
        (
            "outposts-bucket",
            rf"(?P<bucket>[a-z0-9-]+--op-s3)\.(?:ec2|op-[a-z0-9]+)\.s3-outposts{_FIPS}\.{_REGION}",
        ),
        ("object-lambda", rf"{_POINT}\.s3-object-lambda{_FIPS}\.{_REGION}"),
        ("object-lambda-route", rf"(?:(?P<route>[a-z0-9-]+)\.)?s3-object-lambda{_FIPS}\.{_REGION}"),
        ("multi-region", r"(?P<alias>[a-z0-9]+)(?:\.mrap)?\.accesspoint\.s3-global"),
        (
            "express",
            rf"(?P<bucket>[a-z0-9][a-z0-9.-]*--xa?-s3)\.s3express{_FIPS}-[a-z0-9-]+{_DUAL}\.{_REGION}",
        ),
        ("express-control", rf"s3express-control{_FIPS}{_DUAL}\.{_REGION}"),
        ("website", rf"{_NAMED}s3-website[-.]{_REGION}"),
    )
]
_SIGNING = {
    "outposts": "s3-outposts",
    "outposts-bucket": "s3-outposts",
    "object-lambda": "s3-object-lambda",
    "object-lambda-route": "s3-object-lambda",
    "express": "s3express",
    "express-control": "s3express",
}


@dataclass(frozen=True, slots=True)
class S3Address:
    """What the host says: `bucket` is the bucket or access point ARN in it, None where the path has one."""

    kind: str
    signing: str
    bucket: str | None = None
    region: str | None = None
    account: str | None = None
    route: str | None = None
    everywhere: bool = False


def s3_address(stem: str, partition: str, regions: Mapping[str, str]) -> S3Address | None:
    """Reads `stem`, the host without its suffix; None if it is no address of S3."""
    if "s3" not in stem:
        return None
    for kind, pattern in _ADDRESSES:
        if (found := pattern.fullmatch(stem)) is None:
            continue
        said = found.groupdict()
        region, account = said.get("region"), said.get("account")
        if region is not None and region not in regions:
            continue
        if region is not None:
            partition = regions[region]
        elif stem.endswith("s3-external-1"):
            region = "us-east-1"
        bucket = said.get("bucket")
        if kind == "access-point":
            bucket = f"arn:{partition}:s3:{region}:{account}:accesspoint/{said['point']}"
        elif kind == "object-lambda":
            bucket = f"arn:{partition}:s3-object-lambda:{region}:{account}:accesspoint/{said['point']}"
        elif kind == "outposts":
            owner = f"arn:{partition}:s3-outposts:{region}:{account}"
            bucket = f"{owner}:outpost/{said['outpost']}/accesspoint/{said['point']}"
        elif kind == "multi-region":
            bucket = f"arn:{partition}:s3:::accesspoint/{said['alias']}.mrap"
        return S3Address(
            kind,
            _SIGNING.get(kind, "s3"),
            bucket,
            region,
            account,
            said.get("route"),
            everywhere=region is None,
        )
    return None
