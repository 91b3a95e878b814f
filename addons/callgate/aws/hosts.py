"""Which services live at a host: from the shipped table of hosts, S3's addresses and VPC endpoints.

A host of AWS is its partition's suffix, a region (or none) and what stands before; the table knows the rest
as templates (`sqs.{region}.{dns}`, `*` for one label that a caller chooses) and as literal hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from callgate.aws.index import Index, index
from callgate.aws.s3hosts import S3Address, s3_address
from callgate.aws.sites import Site, site_at

# Suffixes beyond those of the partitions under which AWS offers APIs or hosts of its own.
MORE_SUFFIXES = (
    "aws", "on.amazonwebservices.com.cn", "awsapps.com", "amazonaws-us-gov.com", "amazonaws.cn",
    "amazonaws-eusc.eu",
    "signin.aws.amazon.com", "c2shome.ic.gov", "sc2shome.sgov.gov", "csphome.adc-e.uk", "csphome.hci.ic.gov",
)  # fmt: skip
_VPCE = re.compile(r"(?:(.+)\.)?vpce-[0-9a-z]+(?:-[0-9a-z-]+)?\.(.+)\.vpce")
_ACCOUNT = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class Host:
    """What a host says. `services` pairs each service with the host prefix (`data-`, `*.`) that the host
    carries for it.

    `scopes` are the regions that a signature may name, None for any of the partition's; `region` is None
    where the signature tells it. `labels` are what stood at `*`; `account` is the one that the host names.
    """

    services: tuple[tuple[str, str], ...]
    partition: str | None
    region: str | None = None
    scopes: frozenset[str] | None = None
    labels: tuple[str, ...] = ()
    account: str | None = None
    signing: frozenset[str] | None = None
    s3: S3Address | None = None
    site: Site | None = None
    standin: bool = False
    anonymous: bool = False


@lru_cache(maxsize=4096)
def aws_host(host: str) -> Host | None:
    """The host as AWS's, None if it is not one that we can read."""
    if len(host) > 253:  # RFC 1035
        return None
    known = index()
    for suffix, mark, partitions in _suffixes():
        if not host.endswith(suffix):
            continue
        stem = host[: -len(suffix)]
        inside = _VPCE.fullmatch(stem)
        if inside is None:
            return _in_partition(known, host, stem, suffix, mark, partitions)
        public = _behind_endpoint(inside[1], inside[2])
        return _in_partition(known, public + suffix, public, suffix, mark, partitions) if public else None
    if not is_aws_domain(host):
        return None
    return _in_table(known, host, host, "", "", ()) or _site(known, host, "", ())


def is_aws_domain(host: str) -> bool:
    """Whether `host` is one of AWS's own, known or not."""
    return any(host.endswith(suffix) for suffix, _, _ in _suffixes()) or any(
        host == suffix or host.endswith("." + suffix) for suffix in MORE_SUFFIXES
    )


@lru_cache(maxsize=1)
def _suffixes() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """(suffix, mark in templates, partitions that share it), the longest suffix first."""
    found: dict[tuple[str, str], list[str]] = {}
    for partition, (dns, dual, _) in index().partitions.items():
        found.setdefault(("." + dns, "{dns}"), []).append(partition)
        found.setdefault(("." + dual, "{dual}"), []).append(partition)
    return tuple(sorted(((s, m, tuple(p)) for (s, m), p in found.items()), key=lambda row: -len(row[0])))


def _behind_endpoint(before: str | None, service: str) -> str | None:
    """The public name of what an interface VPC endpoint stands for: `vpce-….sqs.us-east-1.vpce` is `sqs.us-
    east-1`.
    """
    if before is None:
        return service
    kind, _, region = service.partition(".")
    if kind == "s3":
        name, _, role = before.rpartition(".")
        renamed = {"bucket": "s3", "accesspoint": "s3-accesspoint", "control": "s3-control"}.get(role)
        return None if renamed is None else f"{name}.{renamed}.{region}" if name else f"{renamed}.{region}"
    return f"{before}.{service}"


def _in_partition(
    known: Index, host: str, stem: str, suffix: str, mark: str, partitions: tuple[str, ...]
) -> Host | None:
    address = s3_address(stem, partitions[0], known.regions) if mark == "{dns}" else None
    if address is not None:
        partition = known.regions[address.region] if address.region else partitions[0]
        if partition not in partitions:
            return None
        scopes = frozenset((address.region,)) if address.region else None
        prefix = "*." if address.route else ""
        services: tuple[tuple[str, str], ...] = (("s3", prefix),)
        if address.kind == "express-control":
            services += (("s3control", ""),)
        labels = (address.route,) if address.route else ()
        return Host(
            services,
            partition,
            address.region,
            scopes,
            labels,
            address.account,
            frozenset((address.signing,)),
            address,
        )
    return _in_table(known, host, stem, suffix, mark, partitions) or _site(known, stem, suffix, partitions)


def _in_table(
    known: Index, host: str, stem: str, suffix: str, mark: str, partitions: tuple[str, ...]
) -> Host | None:
    labels = stem.split(".")
    at = next((i for i, x in enumerate(labels) if x in known.regions and _fits(known, x, partitions)), None)
    region = None if at is None else labels[at]
    partition = known.regions[region] if region else (partitions[0] if partitions else None)
    for wild in (0, 1, 2):
        if wild >= len(labels):
            break
        chosen, rest = labels[:wild], ["*"] * wild + labels[wild:]
        if at is not None and at < wild:
            break
        literal = known.literals.get(".".join(rest) + suffix)
        if at is not None:
            rest[at] = "{region}"
        names = " ".join(
            known.templates.get(form, "") for form in {".".join(rest) + "." + mark, ".".join(rest) + suffix}
        )
        services = _services(names)
        scopes = frozenset((region,)) if region and services else frozenset()
        anywhere = bool(services) and region is None
        if literal:
            services = tuple(dict.fromkeys(services + _services(" ".join(literal.values()))))
            scopes |= frozenset(literal) - {"*"}
            anywhere = anywhere or "*" in literal
            if region is None and not anywhere and len(scopes) == 1:
                (region,) = scopes
                partition = known.regions[region]
        if services:
            account = next((label for label in chosen if _ACCOUNT.fullmatch(label)), None)
            return Host(services, partition, region, None if anywhere else scopes, tuple(chosen), account)
    return None


def _fits(known: Index, region: str, partitions: tuple[str, ...]) -> bool:
    return not partitions or known.regions[region] in partitions


def _services(names: str) -> tuple[tuple[str, str], ...]:
    found = dict.fromkeys((name, prefix) for name, _, prefix in (n.partition("^") for n in names.split()))
    return tuple(found)


def _site(known: Index, stem: str, suffix: str, partitions: tuple[str, ...]) -> Host | None:
    site = site_at(stem + suffix)
    if site is None or (
        site.region and (site.region not in known.regions or not _fits(known, site.region, partitions))
    ):
        return None
    partition = known.regions[site.region] if site.region else (*partitions, "aws")[0]
    scopes = frozenset((site.region,)) if site.region else None
    return Host((), partition, site.region, scopes, account=site.account, site=site)
