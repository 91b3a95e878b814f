"""Upstreams that stand in for AWS: moto's server, and a raw recorder that keeps every byte."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from support.canary import CANARY


@dataclass
class Recorder:
    """Listens, keeps what comes, and answers each request with `answer` (bytes, or a function of the raw
    request).
    """

    port: int
    answer: bytes | Callable[[bytes], bytes]
    accepted: int = 0
    requests: list[bytes] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)
    arrived: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def http_answer(status: int = 200, body: bytes = b"{}", **headers: str) -> bytes:
    """A raw HTTP/1.1 response; underscores in header names become dashes."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sized_item(raw: bytes) -> bytes:
    """To DynamoDB's GetItem an item as long as its table's name says (`size-100`), else an empty list."""
    if b"GetItem" not in raw:
        return http_answer(body=b'{"TableNames": []}')
    size = int(json.loads(raw.partition(b"\r\n\r\n")[2])["TableName"].removeprefix("size-"))
    body = b'{"Item":{"a":{"S":"%s"}}}' % CANARY.encode()
    return http_answer(body=body.ljust(size), Content_Type="application/x-amz-json-1.0")


EMPTY = http_answer()


def read_request(stream: socket.socket, buffer: bytearray, raw: bytearray) -> bytes | None:
    """The next request, whole, of which `buffer` holds the beginning; None if it does not come. All that
    comes is added to `raw`.
    """

    def more() -> bool:
        try:
            data = stream.recv(65536)
        except OSError:
            return False
        raw.extend(data)
        buffer.extend(data)
        return bool(data)

    while b"\r\n\r\n" not in buffer:
        if not more():
            return None
    head, _, _ = bytes(buffer).partition(b"\r\n\r\n")
    fields = {
        line.partition(b":")[0].strip().lower(): line.partition(b":")[2].strip()
        for line in head.split(b"\r\n")[1:]
    }
    start = len(head) + 4
    if fields.get(b"transfer-encoding") == b"chunked":
        while b"0\r\n\r\n" not in buffer[start:]:
            if not more():
                return None
        end = buffer.index(b"0\r\n\r\n", start) + 5
    else:
        end = start + int(fields.get(b"content-length", b"0"))
        while len(buffer) < end:
            if not more():
                return None
    request = bytes(buffer[:end])
    del buffer[:end]
    return request


@contextmanager
def serving(serve: Callable[[socket.socket], None], port: int = 0) -> Iterator[int]:
    """A server on the loopback, at `port` if that is not 0; gives its port.

    `serve` has each connection in a thread of its own, until it returns or the connection breaks.
    """
    listener = socket.create_server(("127.0.0.1", port))
    streams: list[socket.socket] = []

    def alone(stream: socket.socket) -> None:
        with stream:
            try:
                serve(stream)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            streams.append(stream)
            threading.Thread(target=alone, args=(stream,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for stream in streams:
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        thread.join(5)


def reset(stream: socket.socket) -> None:
    """Have the closing of `stream` reset the connection."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def recorder(answer: bytes | Callable[[bytes], bytes] = EMPTY, port: int = 0) -> Iterator[Recorder]:
    """A running recorder on the loopback, at `port` if that is not 0."""
    state = Recorder(port, answer)

    def serve(stream: socket.socket) -> None:
        state.accepted += 1
        buffer = bytearray()
        while (request := read_request(stream, buffer, state.raw)) is not None:
            state.requests.append(request)
            state.arrived.set()
            reply = state.answer(request) if callable(state.answer) else state.answer
            stream.sendall(reply)

    with serving(serve, port) as state.port:
        yield state
