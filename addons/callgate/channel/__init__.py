"""Who is being talked to: raw request heads, and the agreement of CONNECT, SNI and Host."""

from callgate.channel.destination import Destination, canonical_host, connect_destination, inner_destination
from callgate.channel.head import HeadLimits, judge_head

__all__ = [
    "Destination",
    "HeadLimits",
    "canonical_host",
    "connect_destination",
    "inner_destination",
    "judge_head",
]
