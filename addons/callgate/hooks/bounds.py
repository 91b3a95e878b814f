"""What one client may ask for: sizes, times and counts."""

from __future__ import annotations

from dataclasses import dataclass

from callgate.call import Refusal
from callgate.channel import HeadLimits

# What is asked of the proxy port itself has no larger body.
PORTAL_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes: request heads, request bodies and response bodies that are read whole. Times in
    seconds: from a head's first byte to its last, for a body (see `stream.Stream`), for a client to say who
    it is and to finish a TLS handshake, and for the rest of a refused request to be thrown away.
    `connections` counts those of all clients, `session_connections` those of one session.
    """

    head: HeadLimits = HeadLimits()
    head_seconds: float = 10.0
    body_seconds: float = 300.0
    linger_seconds: float = 30.0
    handshake_seconds: float = 10.0
    connections: int = 5000
    session_connections: int = 1000
    request_body: int = 16 * 1024 * 1024
    response_body: int = 16 * 1024 * 1024

    def request_too_large(self) -> Refusal:
        """The refusal of a body that would have to be read whole and is over the bound."""
        return Refusal(
            "request-too-large", f"The request body is larger than {self.request_body} bytes.", status=413
        )

    def response_too_large(self) -> Refusal:
        """The refusal of a response that has to be masked and is over the bound."""
        detail = f"The response must be masked and is larger than {self.response_body} bytes."
        return Refusal("mask-too-large", detail, status=502)
