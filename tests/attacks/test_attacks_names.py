"""B12: where a name leads is judged after its resolution, and what was judged is what is connected to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.gateway import Gateway, make_home, running, wait_for
from support.upstream import Recorder, recorder
from support.wire import HOST, Eyes, Wire, request

NETWORK = Path(__file__).parent / "network_gateway.py"
RULES = """
[[rule]]
id = "allow-all"
effect = "allow"
action = ["*:*", "tunnel:Connect"]
"""
INSIDE = {
    "loopback": ["127.0.0.1"],
    "private": ["10.1.2.3"],
    "metadata": ["169.254.169.254"],
    "shared": ["100.64.0.1"],
    "mapped": ["::ffff:127.0.0.1"],
    "metadata6": ["fd00:ec2::254"],
    "nat64": ["64:ff9b::7f00:1"],
    "6to4": ["2002:7f00:1::1"],
    "any": ["0.0.0.0"],
    "loopback6": ["::1"],
    "mixed": ["52.94.0.1", "127.0.0.1"],
}


CHANGES = "changes.s3.amazonaws.com"


@contextmanager
def gate(folder: Path, names: dict[str, list[list[str]]], aws: str = "") -> Iterator[Gateway]:
    home = make_home(folder, rules=RULES, more=aws)
    environ = {"CALLGATE_TEST_NAMES": json.dumps(names)}
    with running(home, form="mitmdump", script=NETWORK, environ=environ) as started:
        yield started


def object_of(host: str) -> bytes:
    raw = request(b"", method="GET", target="/key", host=host, service="s3")
    return raw.replace(
        b"X-Amz-Target: DynamoDB_20120810.ListTables\r\n", b"X-Amz-Content-Sha256: UNSIGNED-PAYLOAD\r\n"
    )


@pytest.fixture(scope="module")
def inner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    names = {f"{name}.example.com": [addresses] for name, addresses in INSIDE.items()}
    names |= {f"{name}.s3.amazonaws.com": [addresses] for name, addresses in INSIDE.items()}
    names |= {"x.example.com": [["52.94.0.1"]], CHANGES: [["52.94.0.1"], ["127.0.0.1"]]}
    with gate(tmp_path_factory.mktemp("names") / "gate", names) as started:
        yield started


@pytest.fixture
def far() -> Iterator[Recorder]:
    with recorder() as state:
        yield state


@pytest.mark.case("B12")
@pytest.mark.parametrize("name", INSIDE)
def test_a_tunnel_to_a_name_that_leads_inside_is_refused(inner: Gateway, far: Recorder, name: str) -> None:
    eyes = Eyes.open(inner, far)
    with Wire(inner) as wire:
        assert wire.connect(f"{name}.example.com:443").status == 403
        eyes.denied(wire, "address-refused")


@pytest.mark.case("B12")
@pytest.mark.parametrize("name", INSIDE)
def test_a_call_to_an_aws_name_that_leads_inside_is_refused(inner: Gateway, far: Recorder, name: str) -> None:
    eyes = Eyes.open(inner, far)
    with Wire(inner) as wire:
        assert ask(wire, f"{name}.s3.amazonaws.com") == 403
        eyes.denied(wire, "address-refused")


def ask(wire: Wire, host: str) -> int:
    """What comes of asking for an object of `host`."""
    assert wire.connect(f"{host}:443").status == 200
    wire.tls(host)
    wire.send(object_of(host))
    return wire.read().status


@pytest.mark.case("B12")
def test_a_name_that_changes_after_it_was_judged_gains_nothing(inner: Gateway, far: Recorder) -> None:
    eyes = Eyes.open(inner, far)
    with Wire(inner) as wire:
        assert ask(wire, CHANGES) == 502
        assert eyes.denied(wire)["result"] == "failed"


@pytest.mark.case("B12")
def test_a_name_without_an_address_is_refused(inner: Gateway, far: Recorder) -> None:
    eyes = Eyes.open(inner, far)
    with Wire(inner) as wire:
        assert ask(wire, "nowhere.s3.amazonaws.com") in (403, 502)
        eyes.denied(wire, "name-not-resolved")


@pytest.mark.case("B12", "C01")
def test_a_name_service_that_failed_is_asked_again(folder: Path, far: Recorder) -> None:
    names: dict[str, list[list[str]]] = {HOST: [[], ["127.0.0.1"], [], ["127.0.0.1"]]}
    got = []
    with gate(folder, names, '[aws]\nprivate_ranges = ["127.0.0.0/8"]\n') as gateway:
        for _ in range(2):
            with Wire(gateway) as wire:
                assert wire.connect().status == 200
                wire.tls()
                for _ in range(2):
                    wire.send(request())
                    got.append(wire.read().status)
                    if got[-1] == 0:
                        break
        ends = gateway.ended(2)
    # Nobody listens on 443 there: that it was tried shows that the name was found.
    assert [each["reason"] for each in ends][:2] == ["name-not-resolved", "upstream-unreachable"]
    assert far.accepted == 0


@pytest.mark.case("B12", "C01")
def test_a_name_service_that_hangs_keeps_nobody_else_waiting(folder: Path) -> None:
    slow = [f"slow-{number}.s3.amazonaws.com" for number in range(12)]
    names: dict[str, list[list[str]]] = {name: [["slow"]] for name in slow}
    names |= {HOST: [["127.0.0.1"]], "late.s3.amazonaws.com": [["127.0.0.1"], ["slow"]]}
    more = '[limits]\nstage = "1s"\n[aws]\nprivate_ranges = ["127.0.0.0/8"]\n'
    with gate(folder, names, more) as gateway, ExitStack() as stack:
        # More of them than the event loop has threads; the last is slow only when it is connected to.
        wires = {name: stack.enter_context(Wire(gateway)) for name in [*slow, "late.s3.amazonaws.com"]}
        for name, wire in wires.items():
            assert wire.connect(f"{name}:443").status == 200
            wire.tls(name)
        for name, wire in wires.items():
            wire.send(object_of(name))
        with Wire(gateway) as other:
            assert other.connect().status == 200
            other.tls()
            other.send(request())
            assert other.read().reason == "upstream-unreachable"  # nobody listens there, but it was tried
            first = gateway.ended(1)[0]
        assert first["reason"] == "upstream-unreachable"
        reasons = [wire.read().reason for wire in wires.values()]
        assert reasons == ["name-not-resolved"] * 12 + ["upstream-unreachable"]
        assert len(gateway.ended(14)) == 14


@pytest.mark.case("B12")
def test_configured_ranges_open_aws_names_and_nothing_else(folder: Path) -> None:
    names = {
        HOST: [["127.0.0.1"]],
        "meta.s3.amazonaws.com": [["169.254.169.254"]],
        "x.example.com": [["127.0.0.1"]],
    }
    ranges = '[aws]\nprivate_ranges = ["127.0.0.0/8", "169.254.0.0/16"]\n'
    with gate(folder, names, ranges) as gateway:
        with Wire(gateway) as wire:
            assert wire.connect().status == 200
            wire.tls()
            wire.send(request())
            assert wire.read().status == 502  # nobody listens on 443 there, but it was tried
        outcome = wait_for(lambda: gateway.entries("call.outcome"))[0]
        assert outcome["reason"] == "upstream-unreachable"
        with Wire(gateway) as wire:
            assert wire.connect("x.example.com:443").status == 403


@pytest.mark.case("B06")
@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.6\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 64])
def test_a_tunnel_carries_tls_or_nothing(inner: Gateway, data: bytes, far: Recorder) -> None:
    eyes = Eyes.open(inner, far)
    with Wire(inner) as wire:
        assert wire.connect("x.example.com:443").status == 200
        wire.send(data)
        assert wire.ended()
        eyes.denied(wire, "not-tls")
