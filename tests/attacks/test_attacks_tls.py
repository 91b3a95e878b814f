"""Group B: TLS as nobody sensible speaks it, and other protocols at the proxy port and in tunnels."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from OpenSSL import SSL

from support.gateway import Gateway, make_home, running
from support.upstream import Recorder, http_answer, recorder
from support.wire import HOST, Eyes, Wire, request

NETWORK = Path(__file__).parent / "network_gateway.py"
RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*", "tunnel:Connect"]
"""
SITE = "site.example.com"
ECH = b"\xfe\x0d" + struct.pack("!H", 4) + b"\x00\x00\x00\x00"


def named(host: str) -> bytes:
    """A server_name extension."""
    name = b"\x00" + struct.pack("!H", len(host)) + host.encode()
    body = struct.pack("!H", len(name)) + name
    return b"\x00\x00" + struct.pack("!H", len(body)) + body


@pytest.fixture(scope="module")
def far() -> Iterator[Recorder]:
    with recorder(http_answer(body=b'{"TableNames": []}')) as state:
        yield state


@pytest.fixture(scope="module")
def gate(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    more = '[limits]\nhandshake = "2s"\nhead_time = "1s"\n'
    home = make_home(tmp_path_factory.mktemp("tls") / "gate", endpoint=far.url, rules=RULES, more=more)
    environ = {"CALLGATE_TEST_NAMES": json.dumps({SITE: [["52.94.0.1"]]})}
    with running(home, form="mitmdump", script=NETWORK, environ=environ) as started:
        yield started


class Tls:
    """A client's side of TLS, whose records are passed on by hand."""

    def __init__(self, wire: Wire, sni: str = HOST) -> None:
        context = ssl.create_default_context(cafile=str(wire.gateway.home.ca))
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.inner = context.wrap_bio(self.incoming, self.outgoing, server_hostname=sni)
        self.wire = wire

    def hello(self, *extensions: bytes) -> bytes:
        """The ClientHello without its record, with `extensions` added at the front (RFC 8446, 4.1.2)."""
        with pytest.raises(ssl.SSLWantReadError):
            self.inner.do_handshake()
        body = self.outgoing.read()[9:]
        at = 34 + 1 + body[34]
        at += 2 + int.from_bytes(body[at : at + 2])
        at += 1 + body[at]
        kept = b"".join(extensions) + body[at + 2 :]
        body = body[:at] + struct.pack("!H", len(kept)) + kept
        return b"\x01" + len(body).to_bytes(3) + body

    def finish(self) -> None:
        """The rest of the handshake."""
        while True:
            self.incoming.write(self.wire.socket.recv(65536))
            try:
                self.inner.do_handshake()
            except ssl.SSLWantReadError:
                continue
            self.wire.send(self.outgoing.read())
            return

    def ask(self, raw: bytes) -> bytes:
        """Send each byte in a record of its own; the beginning of the answer."""
        for byte in raw:
            self.inner.write(bytes([byte]))
        self.wire.send(self.outgoing.read())
        while True:
            try:
                return self.inner.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(self.wire.socket.recv(65536))


def records(data: bytes, size: int = 16_000) -> bytes:
    """Handshake data in records of `size` bytes."""
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(piece)) + piece for piece in pieces)


@pytest.mark.case("B09")
def test_very_many_small_records_are_read_as_few_large_ones(wire: Wire, far: Recorder) -> None:
    before = len(far.requests)
    assert wire.connect().status == 200
    tls = Tls(wire)
    wire.send(records(tls.hello(), 1))
    tls.finish()
    assert tls.ask(request()).startswith(b"HTTP/1.1 200")
    assert len(far.requests) == before + 1


@pytest.mark.case("B09")
@pytest.mark.parametrize("size", [16_000, 1], ids=["large", "small"])
@pytest.mark.parametrize("where", ["proxy port", HOST, SITE])
def test_a_hello_without_end_is_cut_short(wire: Wire, eyes: Eyes, where: str, size: int) -> None:
    if where != "proxy port":
        assert wire.connect(f"{where}:443").status == 200
    wire.send(records(b"\x01\xff\xff\xff" + bytes(32_000), size))
    wire.ended()
    eyes.denied(wire, "tls-failed", "not-tls")


@pytest.mark.case("B01", "B09")
@pytest.mark.parametrize("extension", [ECH, named("other.example.com")], ids=["hidden", "doubled"])
def test_a_tunnel_whose_server_name_is_hidden_or_doubled_is_refused(
    wire: Wire, eyes: Eyes, extension: bytes
) -> None:
    assert wire.connect(f"{SITE}:443").status == 200
    wire.send(records(Tls(wire, SITE).hello(extension)))
    assert wire.ended()
    eyes.denied(wire, "destination-mismatch")


