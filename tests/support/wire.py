"""A client that says exactly what it is told: raw heads, chosen SNI, half-finished handshakes."""

from __future__ import annotations

import itertools
import json
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.canary import CANARY
from support.gateway import Gateway, wait_for
from support.upstream import Recorder

HOST = "dynamodb.us-east-1.amazonaws.com"
# Each client comes from an address of its own on the loopback: refusals are counted by source.
_SOURCES = itertools.count(2)
CREDENTIAL = "AKIAIOSFODNN7EXAMPLE/20260101/{region}/{service}/aws4_request"


@dataclass
class Answer:
    """What came back: `status` 0 says that the connection ended without an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def reason(self) -> str | None:
        return self.headers.get("x-callgate-reason")


class Wire:
    """One connection to the gateway's proxy port."""

    def __init__(self, gateway: Gateway, source: str | None = None, seconds: float = 15.0) -> None:
        number = next(_SOURCES)
        self.source = source or f"127.0.{number // 250 + 1}.{number % 250 + 1}"
        self.gateway = gateway
        self.socket: Any = socket.create_connection(gateway.address, seconds, source_address=(self.source, 0))
        self.buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError:
            return  # the gateway may have closed; what it answered is still to be read

    def connect(self, target: str = f"{HOST}:443", token: str | None = None, more: str = "") -> Answer:
        """CONNECT with a good token, or the one given."""
        credential = b64encode(f"job:{token or self.gateway.home.token()}".encode()).decode()
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        head += f"Proxy-Authorization: Basic {credential}\r\n{more}\r\n"
        self.send(head.encode("latin-1"))
        return self.read(tunnel=True)

    def tls(self, sni: str | None = HOST, ca: Path | None = None) -> None:
        """A handshake on what is there. Raises ssl.SSLError or OSError where it fails."""
        context = ssl.create_default_context(cafile=str(ca or self.gateway.home.ca))
        context.check_hostname = False
        if sni is None:
            context.verify_mode = ssl.CERT_NONE
        self.socket = context.wrap_socket(self.socket, server_hostname=sni)

    def read(self, tunnel: bool = False) -> Answer:
        """The next response; `tunnel`: a 200 has no body."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return Answer(0, {}, self.buffer)
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        if (tunnel and status == 200) or status == 100:
            return Answer(status, headers, b"")
        length = int(headers.get("content-length", "0"))
        while len(self.buffer) < length and self._more():
            pass
        body, self.buffer = self.buffer[:length], self.buffer[length:]
        return Answer(status, headers, body)

    def ended(self) -> bool:
        """Whether the gateway closes, and says nothing before."""
        while self._more():
            pass
        return not self.buffer

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise AssertionError("the gateway neither answers nor closes") from None
        except OSError:
            return False
        self.buffer += data
        return bool(data)


def request(
    body: bytes = b"{}",
    *,
    method: str = "POST",
    target: str = "/",
    host: str = HOST,
    service: str = "dynamodb",
    operation: str = "DynamoDB_20120810.ListTables",
    more: str = "",
    length: str | None = None,
) -> bytes:
    """A signed-looking DynamoDB request."""
    scope = CREDENTIAL.format(region="us-east-1", service=service)
    lines = [
        f"{method} {target} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/x-amz-json-1.0",
        f"X-Amz-Target: {operation}",
        "X-Amz-Date: 20260101T000000Z",
        f"X-Amz-Security-Token: {CANARY}",
        f"Authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date,"
        f" Signature={'0' * 64}",
        length if length is not None else f"Content-Length: {len(body)}",
    ]
    head = "\r\n".join(line for line in lines if line) + "\r\n" + more + "\r\n"
    return head.encode("latin-1") + body


@dataclass
class Eyes:
    """Three eyes on one attack: the client sees an answer, the upstream nothing, the ledger one terminal
    entry.
    """

    gateway: Gateway
    upstream: Recorder
    seen: int
    accepted: int

    @classmethod
    def open(cls, gateway: Gateway, upstream: Recorder) -> Eyes:
        return cls(gateway, upstream, len(gateway.entries()), upstream.accepted)

    def new(self, source: str) -> list[dict[str, Any]]:
        """The terminal entries of calls and connections from `source`."""
        fresh = self.gateway.entries()[self.seen :]
        calls = {
            each["callId"] for each in fresh if "callId" in each and each.get("sourceIPAddress") == source
        }
        ends = ("call.refused", "call.outcome")
        return [
            each
            for each in fresh
            if (each["kind"] in ends and each["callId"] in calls)
            or (each["kind"] == "connection.refused" and each["sourceIPAddress"] == source)
        ]

    def denied(self, wire: Wire, *reasons: str) -> dict[str, Any]:
        """Nothing went upstream, and one entry with one of the reasons is there."""
        found: list[dict[str, Any]] = wait_for(lambda: self.new(wire.source), 10, "the entry of the refusal")
        assert len(found) == 1, json.dumps(found)[:2000]
        assert self.upstream.accepted == self.accepted
        assert not reasons or found[0]["reason"] in reasons, found[0]["reason"]
        return found[0]
