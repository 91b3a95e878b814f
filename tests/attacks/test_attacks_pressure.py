"""Uploads and downloads of any size leave memory flat, whoever is slow; a refusal is read by whoever asks."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3
from botocore.exceptions import ClientError

from support.gateway import ALLOW_ALL, Gateway, make_home, running, wait_for
from support.upstream import EMPTY, Recorder, recorder
from support.wire import CREDENTIAL, Wire, request

BUCKET = "bucket.s3.amazonaws.com"
MB = 1024 * 1024
# What kernel buffers on both sides of the gateway, and the gateway, may hold of a body that nobody reads.
HELD = 40 * MB
RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "no-upload"
effect = "deny"
action = ["s3:PutObject"]
resource = ["arn:aws:s3:::bucket/denied*"]
"""
)


def resident(gateway: Gateway) -> int:
    """Bytes of memory that the gateway has."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def put(size: int, key: str = "key") -> bytes:
    """The head of an upload whose body streams."""
    head = request(
        b"", method="PUT", target=f"/{key}", host=BUCKET, service="s3", length=f"Content-Length: {size}"
    )
    return head.replace(
        b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
    )


def send_until_stuck(wire: Wire, size: int) -> int:
    """Send up to `size` bytes; how many went before a second passed without room for another."""
    wire.socket.settimeout(1)
    sent = 0
    while sent < size:
        try:
            sent += wire.socket.send(bytes(min(MB, size - sent)))
        except TimeoutError:
            break
    wire.socket.settimeout(60)
    return sent


class Slow:
    """An upstream that reads nothing, or accepts nobody, until it may `go`; then uploads of `size`."""

    def __init__(self, size: int, *, accepts: bool) -> None:
        self.wanted = size
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.read = 0
        self.go = threading.Event()
        # With its backlog full, the system lets nobody in.
        self.fillers = [] if accepts else [self._fill() for _ in range(2)]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _fill(self) -> socket.socket:
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", self.port))
        return filler

    def _serve(self) -> None:
        self.go.wait(60)
        for filler in self.fillers:
            filler.close()
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            answered = False
            with stream:
                while data := stream.recv(MB):
                    self.read += len(data)
                    if not answered and self.read > self.wanted:
                        answered = True
                        stream.sendall(EMPTY)


@contextmanager
def slow(size: int, *, accepts: bool) -> Iterator[Slow]:
    upstream = Slow(size, accepts=accepts)
    try:
        yield upstream
    finally:
        upstream.go.set()
        upstream.listener.shutdown(socket.SHUT_RDWR)
        upstream.listener.close()


def upload_slowly(folder: Path, size: int, *, accepts: bool) -> None:
    with (
        slow(size, accepts=accepts) as far,
        running(make_home(folder, endpoint=f"http://127.0.0.1:{far.port}", rules=RULES)) as gateway,
        Wire(gateway, seconds=60) as wire,
    ):
        assert wire.connect(f"{BUCKET}:443").status == 200
        wire.tls(BUCKET)
        before = resident(gateway)
        wire.send(put(size))
        sent = send_until_stuck(wire, size)
        assert sent < HELD
        assert resident(gateway) - before < HELD
        far.go.set()
        wire.socket.sendall(bytes(size - sent))
        assert wire.read().status == 200
        assert far.read > size
        assert resident(gateway) - before < HELD


@pytest.mark.parametrize("accepts", [True, False], ids=["slow-to-read", "slow-to-connect"])
def test_an_upload_waits_on_its_own_side_for_a_slow_upstream(folder: Path, accepts: bool) -> None:
    upload_slowly(folder, 96 * MB, accepts=accepts)


@pytest.mark.full
@pytest.mark.parametrize("accepts", [True, False], ids=["slow-to-read", "slow-to-connect"])
def test_a_gigabyte_waits_on_its_own_side_for_a_slow_upstream(folder: Path, accepts: bool) -> None:
    upload_slowly(folder, 1024 * MB, accepts=accepts)


def download_slowly(folder: Path, size: int) -> None:
    def answer(_: bytes) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)

    with (
        recorder(answer) as far,
        running(make_home(folder, endpoint=far.url, rules=RULES)) as gateway,
        Wire(gateway, seconds=60) as wire,
    ):
        assert wire.connect(f"{BUCKET}:443").status == 200
        wire.tls(BUCKET)
        before = resident(gateway)
        head = put(0).replace(b"PUT ", b"GET ").replace(b"Content-Length: 0\r\n", b"")
        wire.send(head)
        first = wire.socket.recv(65536)
        wanted = size + first.index(b"\r\n\r\n") + 4
        passed = len(first)
        grown = [0] * 10
        for number in range(10):  # a client that reads a little, with pauses
            passed += len(wire.socket.recv(65536))
            threading.Event().wait(0.1)
            grown[number] = resident(gateway) - before
        assert max(grown) < HELD
        while passed < wanted:
            passed += len(wire.socket.recv(MB))
        assert passed == wanted
        assert resident(gateway) - before < HELD


def test_a_download_waits_on_its_own_side_for_a_slow_client(folder: Path) -> None:
    download_slowly(folder, 96 * MB)


@pytest.mark.full
def test_a_gigabyte_waits_on_its_own_side_for_a_slow_client(folder: Path) -> None:
    download_slowly(folder, 1024 * MB)


def test_an_answer_that_comes_before_the_upload_has_ended_is_passed_back_and_recorded_once(
    folder: Path,
) -> None:
    size = 8 * MB
    with (
        slow(0, accepts=True) as far,  # answers as soon as a head is there, and reads on
        running(make_home(folder, endpoint=f"http://127.0.0.1:{far.port}", rules=RULES)) as gateway,
        Wire(gateway) as wire,
    ):
        far.go.set()
        assert wire.connect(f"{BUCKET}:443").status == 200
        wire.tls(BUCKET)
        wire.send(put(size))
        assert wire.read().status == 200
        wire.send(bytes(size))
        wait_for(lambda: far.read > size)
        ends = gateway.ended()
    assert [(each["result"], each["statusCode"]) for each in ends] == [("completed", 200)]
    assert len(gateway.ended()) == 1


@pytest.fixture(scope="module")
def far() -> Iterator[Recorder]:
    with recorder() as state:
        yield state


@pytest.fixture(scope="module")
def gate(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("pressure") / "gate", endpoint=far.url, rules=RULES)
    with running(home) as started:
        yield started


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("large") / "large.bin"
    with file.open("wb") as out:
        out.truncate(64 * MB)
    return file


@pytest.mark.case("B18", "C06")
def test_who_sends_everything_before_reading_reads_the_refusal(gate: Gateway, far: Recorder) -> None:
    with Wire(gate, seconds=60) as wire:
        assert wire.connect(f"{BUCKET}:443").status == 200
        wire.tls(BUCKET)
        before = resident(gate)
        wire.socket.sendall(put(200 * MB, "denied"))
        for _ in range(200):
            wire.socket.sendall(bytes(MB))
        answer = wire.read()
        assert (answer.status, answer.reason) == (403, "rule-deny")
        assert resident(gate) - before < HELD
    assert far.accepted == 0


@pytest.mark.case("B18", "C06")
def test_boto3_reads_the_refusal_of_a_large_upload(gate: Gateway, far: Recorder, large: Path) -> None:
    with large.open("rb") as body, pytest.raises(ClientError, match=r"AccessDenied.*no-upload"):
        gate.client("s3").put_object(Bucket="bucket", Key="denied", Body=body)
    assert far.accepted == 0


@pytest.mark.case("B18", "C06")
def test_the_aws_cli_reads_the_refusal_of_a_large_upload(gate: Gateway, far: Recorder, large: Path) -> None:
    done = gate.aws(
        "s3api", "put-object", "--bucket", "bucket", "--key", "denied", "--body", str(large), check=False
    )
    assert done.returncode
    assert "AccessDenied" in done.stderr
    assert far.accepted == 0


@pytest.mark.case("B18", "C06")
def test_a_client_without_expect_reads_the_refusal_of_a_large_upload(
    gate: Gateway, far: Recorder, large: Path
) -> None:
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={CREDENTIAL.format(region='us-east-1', service='s3')},"
        f" SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        "X-Amz-Date": "20260101T000000Z",
        "X-Amz-Content-Sha256": "UNSIGNED-PAYLOAD",
    }
    token = urllib3.make_headers(proxy_basic_auth=f"job:{gate.home.token()}")
    proxied = urllib3.ProxyManager(
        f"http://{gate.proxy}", proxy_headers=token, ca_certs=str(gate.home.ca), retries=False
    )
    with large.open("rb") as body:
        answer = proxied.request("PUT", f"https://{BUCKET}/denied", body=body, headers=headers)
    assert answer.status == 403
    assert answer.headers["x-callgate-reason"] == "rule-deny"
    proxied.clear()
    assert far.accepted == 0


@pytest.mark.case("B18", "C06")
@pytest.mark.parametrize("expect", [[], ["-H", "Expect:"]], ids=["expect", "blind"])
def test_curl_reads_the_refusal_of_a_large_upload(
    gate: Gateway, far: Recorder, large: Path, expect: list[str]
) -> None:
    command = ["curl", "-sS", "-x", gate.proxy_url(), "--cacert", str(gate.home.ca), "-T", str(large)]
    signed = ["--user", "AKIAIOSFODNN7EXAMPLE:secret", "--aws-sigv4", "aws:amz:us-east-1:s3"]
    hashed = ["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
    done = subprocess.run(
        [*command, *signed, *hashed, *expect, f"https://{BUCKET}/denied"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "rule-deny" in done.stdout, done.stderr
    assert far.accepted == 0
