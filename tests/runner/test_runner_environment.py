"""The environment of a command: every client finds the gateway and trusts it, and nothing goes around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from callgate.runner.environment import CA_VARIABLES, NO_PROXY, child_environment, without_aws

CA = "-----BEGIN CERTIFICATE-----\nGATEWAY\n-----END CERTIFICATE-----\n"


def changes(folder: Path, **environ: str) -> dict[str, str]:
    found, _ = child_environment(
        environ, proxy_url="https://callgate:cgs_x@gw:8443", session="ses-1", ca=CA, folder=str(folder)
    )
    return found


def test_the_proxy_is_set_for_https_and_the_credential_addresses_are_left_alone(tmp_path: Path) -> None:
    found = changes(tmp_path)
    assert found["HTTPS_PROXY"] == found["https_proxy"] == "https://callgate:cgs_x@gw:8443"
    assert "HTTP_PROXY" not in found
    assert found["NO_PROXY"] == found["no_proxy"] == ",".join(NO_PROXY)
    for address in (
        "127.0.0.1",
        "169.254.169.254",
        "fd00:ec2::254",
        "169.254.170.2",
        "169.254.170.23",
        "fd00:ec2::23",
    ):
        assert address in found["NO_PROXY"].split(",")


@pytest.mark.parametrize(
    "entry",
    [
        "*",
        ".amazonaws.com",
        "amazonaws.com",
        "*.amazonaws.com",
        "s3.amazonaws.com",
        "S3.Amazonaws.Com:443",
        "com",
        ".com",
        ".amazonaws.com.cn",
        "api.aws",
        "aws",
        "sts.us-east-1.amazonaws.com.",
        ".",
    ],
)
def test_no_proxy_entries_that_go_around_the_gateway_are_left_out_and_told(
    entry: str, tmp_path: Path
) -> None:
    kept, dropped = without_aws(f"example.com, {entry},10.0.0.0/8")
    assert (kept, dropped) == (["example.com", "10.0.0.0/8"], [entry])
    found, notes = child_environment(
        {"no_proxy": entry}, proxy_url="x", session="s", ca=CA, folder=str(tmp_path)
    )
    assert entry not in found["no_proxy"].split(",")
    assert notes == [f"NO_PROXY named {entry}: left out, as it would go around the gateway"]


@pytest.mark.parametrize(
    "entry", ["::1", "fd00::/8", "[::1]", "example.com:8080", "notamazonaws.com", "amazonaws.com.example"]
)
def test_other_no_proxy_entries_stay(entry: str) -> None:
    assert without_aws(entry) == ([entry], [])


def test_every_ca_variable_names_system_roots_and_the_gateways_ca(tmp_path: Path) -> None:
    found = changes(tmp_path)
    assert {
        "AWS_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "GIT_SSL_CAINFO",
    } <= set(found)
    for name in CA_VARIABLES:
        bundle = Path(found[name]).read_text()
        assert bundle.count("BEGIN CERTIFICATE") > 10
        assert CA in bundle
    assert Path(found["NODE_EXTRA_CA_CERTS"]).read_text().count("BEGIN CERTIFICATE") == 1


def test_a_bundle_that_the_user_named_is_kept_beside_the_gateways_ca(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    own.write_text("-----BEGIN CERTIFICATE-----\nOWN\n-----END CERTIFICATE-----")
    found = changes(
        tmp_path, AWS_CA_BUNDLE=str(own), NODE_EXTRA_CA_CERTS=str(own), SSL_CERT_FILE=str(tmp_path / "gone")
    )
    for name in ("AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"):
        assert Path(found[name]).read_text() == own.read_text() + "\n" + CA
    assert Path(found["SSL_CERT_FILE"]).read_text() == "\n" + CA
    assert "OWN" not in Path(found["CURL_CA_BUNDLE"]).read_text()


def test_curl_and_node_keep_what_the_user_configured(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".curlrc").write_text("silent\n")
    found = changes(tmp_path, HOME=str(home), NODE_OPTIONS="--max-old-space-size=512")
    curlrc = Path(found["CURL_HOME"], ".curlrc").read_text()
    assert curlrc == f'silent\n\nproxy-cacert = "{found["CURL_CA_BUNDLE"]}"\n'
    assert found["NODE_OPTIONS"] == f'--max-old-space-size=512 --require "{tmp_path}/preload.cjs"'


def test_a_hold_is_outwaited_unless_the_user_has_said_how_often_to_try(tmp_path: Path) -> None:
    found = changes(tmp_path)
    assert (found["AWS_RETRY_MODE"], found["AWS_MAX_ATTEMPTS"]) == ("standard", "20")
    assert changes(tmp_path, AWS_MAX_ATTEMPTS="1")["AWS_MAX_ATTEMPTS"] == "1"
    adaptive = changes(tmp_path, AWS_RETRY_MODE="adaptive")
    assert (adaptive["AWS_RETRY_MODE"], adaptive["AWS_MAX_ATTEMPTS"]) == ("adaptive", "20")
    # The legacy mode's pauses have no bound.
    assert "AWS_MAX_ATTEMPTS" not in changes(tmp_path, AWS_RETRY_MODE="legacy")
