"""Which addresses may be connected to: public ones, and for AWS's own names the configured ranges."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from callgate.call import Refusal

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_COMPATIBLE = ipaddress.IPv6Network("::/96")
# Instance metadata, its IPv6 form, and the machine's own link: no configuration opens these.
_NEVER: tuple[Network, ...] = (
    ipaddress.IPv4Network("169.254.0.0/16"),
    ipaddress.IPv6Network("fe80::/10"),
    ipaddress.IPv6Network("fd00:ec2::/32"),
)


def parse_ranges(texts: Sequence[str]) -> tuple[Network, ...]:
    """CIDR ranges. Raises ValueError for anything else, host bits that are set included."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def judge_address(text: str, permitted: Sequence[Network] = ()) -> None:
    """Judge an address that a name has resolved to.

    Private, loopback, link-local, multicast and reserved addresses are refused, also where an IPv6 address
    carries one of them (mapped, compatible, 6to4, Teredo, NAT64), unless `permitted` covers them. Raises
    Refusal.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        raise Refusal("address-refused", "The name does not resolve to an IP address.") from None
    for each in (address, *_carried(address)):
        if any(each in network for network in _NEVER):
            raise Refusal("address-refused", "The name resolves to a link-local or metadata address.")
        if each.is_global and not each.is_multicast:
            continue
        if not any(each in network for network in permitted):
            raise Refusal("address-refused", "The name resolves to an address that is not public.")


def _carried(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _COMPATIBLE or any(address in network for network in _NAT64):
        found.append(low)
    return [each for each in found if each is not None]
