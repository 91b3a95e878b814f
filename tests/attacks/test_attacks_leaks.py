"""Groups A and F over the real gateway: nothing that is secret, and nothing that is masked, is found."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from callgate.serve.config import ConfigError, load_settings
from callgate.serve.rooms import open_rooms
from local_issuer import _certificate
from support.canary import CANARY
from support.gateway import ALLOW_ALL, Gateway, make_home, running
from support.upstream import Recorder, http_answer, recorder
from support.wire import Eyes, Wire, request

RULES = (
    ALLOW_ALL
    + """
[[rule]]
id = "secrets"
effect = "mask"
action = ["secretsmanager:*"]
response = ['$..SecretString', '$..SecretBinary']
"""
)
SECRETS = "secretsmanager.us-east-1.amazonaws.com"


def answer(raw: bytes) -> bytes:
    """A secret in the answer, or a page of them."""
    page = b"BatchGetSecretValue" in raw
    secret = {
        "ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:s-AbCdEf",
        "Name": "s",
        "SecretString": CANARY,
    }
    body = {"SecretValues": [secret], "NextToken": "more"} if page else secret
    return http_answer(200, json.dumps(body).encode(), Content_Type="application/x-amz-json-1.1")


@pytest.fixture
def far() -> Iterator[Recorder]:
    with recorder(answer) as state:
        yield state


def everywhere(gateway: Gateway) -> bytes:
    """All that the gateway has written, its keys left out, and what its process shows."""
    files = [path for path in gateway.home.folder.rglob("*") if path.is_file() and path.parent.name != "keys"]
    shown = [Path(f"/proc/{gateway.process.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    return b"".join([path.read_bytes() for path in files] + shown)


@pytest.mark.case("F07", "F09", "F10", "A18")
@pytest.mark.parametrize("form", ["serve", "mitmdump"])
def test_no_canary_is_found_anywhere(folder: Path, far: Recorder, form: str) -> None:
    with running(make_home(folder, endpoint=far.url, rules=RULES), form=form) as gateway:
        token = gateway.home.token()
        client = gateway.client("secretsmanager", token=token)
        assert client.get_secret_value(SecretId="s")["SecretString"] != CANARY
        client.put_secret_value(SecretId="s", SecretString=CANARY)
        client.create_secret(Name="t", SecretString=CANARY, SecretBinary=CANARY.encode())
        pages = [client.batch_get_secret_value(SecretIdList=["s"])]
        pages.append(client.batch_get_secret_value(SecretIdList=["s"], NextToken=pages[0]["NextToken"]))
        assert CANARY not in json.dumps(pages, default=str)
        with Wire(gateway) as wire:
            wire.send(f"CONNECT x:443 HTTP/1.1\r\nProxy-Authorization: Bearer {token}".encode())
        gateway.ended(5)
        assert gateway.stop() == 0
    found = b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.parent.name != "keys")
    sent = bytes(far.raw)
    for secret in (CANARY.encode(), b64encode(CANARY.encode())):
        assert secret not in found
    for part in (token, token.rpartition(".")[2], b64encode(f"job:{token}".encode()).decode()):
        assert part.encode() not in found
        assert part.encode() not in sent
    assert b"roxy-" not in sent


@pytest.mark.case("A18")
def test_the_process_shows_no_secret(folder: Path, far: Recorder) -> None:
    with running(make_home(folder, endpoint=far.url, rules=RULES)) as gateway:
        token = gateway.home.token()
        gateway.client("secretsmanager", token=token).get_secret_value(SecretId="s")
        gateway.ended(1)
        seen = everywhere(gateway)
    assert token.encode() not in seen
    assert CANARY.encode() not in seen
    for path in (folder / "state").rglob("*"):
        if (path.parent.name == "keys" and path.suffix != ".pub") or path.name.startswith("ledger.db"):
            assert path.stat().st_mode & 0o077 == 0, path


LOOSE = {
    "admin-key": '[admin]\nlisten = "127.0.0.1:0"\ncertificate = "callgate.toml"\nkey = "secret"\n',
    "webhook-address": '[[approvals.webhook]]\nname = "a"\nform = "slack"\nurl_file = "secret"\n',
    "webhook-key": '[[approvals.webhook]]\nname = "a"\nurl = "https://a.example/"\nkey_file = "secret"\n',
}


@pytest.mark.parametrize("name", LOOSE)
def test_a_secret_that_others_may_read_keeps_the_gateway_from_starting(folder: Path, name: str) -> None:
    home = make_home(folder, more=LOOSE[name])
    secret = folder / "secret"
    secret.write_text("https://hooks.example/" + "x" * 32)
    for mode in (0o640, 0o604, 0o622):
        secret.chmod(mode)
        with pytest.raises(ConfigError, match=f"secret: others may read it .*{mode:o}.*chmod 600"):
            open_rooms(load_settings(home.config), watched="never", show=AsyncMock())


@pytest.mark.case("A17")
def test_nobody_claims_to_be_another_inside_a_tunnel(folder: Path, far: Recorder) -> None:
    with running(make_home(folder, endpoint=far.url, rules=RULES)) as gateway:
        other = b64encode(f"job:{gateway.home.token(sub='repo:acme/other:environment:x')}".encode()).decode()
        for more in (
            f"Proxy-Authorization: Basic {other}\r\n",
            "Proxy-Authorization: Bearer x.y.z\r\n",
            "X-Callgate-Principal: bob\r\n",
        ):
            eyes = Eyes.open(gateway, far)
            with Wire(gateway) as wire:
                assert wire.connect(f"{SECRETS}:443").status == 200
                wire.tls(SECRETS)
                raw = request(
                    b'{"SecretId":"s"}',
                    host=SECRETS,
                    service="secretsmanager",
                    operation="secretsmanager.GetSecretValue",
                    more=more,
                )
                wire.send(raw)
                assert 400 <= wire.read().status < 500
                eyes.denied(wire)
    assert far.accepted == 0


@contextmanager
def tls_upstream(folder: Path, asks: ssl.VerifyMode = ssl.CERT_NONE, **validity: float) -> Iterator[int]:
    """A server on the loopback with a certificate of its own for localhost and 127.0.0.1; its port.

    `asks`: whether it asks its clients for theirs.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = _certificate(folder, **validity)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = asks
    listener = socket.create_server(("127.0.0.1", 0))
    other = socket.create_server(("127.0.0.2", listener.getsockname()[1]))

    def serve(on: socket.socket) -> None:
        while True:
            try:
                stream, _ = on.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(stream, server_side=True) as inner:
                    got = b""
                    while not got.endswith(b"{}") and (more := inner.recv(65536)):
                        got += more
                    assert inner.getpeercert() is None or asks == ssl.CERT_NONE
                    inner.sendall(http_answer(body=b'{"TableNames": []}'))
            except OSError:
                stream.close()

    threads = [threading.Thread(target=serve, args=(each,), daemon=True) for each in (listener, other)]
    for thread in threads:
        thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        for each in (listener, other):
            each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.mark.case("B20")