@pytest.mark.case("B01", "B09")
def test_a_hidden_name_is_not_looked_for_where_the_gateway_ends_tls(wire: Wire, eyes: Eyes) -> None:
    assert wire.connect().status == 200
    wire.send(records(Tls(wire).hello(ECH)))
    assert wire.socket.recv(1) == b"\x16"  # a ServerHello for the name that can be seen
    wire.socket.close()
    eyes.denied(wire, "tls-failed")


@pytest.mark.case("B01", "B09")
def test_a_doubled_server_name_ends_the_handshake(wire: Wire, eyes: Eyes) -> None:
    assert wire.connect().status == 200
    wire.send(records(Tls(wire).hello(named("other.example.com"))))
    wire.ended()
    eyes.denied(wire, "tls-failed")


@pytest.mark.case("B09")
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
def test_old_tls_is_refused(wire: Wire, eyes: Eyes, newest: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(wire.gateway.home.ca))
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = newest
    assert wire.connect().status == 200
    with pytest.raises(OSError):  # noqa: PT011 - an alert or the end, as it comes
        context.wrap_socket(wire.socket, server_hostname=HOST)
    eyes.denied(wire, "tls-failed")


@pytest.mark.case("B03")
@pytest.mark.parametrize("offered", [["h2"], ["h3"], ["h2", "http/1.1"]])
def test_http_1_is_spoken_whatever_is_offered(wire: Wire, gate: Gateway, offered: list[str]) -> None:
    context = ssl.create_default_context(cafile=str(gate.home.ca))
    context.set_alpn_protocols(offered)
    assert wire.connect().status == 200
    wire.socket = context.wrap_socket(wire.socket, server_hostname=HOST)
    assert wire.socket.selected_alpn_protocol() in (None, "http/1.1")


@pytest.mark.case("B09")
def test_a_renegotiation_is_not_taken_part_in(wire: Wire, far: Recorder, gate: Gateway) -> None:
    before = far.accepted
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    assert wire.connect().status == 200
    wire.socket.settimeout(None)
    tls = SSL.Connection(context, wire.socket)
    tls.set_tlsext_host_name(HOST.encode())
    tls.set_connect_state()
    tls.do_handshake()
    assert tls.renegotiate()
    with pytest.raises(SSL.Error):
        tls.do_handshake()
    assert far.accepted == before
    with Wire(gate) as after:
        assert after.connect().status == 200
        after.tls()
        after.send(request())
        assert after.read().status == 200


@pytest.mark.case("B09", "E01")
def test_a_record_that_does_not_decrypt_is_the_end_of_its_call(wire: Wire, gate: Gateway, eyes: Eyes) -> None:
    assert wire.connect().status == 200
    tls = Tls(wire)
    wire.send(records(tls.hello()))
    tls.finish()
    tls.inner.write(request()[:-1])
    wire.send(tls.outgoing.read() + b"\x17\x03\x03\0\x20" + bytes(32))
    wire.socket.shutdown(socket.SHUT_WR)
    while wire.socket.recv(65536):
        continue
    eyes.denied(wire, "client-gone")


@pytest.mark.case("B09")
def test_no_session_permits_early_data(gate: Gateway) -> None:
    command = ["openssl", "s_client", "-proxy", gate.proxy, "-proxy_user", "job", "-proxy_pass", "env:TOKEN"]
    command += ["-connect", f"{HOST}:443", "-servername", HOST, "-CAfile", str(gate.home.ca)]
    raw = request(more="Connection: close\r\n").decode()
    done = subprocess.run(
        [*command, "-ign_eof"],
        input=raw,
        env={"TOKEN": gate.home.token(), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "HTTP/1.1 200" in done.stdout, done.stderr
    assert set(re.findall(r"Max Early Data: (\d+)", done.stdout)) == {"0"}


@pytest.mark.case("B06", "B11")
@pytest.mark.parametrize(
    "said",
    [
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x01\x0a\0\0\x02\0\x01\0\x02",
        b"\x04\x01\x01\xbb\0\0\0\x01job\0example.com\0",
        b"\x05\x02\x00\x02",
        b"\x15\x03\x03\0\x02\x02\x28",
        b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + bytes(37),
        b"* OK IMAP4rev1\r\n",
    ],
    ids=["proxy-1", "proxy-2", "socks-4", "socks-5", "tls-alert", "ssl-2", "imap"],
)
def test_other_protocols_at_the_proxy_port_make_no_tunnel(wire: Wire, eyes: Eyes, said: bytes) -> None:
    wire.send(said)
    wire.connect()
    wire.ended()
    eyes.denied(wire)
