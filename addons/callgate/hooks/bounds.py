"""What one client may ask for: sizes, times and counts."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.channel import HeadLimits

# What is asked of the proxy port itself has no larger body.
PORTAL_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes: request heads, request bodies and response bodies that are read whole. Times in
    seconds: from a head's first byte to its last, for a client to say who it is and to finish a TLS
    handshake, and for the rest of a refused request to be thrown away. `connections` counts those of all
    clients, `session_connections` those of one session.
    """

    head: HeadLimits = HeadLimits()
    head_seconds: float = 10.0
    linger_seconds: float = 30.0
    handshake_seconds: float = 10.0
    connections: int = 5000
    session_connections: int = 1000
    request_body: int = 16 * 1024 * 1024
    response_body: int = 16 * 1024 * 1024
