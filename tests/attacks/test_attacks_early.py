"""AWS answers an upload before it has ended, and hangs up in one way or another: the answer arrives, once."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.gateway import Gateway, make_home, running, wait_for
from support.upstream import http_answer, reset, serving
from support.wire import Wire, request

MB = 1024 * 1024
BUCKET = "bucket.s3.amazonaws.com"
ERROR = b"<Error><Code>EntityTooLarge</Code><Message>too large</Message></Error>"
PLAIN = http_answer(400, ERROR, Content_Type="application/xml")
CHUNKED = (
    b"HTTP/1.1 400 X\r\nContent-Type: application/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%s\r\n0\r\n\r\n" % (len(ERROR), ERROR)
)
ANSWERS = {
    "plain": PLAIN,
    "chunked": CHUNKED,
    "interim": b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + PLAIN,
    "close": PLAIN.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
}


def hang_up(stream: socket.socket) -> None:
    """What has not been read makes a reset of this."""
    stream.close()


def read_on(stream: socket.socket) -> None:
    """Say goodbye, and go on reading."""
    stream.shutdown(socket.SHUT_WR)
    while stream.recv(MB):
        continue


def read_and_hang_up(stream: socket.socket) -> None:
    stream.recv(4 * MB)
    reset(stream)


ENDS = {"hang-up": hang_up, "reset": reset, "goodbye": read_on, "later": read_and_hang_up}


def answer(stream: socket.socket) -> None:
    """Answer as the path says, as soon as a head is there."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += stream.recv(65536)
    kind, _, end = raw.split(b" ", 2)[1].decode().rpartition("/")[2].partition("-and-")
    stream.sendall(ANSWERS[kind])
    ENDS[end](stream)


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serving(answer) as port:
        home = make_home(tmp_path_factory.mktemp("early") / "gate", endpoint=f"http://127.0.0.1:{port}")
        with running(home) as started:
            yield started


def put(key: str, length: str) -> bytes:
    head = request(b"", method="PUT", target=f"/{key}", host=BUCKET, service="s3", length=length)
    return head.replace(
        b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
    )


@pytest.mark.case("C01")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", ANSWERS)
def test_who_sends_everything_before_reading_reads_the_answer(gate: Gateway, kind: str, end: str) -> None:
    before = len(gate.entries("call.outcome"))
    size = 24 * MB
    with Wire(gate, seconds=60) as wire:
        assert wire.connect(f"{BUCKET}:443").status == 200
        wire.tls(BUCKET)
        wire.send(put(f"{kind}-and-{end}", f"Content-Length: {size}"))
        for _ in range(size // MB):
            wire.socket.sendall(bytes(MB))
        got = b""
        while ERROR not in got:
            got += wire.socket.recv(65536)
    assert got.startswith(b"HTTP/1.1 400")
    assert got.count(b"HTTP/1.1") == 1
    ends = gate.ended(before + 1)[before:]
    assert [(each["result"], each["statusCode"]) for each in ends] == [("completed", 400)]


@pytest.mark.case("C01")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("kind", ANSWERS)
def test_who_waits_reads_the_answer_to_its_end(gate: Gateway, kind: str, end: str) -> None:
    with Wire(gate) as wire:
        assert wire.connect(f"{BUCKET}:443").status == 200
        wire.tls(BUCKET)
        wire.send(put(f"{kind}-and-{end}", "Transfer-Encoding: chunked") + b"1\r\na\r\n")
        got = b""
        while ERROR not in got or (kind == "chunked" and not got.endswith(b"\r\n0\r\n\r\n")):
            data = wire.socket.recv(65536)
            assert data
            got += data
    assert got.startswith(b"HTTP/1.1 400")


@pytest.mark.case("C01")
def test_boto3_raises_what_s3_said(gate: Gateway, tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as out:
        out.truncate(24 * MB)
    with file.open("rb") as body, pytest.raises(ClientError, match="EntityTooLarge"):
        gate.client("s3").put_object(Bucket="bucket", Key="plain-and-hang-up", Body=body)


def test_a_connection_goes_on_after_an_interim_answer(tmp_path: Path) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"

    def serve(stream: socket.socket) -> None:
        while (raw := stream.recv(65536)) and b"{}" in raw:
            for piece in (hints[:20], hints[20:] + hints, http_answer()):
                stream.sendall(piece)

    with serving(serve) as port:
        home = make_home(tmp_path / "gate", endpoint=f"http://127.0.0.1:{port}")
        with running(home) as gateway, Wire(gateway) as wire:
            assert wire.connect().status == 200
            wire.tls()
            for _ in range(20):
                wire.send(request())
                assert wire.read().status == 200
            wait_for(lambda: len(gateway.entries("call.outcome")) == 20)


@pytest.mark.case("C01")
def test_an_upstream_that_hangs_up_before_it_is_asked_has_failed(tmp_path: Path) -> None:
    greetings = [b"", b"220 first\r\n"] * 3

    def serve(stream: socket.socket) -> None:
        stream.sendall(greetings.pop())

    with serving(serve) as port:
        home = make_home(tmp_path / "gate", endpoint=f"http://127.0.0.1:{port}")
        with running(home) as gateway:
            for number in range(len(greetings)):
                with Wire(gateway) as wire:
                    assert wire.connect().status == 200
                    wire.tls()
                    wire.send(request())
                    assert wire.read().reason in ("upstream-failed", "upstream-unreachable")
                assert len(gateway.ended(number + 1)) == number + 1
