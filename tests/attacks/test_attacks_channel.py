"""Group B: who is being talked to, and what can be said on the way there."""

from __future__ import annotations

import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.gateway import ALLOW_ALL, Gateway, make_home, running, wait_for
from support.upstream import Recorder, http_answer, recorder
from support.wire import HOST, Eyes, Wire, request

LIMITS = """
[limits]
head_size = 8192
head_fields = 40
head_time = "1s"
handshake = "2s"
request_body = 65536
session_connections = 20
"""
RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "no-delete"
effect = "deny"
action = ["dynamodb:DeleteTable", "s3:PutObject"]
"""
)
OTHER = "sqs.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def far() -> Iterator[Recorder]:
    with recorder(http_answer(body=b'{"TableNames": []}')) as state:
        yield state


@pytest.fixture(scope="module")
def gate(far: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("channel") / "gate", endpoint=far.url, rules=RULES, more=LIMITS)
    with running(home) as started:
        yield started


def inside(wire: Wire, raw: bytes, target: str = HOST, sni: str | None = HOST) -> int:
    """What a request inside a tunnel gets."""
    assert wire.connect(f"{target}:443").status == 200
    wire.tls(sni)
    wire.send(raw)
    return wire.read().status


def test_the_harness_reaches_the_upstream_with_an_honest_request(wire: Wire, far: Recorder) -> None:
    before = len(far.requests)
    assert inside(wire, request()) == 200
    assert len(far.requests) == before + 1


@pytest.mark.case("B01", "B05")
@pytest.mark.parametrize(
    ("target", "sni", "host"),
    [
        (HOST, HOST, OTHER),
        (HOST, OTHER, HOST),
        (OTHER, HOST, HOST),
        (HOST, OTHER, OTHER),
        (OTHER, OTHER, HOST),
        (HOST, None, HOST),
        (HOST, HOST, f"{HOST}:8443"),
        (HOST, HOST, "127.0.0.1"),
        (HOST, HOST, f"{HOST},{OTHER}"),
        (HOST, HOST, f"{HOST}@{OTHER}"),
        (HOST, HOST, f"{HOST}.."),
        (HOST, HOST, f"x.{HOST}"),
    ],
)
def test_names_that_differ_are_refused(
    wire: Wire, eyes: Eyes, target: str, sni: str | None, host: str
) -> None:
    assert 400 <= inside(wire, request(host=host), target, sni) < 500
    eyes.denied(wire, "destination-mismatch", "malformed-host", "address-literal", "malformed-head")


@pytest.mark.case("B05")
@pytest.mark.parametrize("host", [HOST.upper(), f"{HOST}.", f"{HOST}:443"])
def test_spellings_of_one_name_are_one_name(wire: Wire, gate: Gateway, host: str) -> None:
    assert inside(wire, request(host=host)) == 200
    assert (
        wait_for(lambda: [e for e in gate.entries("call.intent") if e["sourceIPAddress"] == wire.source])[0][
            "host"
        ]
        == HOST
    )


@pytest.mark.case("B02")
@pytest.mark.parametrize(
    "target", [f"https://{OTHER}/", f"http://{OTHER}/", f"https://x@{OTHER}/", f"https://{HOST}:444/"]
)
def test_an_absolute_form_for_another_is_refused(wire: Wire, eyes: Eyes, target: str) -> None:
    assert 400 <= inside(wire, request(target=target)) < 500
    eyes.denied(wire)


@pytest.mark.case("B03")
def test_http2_inside_a_tunnel_is_refused(wire: Wire, eyes: Eyes) -> None:
    assert inside(wire, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") == 400
    eyes.denied(wire, "malformed-head")


@pytest.mark.case("B06", "B08")
@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x00\x01\x02\x03" * 8, request(), b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_is_not_tls_ends_the_connection(wire: Wire, eyes: Eyes, data: bytes) -> None:
    assert wire.connect().status == 200
    wire.send(data)
    assert wire.ended()
    eyes.denied(wire, "not-tls")


@pytest.mark.case("B06")
@pytest.mark.parametrize("port", ["22", "80", "8443", "53", "0", "65536", "0443", "+443", ""])
def test_other_ports_are_refused(wire: Wire, eyes: Eyes, port: str) -> None:
    assert 400 <= wire.connect(f"{HOST}:{port}").status < 500
    eyes.denied(wire)


UNFINISHED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    b"\x16\x03",
    b"",
]


@pytest.mark.case("B09")
def test_a_handshake_that_never_ends_is_ended(gate: Gateway, eyes: Eyes) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(gate)) for _ in UNFINISHED]
        silent = stack.enter_context(Wire(gate))
        began = time.monotonic()
        for wire, hello in zip(wires, UNFINISHED, strict=True):
            assert wire.connect().status == 200
            wire.send(hello)
        for wire in wires:
            wire.ended()
            eyes.denied(wire, "handshake-timeout", "tls-failed", "not-tls")
        # Who says nothing at all is closed as well.
        assert silent.ended()
        eyes.denied(silent, "handshake-timeout")
        assert time.monotonic() - began < 10


@pytest.mark.case("B11", "A01")
@pytest.mark.parametrize("target", [HOST, "localhost", "example.com", "internal.corp.example"])
def test_without_a_credential_nothing_is_said_of_a_destination(wire: Wire, eyes: Eyes, target: str) -> None:
    wire.send(f"CONNECT {target}:443 HTTP/1.1\r\nHost: {target}:443\r\n\r\n".encode())
    answer = wire.read()
    assert answer.status == 407
    assert target.encode() not in answer.body
    eyes.denied(wire)


@pytest.mark.case("B12", "B13")
@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "0xa9fea9fe",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "[::ffff:127.0.0.1]",
        "[fd00:ec2::254]",
        "[::1]",
        "127.0.0.1",
        "localhost",
        "mitm.it",
        "169.254.169.254.",
        "0x7f.1",
        "1.1.1.1",
        "127.0.0.1%00.amazonaws.com",
    ],
)
def test_addresses_and_the_gateway_itself_are_no_destinations(wire: Wire, eyes: Eyes, host: str) -> None:
    assert 400 <= wire.connect(f"{host}:443").status < 500
    eyes.denied(wire)


@pytest.mark.case("B13")
def test_the_proxy_port_is_no_destination(wire: Wire, eyes: Eyes, gate: Gateway) -> None:
    assert 400 <= wire.connect(f"gateway.example.com:{gate.address[1]}").status < 500
    eyes.denied(wire, "port-refused")


@pytest.mark.case("B14")
def test_plain_http_to_aws_is_refused(wire: Wire, eyes: Eyes) -> None:
    wire.send(request(target=f"http://{HOST}/", more="Proxy-Authorization: Basic am9iOngK\r\n"))
    assert wire.read().status == 403
    eyes.denied(wire, "plaintext-refused")
    assert b"roxy" not in eyes.upstream.raw


BAD_HEADS = {
    "cl-and-te": request(more="Transfer-Encoding: chunked\r\n"),
    "two-cl": request(more="Content-Length: 2\r\n"),
    "two-cl-differ": request(more="Content-Length: 3\r\n"),
    "cl-plus": request(length="Content-Length: +2"),
    "cl-hex": request(length="Content-Length: 0x2"),
    "cl-list": request(length="Content-Length: 2, 2"),
    "cl-negative": request(length="Content-Length: -1"),
    "te-xchunked": request(length="Transfer-Encoding: xchunked"),
    "te-identity": request(length="Transfer-Encoding: identity"),
    "te-list": request(length="Transfer-Encoding: chunked, identity"),
    "te-gzip": request(length="Transfer-Encoding: gzip, chunked"),
    "te-twice": request(length="Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
    "te-tab": request(length="Transfer-Encoding:\x0bchunked"),
    "obs-fold": request(more="X-A: b\r\n c\r\n"),
    "fold-host": request(host=f"{HOST}\r\n x"),
    "bare-cr": request(more="X-A: b\rX-B: c\r\n"),
    "bare-lf": request(more="X-A: b\nX-B: c\r\n"),
    "nul": request(more="X-A: b\x00c\r\n"),
    "space-colon": request(more="X-A : b\r\n"),
    "no-name": request(more=": b\r\n"),
    "no-colon": request(more="X-A\r\n"),
    "two-hosts": request(more=f"Host: {HOST}\r\n"),
    "no-host": request().replace(f"Host: {HOST}\r\n".encode(), b""),
    "http10": request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "http09": b"GET /\r\n\r\n",
    "fragment": request(target="/#x"),
    "space-in-target": request(target="/a b"),
    "asterisk": request(method="OPTIONS", target="*"),
    "connect": request(method="CONNECT"),
    "trace": request(method="TRACE"),
    "lower-method": request(method="post"),
    "upgrade": request(more="Upgrade: websocket\r\nConnection: Upgrade\r\n"),
    "h2c": request(more="HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
    "expect-other": request(more="Expect: 200-ok\r\n"),
    "leading-crlf": b"\r\n" + request(),
    "all-lf": request().replace(b"\r\n", b"\n"),
    "te-upper": request(b"2\r\n{}\r\n0\r\n\r\n", length="Transfer-Encoding: CHUNKED"),
    "te-underscore": request(more="Transfer_Encoding: chunked\r\n"),
    "cl-underscore": request(more="Content_Length: 0\r\n"),
    "absolute-plain": request(target=f"http://{HOST}/"),
    "absolute-upper": request(target=f"HTTPS://{HOST}/"),
    "absolute-user": request(target=f"https://{HOST}:443@{OTHER}/"),
    "absolute-dots": request(target="https://..../"),
    "absolute-port": request(target=f"https://{HOST}:99999/"),
    "network-path": request(target=f"//{OTHER}/"),
    "backslash": request(target="/\\x"),
    "http12": request().replace(b"HTTP/1.1", b"HTTP/1.2"),
    "http2": request().replace(b"HTTP/1.1", b"HTTP/2.0"),
    "two-spaces": request().replace(b"POST / ", b"POST  / "),
    "tab-in-line": request().replace(b"POST / ", b"POST\t/ "),
    "leading-space": b" " + request(),
    "h2c-whole": request(more="Connection: HTTP2-Settings\r\nHTTP2-Settings: AAM\r\n"),
    "te-in-connection": request(more="Connection: close, TE\r\nTE: trailers\r\n"),
    "two-signatures": request(more="Authorization: Basic eDp5\r\n"),
    "forwarded-host": request(more=f"X-Forwarded-Host: {OTHER}\r\nX-Original-URL: /x\r\n"),
    "method-override": request(more="X-HTTP-Method-Override: DELETE\r\n"),
    "target-underscore": request(more="X_Amz_Target: DynamoDB_20120810.DeleteTable\r\n"),
    "percent-host": request(host=HOST.replace(".", "%2e")),
    "host-with-space": request(host=f"{HOST} {OTHER}"),
    "host-odd-port": request(host=f"{HOST}:0443"),
    "byte-order-mark": request(b"\xef\xbb\xbf{}"),
    "utf-16": request("{}".encode("utf-16")),
    "utf-7": request().replace(b"json-1.0", b"json-1.0; charset=utf-7"),
    "two-values": request(b"{} {}"),
    "other-credential": request(more="Proxy-Authorization: Basic am9iOmV2aWw=\r\n"),
    "hop-by-hop": request(more="Connection: close, X-Amz-Target\r\n"),
    "websocket": request(
        more="Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    ),
    "host-empty": request(host=""),
    "host-nul": request(host=f"{HOST}\0"),
    "host-tab": request(host=f"{HOST}\t{OTHER}"),
    "host-latin": request(host=HOST.replace("o", "\xf6")),
    "host-idn": request(host=f"xn--{HOST}"),
    "host-zone": request(host="[fe80::1%25eth0]"),
    "host-mapped": request(host="[::ffff:127.0.0.1]"),
    "target-nul": request(target="/\0"),
    "target-latin": request(target="/\xe4"),
    "target-delete": request(target="/\x7f"),
    "absolute-zone": request(target="https://[fe80::1%25eth0]/"),
    "absolute-mapped": request(target="https://[::ffff:127.0.0.1]/"),
    "absolute-dot": request(target=f"https://{HOST}../"),
    "absolute-query-user": request(target=f"https://{OTHER}?@{HOST}/"),
    "cl-empty": request(length="Content-Length:"),
    "cl-two-words": request(length="Content-Length: 2 2"),
    "cl-zeros": request(length="Content-Length: 02"),
    "cl-huge": request(length=f"Content-Length: {'9' * 40}"),
    "te-empty": request(length="Transfer-Encoding:"),
    "te-quoted": request(length='Transfer-Encoding: "chunked"'),
    "te-parameter": request(length="Transfer-Encoding: chunked;a=b"),
    "two-types": request(more="Content-Type: text/plain\r\n"),
    "two-targets": request(more="X-Amz-Target: DynamoDB_20120810.DeleteTable\r\n"),
    "cr-in-name": request(more="X-\rA: b\r\n"),
    "nul-in-name": request(more="X-\0A: b\r\n"),
    "latin-name": request(more="X-\xe4: b\r\n"),
}


@pytest.mark.case("B15", "B21", "D12")
@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_head_that_two_could_read_differently_is_refused(wire: Wire, eyes: Eyes, name: str) -> None:
    assert 400 <= inside(wire, BAD_HEADS[name]) < 500
    eyes.denied(wire)


BAD_CHUNKS = {
    "hex-prefix": b"0x2\r\n{}\r\n0\r\n\r\n",
    "plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "minus": b"-2\r\n{}\r\n0\r\n\r\n",
    "underscore": b"0_2\r\n{}\r\n0\r\n\r\n",
    "bare-lf-in-extension": b"2;a=\nb\r\n{}\r\n0\r\n\r\n",
    "longer-than-said": b"2\r\n{}X\r\n0\r\n\r\n",
    "endless-size": b"0" * 100_000 + b"2\r\n{}\r\n0\r\n\r\n",
    "framing-in-trailers": b"2\r\n{}\r\n0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.case("B15")
@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_chunks_that_two_could_read_differently_go_nowhere(wire: Wire, eyes: Eyes, name: str) -> None:
    assert inside(wire, request(BAD_CHUNKS[name], length="Transfer-Encoding: chunked")) in (0, 400)
    eyes.denied(wire)


@pytest.mark.case("B15", "B17")
@pytest.mark.parametrize("body", [b"", b"2\r\n{}\r\n0\r\n\r\n"], ids=["no-body", "chunked"])
def test_what_follows_a_body_is_a_request_of_its_own(wire: Wire, far: Recorder, body: bytes) -> None:
    delete = request(b'{"TableName":"t"}', operation="DynamoDB_20120810.DeleteTable")
    first = request(body, length="Transfer-Encoding: chunked" if body else None)
    before = len(far.requests)
    assert inside(wire, first + delete) == 200
    assert wire.read().reason == "rule-deny"
    assert [raw for raw in far.requests[before:] if b"DeleteTable" in raw] == []


@pytest.mark.case("B05", "B12")
@pytest.mark.parametrize(
    "host",
    [
        "....",
        f"{'a' * 64}.amazonaws.com",
        f"{'a.' * 130}com",
        "_.x.amazonaws.com",
        f"a@{HOST}",
        f"{HOST}/x",
        "*.amazonaws.com",
        "dynamodb%2eus-east-1.amazonaws.com",
        "x%0d%0a.amazonaws.com",
        f"{HOST}.example.com",
        "evilamazonaws.com",
        "amazonaws.com",
        "0251.0376.0251.0376",
        "0xA9.0xFE.0xA9.0xFE",
        "017700000001",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "[::ffff:169.254.169.254]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "::1",
        "127.0.0.1.",
        f"user:pass@{HOST}",
        f"{HOST}\t",
        f"{HOST}%2eexample.com",
        HOST.replace("o", "\xf6"),
        f"xn--{HOST}",
        f"-{HOST}",
        "a..amazonaws.com",
    ],
)
def test_odd_destinations_are_refused_and_recorded(wire: Wire, eyes: Eyes, host: str) -> None:
    assert 400 <= wire.connect(f"{host}:443").status < 500
    eyes.denied(wire)


@pytest.mark.case("A01", "B11")
@pytest.mark.parametrize(
    "head",
    [
        "CONNECT {host}:443 HTTP/1.1\r\n{proof}\r\nContent-Length: 5\r\n\r\nhello",
        "CONNECT {host}:443 HTTP/1.1\r\n{proof}\r\n{proof}\r\n\r\n",
        "CONNECT {host}:443 HTTP/1.1\r\nProxy-Authorization : Basic {credential}\r\n\r\n",
        "CONNECT {host}:443 HTTP/1.1\r\nProxy-Authorization: Basic\r\n {credential}\r\n\r\n",
        "CONNECT {host}:443 HTTP/1.1\n{proof}\n\n",
        "connect {host}:443 HTTP/1.1\r\n{proof}\r\n\r\n",
        "CONNECT https://{host}:443/ HTTP/1.1\r\n{proof}\r\n\r\n",
        "CONNECT {host}:443 HTTP/1.1\r\nAuthorization: Basic {credential}\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: {host}\r\n{proof}\r\nContent-Length: 0\r\n\r\n",
        "POST https://{host}/ HTTP/1.1\r\nHost: {host}\r\n{proof}\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /callgate/../callgate/health HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /callgate/health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ],
)
def test_odd_ways_to_ask_the_proxy_port_make_no_tunnel(wire: Wire, eyes: Eyes, head: str) -> None:
    credential = b64encode(f"job:{wire.gateway.home.token()}".encode()).decode()
    proof = f"Proxy-Authorization: Basic {credential}"
    wire.send(head.format(host=HOST, credential=credential, proof=proof).encode())
    assert 400 <= wire.read().status < 500
    eyes.denied(wire)


@pytest.mark.case("B15", "B17")
@pytest.mark.parametrize("name", ["two-cl", "cl-and-te", "bare-lf", "websocket", "lower-method"])
def test_what_follows_a_refused_head_is_not_read(wire: Wire, eyes: Eyes, name: str) -> None:
    assert 400 <= inside(wire, BAD_HEADS[name] + request()) < 500
    assert wire.ended()
    eyes.denied(wire)


@pytest.mark.case("B09", "B11")
@pytest.mark.parametrize(
    "said", [b"\x05\x01\x00", b"GET /callgate/health HTTP/1.1\r\nHost", b"CONNECT x:443"]
)
def test_who_does_not_finish_is_cut_and_recorded_once(wire: Wire, eyes: Eyes, said: bytes) -> None:
    wire.send(said)
    assert wire.read().status in (0, 408)
    eyes.denied(wire, "handshake-timeout", "head-timeout")


@pytest.mark.case("C08")
def test_who_is_nobody_cannot_keep_a_connection_or_send_much(wire: Wire, eyes: Eyes, gate: Gateway) -> None:
    head = "POST /callgate/token HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n"
    wire.send(head.format(65_537).encode() + bytes(65_537))
    assert wire.read().status == 413
    eyes.denied(wire, "request-too-large")
    with Wire(gate) as silent:
        silent.send(head.format(10).encode())
        assert silent.read().status == 0
        eyes.denied(silent, "handshake-timeout")
    with Wire(gate) as short:
        short.send(b"GET /callgate/health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert short.read().headers["connection"] == "close"
        assert short.ended()


@pytest.mark.case("B21")
def test_tls_inside_tls_is_refused(wire: Wire, eyes: Eyes) -> None:
    assert wire.connect().status == 200
    wire.tls()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    inner = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname=HOST)
    with pytest.raises(ssl.SSLWantReadError):
        inner.do_handshake()
    wire.send(outgoing.read())
    assert wire.ended()
    eyes.denied(wire, "nested-tls")


@pytest.mark.case("B17")
def test_a_pipelined_request_is_judged_on_its_own(wire: Wire, gate: Gateway, far: Recorder) -> None:
    before = len(far.requests)
    delete = request(b'{"TableName":"t"}', operation="DynamoDB_20120810.DeleteTable")
    assert inside(wire, request() + delete) == 200
    assert wire.read().status in (400, 403)
    assert len(far.requests) == before + 1


@pytest.mark.case("B18", "C06", "C08")
@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_a_refused_upload_is_answered_before_its_body(wire: Wire, eyes: Eyes, expect: str) -> None:
    host = "bucket.s3.amazonaws.com"
    raw = request(
        b"",
        method="PUT",
        target="/key",
        host=host,
        service="s3",
        length=f"Content-Length: {200 << 20}",
        more=expect,
    )
    raw = raw.replace(
        b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
    )
    assert inside(wire, raw, host, host) == 403
    eyes.denied(wire, "rule-deny")


@pytest.mark.case("C06")
def test_a_refused_upload_leaves_memory_flat(wire: Wire, eyes: Eyes, gate: Gateway) -> None:
    def resident() -> int:
        status = Path(f"/proc/{gate.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) // 1024

    before = resident()
    host = "bucket.s3.amazonaws.com"
    raw = request(
        b"", method="PUT", target="/key", host=host, service="s3", length=f"Content-Length: {200 << 20}"
    )
    raw = raw.replace(
        b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
    )
    assert wire.connect(f"{host}:443").status == 200
    wire.tls(host)
    wire.send(raw)
    for _ in range(200):
        wire.send(bytes(1 << 20))
    assert wire.read().status in (403, 0)
    assert resident() - before < 60
    eyes.denied(wire, "rule-deny")


@pytest.mark.case("C08")
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_bound_is_413(wire: Wire, eyes: Eyes, chunked: bool) -> None:
    body = b"x" * 65537
    raw = (
        request(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), length="Transfer-Encoding: chunked")
        if chunked
        else request(body)
    )
    assert inside(wire, raw) == 413
    eyes.denied(wire, "request-too-large")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(more=f"X-A: {'a' * 8192}\r\n"), 431),
        (request(more="".join(f"X-{n}: a\r\n" for n in range(40))), 431),
    ],
    ids=["bytes", "fields"],
)
def test_a_head_over_a_bound_is_431(wire: Wire, eyes: Eyes, raw: bytes, status: int) -> None:
    assert inside(wire, raw) == status
    eyes.denied(wire, "head-too-large")


def test_a_head_that_drips_is_ended_in_time(wire: Wire, eyes: Eyes) -> None:
    began = time.monotonic()
    assert inside(wire, request()[:60]) == 408
    assert time.monotonic() - began < 5
    eyes.denied(wire, "head-timeout")


def test_a_second_head_has_its_own_time(wire: Wire) -> None:
    assert wire.connect().status == 200
    wire.tls()
    for _ in range(2):
        wire.send(request()[:60])
        time.sleep(0.7)  # the bound is real time; both pauses together are longer than it
        wire.send(request()[60:])
        assert wire.read().status == 200


def test_trailers_neither_crash_nor_hang(wire: Wire, eyes: Eyes) -> None:
    raw = request(b"2\r\n{}\r\n0\r\nX-Trailer: a\r\n\r\n", length="Transfer-Encoding: chunked")
    assert inside(wire, raw) in (0, 400)
    eyes.denied(wire)


def test_a_session_has_no_more_connections_than_it_may(gate: Gateway, eyes: Eyes) -> None:
    token = gate.home.token()
    wires = [Wire(gate) for _ in range(21)]
    try:
        statuses = [each.connect(token=token).status for each in wires]
    finally:
        for each in wires:
            each.socket.close()
    assert statuses == [200] * 20 + [429]
    eyes.denied(wires[-1], "too-many-connections")


def test_slow_clients_hurt_only_themselves(gate: Gateway, far: Recorder) -> None:
    idle = [socket.create_connection(gate.address, source_address=("127.0.9.9", 0)) for _ in range(100)]
    try:
        for each in idle:
            each.sendall(b"CONNECT x")
        began = time.monotonic()
        with Wire(gate) as wire:
            assert inside(wire, request()) == 200
        assert time.monotonic() - began < 3
    finally:
        for each in idle:
            each.close()
