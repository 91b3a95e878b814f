"""Who a request is for: CONNECT target, SNI, Host header and absolute form must name one host.

Host names are canonical: lower case, no trailing dot, no port; never an address in any spelling.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from callgate.call import Refusal

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
# What inet_aton and URL parsers read as an IPv4 address: 127.1, 2130706433, 0x7f.1 and the like.
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*")


@dataclass(frozen=True, slots=True)
class Destination:
    """One canonical host name and a port."""

    host: str
    port: int = 443

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@functools.lru_cache(maxsize=4096)
def canonical_host(name: str) -> str:
    """The canonical form of a host name. Raises Refusal for addresses, single labels and malformed names."""
    host = name.lower().removesuffix(".")
    if _NUMERIC.fullmatch(host) or "[" in host or ":" in host:
        raise Refusal("address-literal", "Destinations are named, not given as addresses.")
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise Refusal("malformed-host", "The destination is not a fully qualified host name.")
    return host


def authority(text: str, default_port: int) -> Destination:
    """`host` or `host:port` as a destination. Raises Refusal."""
    host, colon, port = text.partition(":")
    if not colon:
        return Destination(canonical_host(host), default_port)
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise Refusal("malformed-host", "The destination is not HOST:PORT.")
    return Destination(canonical_host(host), int(port))


def connect_destination(target: str, host_header: str | None) -> Destination:
    """What a CONNECT asks for; a Host header must agree (clients send it with the port, without it, or not
    at all).

    Raises Refusal, also for any port but 443.
    """
    wanted = authority(target, 443)
    if host_header is not None and authority(host_header, wanted.port) != wanted:
        raise Refusal("destination-mismatch", "CONNECT target and Host header name different destinations.")
    if wanted.port != 443:
        raise Refusal("port-refused", f"Only port 443 is passed on, not {wanted.port}.")
    return wanted


def inner_destination(
    connected: Destination, *, sni: str | None, host_header: str, absolute: str | None
) -> Destination:
    """The destination of a request inside a tunnel, which every party to it names alike.

    `absolute` is the authority of an absolute-form target, None for origin form. Raises Refusal.
    """
    if sni is None:
        raise Refusal("destination-mismatch", "The TLS handshake names no server (SNI).")
    if canonical_host(sni) != connected.host:
        raise Refusal("destination-mismatch", "CONNECT target and TLS server name (SNI) differ.")
    if authority(host_header, connected.port) != connected:
        raise Refusal("destination-mismatch", "CONNECT target and Host header differ.")
    if absolute is not None and authority(absolute, connected.port) != connected:
        raise Refusal("destination-mismatch", "CONNECT target and the request target differ.")
    return connected
