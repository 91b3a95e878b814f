"""One large body through a proxy: `load_bulk.py JSON` sends or fetches it and prints the seconds it took.

The argument: {"proxy": [host, port], "authorization": "Basic …" or null, "host", "port", "head" (base64: a
request's head), "up": bytes to send after it, "down": bytes that come back}.
"""

from __future__ import annotations

import base64
import json
import socket
import ssl
import sys
import time
from typing import Any

_BLOCK = bytes(256 * 1024)


def read_head(stream: socket.socket) -> tuple[bytes, int]:
    """A response's head, and how much of its body came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        got = stream.recv(65536)
        if not got:
            raise ConnectionError(f"closed after {data!r}")
        data += got
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, len(rest)


def run(plan: dict[str, Any]) -> float:
    raw = socket.create_connection(tuple(plan["proxy"]))
    target = f"{plan['host']}:{plan['port']}"
    credential = f"Proxy-Authorization: {plan['authorization']}\r\n" if plan["authorization"] else ""
    raw.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{credential}\r\n".encode())
    head, _ = read_head(raw)
    if b" 200 " not in head:
        raise ConnectionError(head.decode())
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(raw, server_hostname=plan["host"]) as stream:
        began = time.perf_counter()
        stream.sendall(base64.b64decode(plan["head"]))
        left = plan["up"]
        while left > 0:
            stream.sendall(_BLOCK[: min(left, len(_BLOCK))])
            left -= len(_BLOCK)
        head, got = read_head(stream)
        if b" 200 " not in head:
            raise ConnectionError(head.decode())
        while got < plan["down"]:
            count = len(stream.recv(256 * 1024))
            if not count:
                raise ConnectionError(f"closed after {got} bytes")
            got += count
        return time.perf_counter() - began


if __name__ == "__main__":
    print(run(json.loads(sys.argv[1])))
