"""IP networks as rules and requests write them."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network(text: object) -> Network:
    """The network or single address that `text` names, with IPv4 inside IPv6 as IPv4. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no network")
    read = ipaddress.ip_network(text, strict=False)
    if isinstance(read, ipaddress.IPv6Network) and read.prefixlen >= 96 and read.network_address.ipv4_mapped:
        return ipaddress.IPv4Network((read.network_address.ipv4_mapped, read.prefixlen - 96))
    return read


def networks(texts: Sequence[str]) -> list[Network]:
    """All of `texts`. Raises ValueError for one that is no network or has bits beyond its prefix."""
    for text in texts:
        ipaddress.ip_network(text)
    return [network(text) for text in texts]


def inside(asked: Network, allowed: Sequence[Network]) -> bool:
    """Does one of `allowed` contain all of `asked`?"""
    return any(
        asked.subnet_of(net)  # type: ignore[arg-type]  # the versions are equal
        for net in allowed
        if asked.version == net.version
    )
