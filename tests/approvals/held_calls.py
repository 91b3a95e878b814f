"""Held calls in a real gateway: a raw client that waits, and people who answer over the admin socket."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from callgate.cli.common import admin_answer
from callgate.serve.config import load_settings
from support.gateway import ACCESS_KEY, Gateway, Home, wait_for

DONE = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nx-amz-request-id: R1\r\n\r\n"


class People:
    """Who answers over the admin socket of a gateway."""

    def __init__(self, home: Home) -> None:
        self.settings = load_settings(home.config)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        return admin_answer(self.settings, method, path, body)

    def list(self, state: str) -> Any:
        return self.ask("GET", f"/v1/approvals?state={state}")[1]["approvals"]

    def count(self, state: str) -> int:
        return len(self.list(state))

    def pending(self, resource: str, state: str = "pending") -> dict[str, Any]:
        """The hold in `state` on `resource`, once there is one."""

        def found() -> Any:
            return next(
                (each for each in self.list(state) if resource in json.dumps(each["resources"])), None
            )

        hold: dict[str, Any] = wait_for(found, 20, f"a {state} hold on {resource}")
        return hold

    def answer(self, hold: dict[str, Any], verdict: str = "approve", reason: str = "") -> int:
        return self.ask("POST", f"/v1/approvals/{hold['id']}/{verdict}", {"reason": reason})[0]


def raw_delete(gateway: Gateway, key: str) -> ssl.SSLSocket:
    """A signed DELETE on a connection of our own, sent but not answered."""
    host = "bucket.s3.us-east-1.amazonaws.com"
    request = AWSRequest("DELETE", f"https://{host}/{key}")
    S3SigV4Auth(Credentials(ACCESS_KEY, "secret"), "s3", "us-east-1").add_auth(request)
    basic = base64.b64encode(f"job:{gateway.home.token()}".encode()).decode()
    stream = socket.create_connection(gateway.address)
    connect = [f"CONNECT {host}:443 HTTP/1.1", f"Host: {host}:443", f"Proxy-Authorization: Basic {basic}"]
    stream.sendall("\r\n".join([*connect, "", ""]).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += stream.recv(4096)
    assert answer.startswith(b"HTTP/1.1 200 ")
    context = ssl.create_default_context(cafile=str(gateway.home.ca))
    inner = context.wrap_socket(stream, server_hostname=host)
    head = [f"DELETE /{key} HTTP/1.1", f"Host: {host}", "Content-Length: 0"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    inner.sendall("\r\n".join([*head, "", ""]).encode())
    return inner