@pytest.mark.parametrize(
    ("name", "trusted", "validity", "status"),
    [
        ("localhost", True, {}, 200),
        ("localhost", False, {}, 502),
        ("127.0.0.2", True, {}, 502),
        ("localhost", True, {"begins": -7200, "ends": -3600}, 502),
        ("localhost", True, {"begins": 3600}, 502),
        ("localhost", True, {"asks": ssl.CERT_OPTIONAL}, 200),
        ("localhost", True, {"asks": ssl.CERT_REQUIRED}, 502),
    ],
    ids=["control", "self-signed", "wrong-name", "expired", "not-yet-valid", "asks-us", "wants-ours"],
)
def test_the_certificate_of_the_upstream_is_verified(
    folder: Path, tmp_path: Path, name: str, trusted: bool, validity: dict[str, Any], status: int
) -> None:
    with tls_upstream(tmp_path, **validity) as port:
        home = make_home(folder, endpoint=f"https://{name}:{port}", rules=RULES)
        if trusted:
            text = home.config.read_text().replace("[aws]\n", f'[aws]\nca = "{tmp_path / "ca.pem"}"\n')
            home.config.write_text(text)
        with running(home) as gateway, Wire(gateway) as wire:
            assert wire.connect().status == 200
            wire.tls()
            wire.send(request())
            assert wire.read().status == status
            end = gateway.ended(1)[0]
    assert end["result"] == ("completed" if status == 200 else "failed")


def test_while_the_ca_is_replaced_runners_trust_both(folder: Path, far: Recorder) -> None:
    home = make_home(folder, endpoint=far.url, rules=RULES)
    after = make_home(folder.parent / "next", rules=RULES)
    shutil.copyfile(after.ca, home.ca.with_name("also-trusted.pem"))

    def trusted(gateway: Gateway) -> Path:
        bundle = folder.parent / "bundle.pem"
        with urllib.request.urlopen(f"http://{gateway.proxy}/callgate/ca.pem") as answer:
            bundle.write_bytes(answer.read())
        return bundle

    def reaches(gateway: Gateway, ca: Path) -> bool:
        with Wire(gateway) as wire:
            assert wire.connect().status == 200
            wire.tls(ca=ca)
            wire.send(request())
            return wire.read().status == 200

    with running(home) as gateway:
        of_a_job_that_began_before = trusted(gateway)
        assert reaches(gateway, of_a_job_that_began_before)
    old = home.ca.read_bytes()
    for file in after.ca.parent.iterdir():
        shutil.copy(file, home.ca.parent)
    home.ca.with_name("also-trusted.pem").write_bytes(old)
    with running(home) as gateway:
        assert reaches(gateway, of_a_job_that_began_before)
        assert reaches(gateway, trusted(gateway))
