"""Who is being talked to: raw request heads, the agreement of CONNECT, SNI and Host, and the addresses
that names lead to."""

from callgate.channel.address import Network, judge_address, parse_ranges
from callgate.channel.destination import Destination, canonical_host, connect_destination, inner_destination
from callgate.channel.head import HeadLimits, judge_head

__all__ = [
    "Destination",
    "HeadLimits",
    "Network",
    "canonical_host",
    "connect_destination",
    "inner_destination",
    "judge_address",
    "judge_head",
    "parse_ranges",
]
