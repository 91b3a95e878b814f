"""A command under the runner behaves as it does alone: output, exit code, signals. The gateway is real."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway import Gateway, make_home, running, wait_for


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    home = make_home(tmp_path_factory.mktemp("process") / "gate", endpoint="http://127.0.0.1:9")
    with running(home) as started:
        yield started


@pytest.fixture
def environ(gateway: Gateway) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "CALLGATE_GATEWAY": f"https://localhost:{gateway.address[1]}",
        "CALLGATE_CA": str(gateway.home.ca),
        "CALLGATE_TOKEN": gateway.home.token(),
    }


def run(
    runner: str, environ: dict[str, str], *command: str, **more: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, runner, "run", "--", *command],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        **more,  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("code", [0, 1, 2, 77, 255])
def test_the_exit_code_is_the_commands(code: int, runner: str, environ: dict[str, str]) -> None:
    assert run(runner, environ, "sh", "-c", f"exit {code}").returncode == code


@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL", "SIGINT", "SIGSEGV"])
def test_a_command_that_a_signal_ends_ends_the_runner_by_the_same_signal(
    name: str, runner: str, environ: dict[str, str]
) -> None:
    number = getattr(signal, name)
    assert run(runner, environ, "sh", "-c", f"kill -{int(number)} $$").returncode == -number


def test_output_and_input_are_untouched(runner: str, environ: dict[str, str]) -> None:
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)) + sys.stdin.buffer.read())"
    script += "; sys.stderr.write('e\\r\\n')"
    done = subprocess.run(
        [sys.executable, runner, "run", "--", sys.executable, "-c", script],
        env=environ,
        input=b"\x00\xffin\r\n",
        capture_output=True,
        timeout=30,
    )
    assert done.stdout == bytes(range(256)) + b"\x00\xffin\r\n"
    assert done.stderr == b"e\r\n"


def test_arguments_arrive_as_they_were_written(runner: str, environ: dict[str, str]) -> None:
    words = ["--help", "--", "-x", "", "a b", "$HOME", "*", "\n", "é"]
    echo = "import sys; print(sys.argv[1:])"
    done = run(runner, environ, sys.executable, "-c", echo, *words)
    assert done.stdout == f"{words}\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGQUIT"])
def test_signals_are_passed_on(name: str, runner: str, environ: dict[str, str], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'echo got; exit 9' {name[3:]}; touch {ready}; while :; do sleep 0.05; done"
    with subprocess.Popen(
        [sys.executable, runner, "run", "--", "sh", "-c", script],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for(ready.exists, 20, "the command")
        process.send_signal(getattr(signal, name))
        assert process.communicate(timeout=20)[0] == "got\n"
        assert process.returncode == 9


def test_a_command_that_is_not_there_is_127_and_one_that_cannot_run_126(
    runner: str, environ: dict[str, str], tmp_path: Path
) -> None:
    missing = run(runner, environ, "no-such-command")
    assert (missing.returncode, missing.stderr) == (127, "callgate: no-such-command: command not found\n")
    (tmp_path / "plain").write_text("x")
    denied = run(runner, environ, str(tmp_path / "plain"))
    assert denied.returncode == 126
    assert "Permission denied" in denied.stderr


def test_neither_token_nor_files_stay_behind(
    runner: str, environ: dict[str, str], tmp_path: Path, gateway: Gateway
) -> None:
    done = run(
        runner, {**environ, "TMPDIR": str(tmp_path)}, "sh", "-c", "env; ls $TMPDIR; cat /proc/$PPID/cmdline"
    )
    assert environ["CALLGATE_TOKEN"] not in done.stdout + done.stderr
    assert re.search(r"^HTTPS_PROXY=https://callgate:cgs_[\w-]+@localhost:\d+$", done.stdout, re.MULTILINE)
    assert "callgate-" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_session_carries_what_the_job_is_and_is_closed_after_it(
    runner: str, environ: dict[str, str], gateway: Gateway
) -> None:
    job = {"GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat", "GITHUB_SHA": "c5a92d2"}
    secret = "hunter2"
    session = run(
        runner, {**environ, **job}, "sh", "-c", "echo $CALLGATE_SESSION", "--password", secret
    ).stdout.strip()
    (opened,) = [each for each in gateway.entries("session.opened") if each["sessionId"] == session]
    said = opened["unverifiedContext"]
    assert (said["actor"], said["commit"], said["ci"]) == ("octocat", "c5a92d2", "github")
    assert said["command"] == ["sh", "-c", "echo $CALLGATE_SESSION", "--password", "***"]
    assert session in [each["sessionId"] for each in gateway.entries("session.closed")]
    log = (gateway.home.folder / "state" / "ledger.db").read_bytes() + gateway.log.read_bytes()
    assert secret.encode() not in log
    assert environ["CALLGATE_TOKEN"].encode() not in log


def test_print_env_gives_exports_that_a_shell_can_evaluate(runner: str, environ: dict[str, str]) -> None:
    script = f'eval "$({sys.executable} {runner} run --print-env)" && env && cat "$AWS_CA_BUNDLE" | tail -1'
    done = subprocess.run(["sh", "-c", script], env=environ, capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    assert "HTTPS_PROXY=https://callgate:cgs_" in done.stdout
    assert done.stdout.endswith("-----END CERTIFICATE-----\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CALLGATE_GATEWAY": ""}, "where is the gateway"),
        ({"CALLGATE_GATEWAY": "gw:8443"}, "not a gateway's address"),
        ({"CALLGATE_GATEWAY": "https://localhost:1"}, "cannot be reached"),
        ({"CALLGATE_GATEWAY": "http://gw.example:1"}, "show the token to the network"),
        ({"CALLGATE_CA": ""}, "is not trusted"),
        ({"CALLGATE_CA": "/gone.pem"}, "cannot be read"),
        (
            {"CALLGATE_CA": "", "CALLGATE_CA_SHA256": "ab" * 32},
            "not the one in CALLGATE_CA_SHA256",
        ),
        ({"CALLGATE_TOKEN": ""}, "no token was found"),
        ({"CALLGATE_TOKEN": "a.b.c"}, "401 token-malformed"),
    ],
)
def test_what_is_wrong_is_one_line_and_the_command_does_not_run(
    changes: dict[str, str], message: str, runner: str, environ: dict[str, str]
) -> None:
    done = run(runner, {**environ, **changes}, "echo", "ran")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert environ["CALLGATE_TOKEN"] not in done.stderr


def test_nothing_to_run_is_a_usage_error(runner: str, environ: dict[str, str]) -> None:
    done = run(runner, environ)
    assert done.returncode == 2
    assert "give a command to run" in done.stderr


def test_the_gateways_ca_can_be_pinned_or_given_as_text(
    runner: str, environ: dict[str, str], gateway: Gateway
) -> None:
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", str(gateway.home.ca)]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    pinned = {"CALLGATE_CA": "", "CALLGATE_CA_SHA256": shown.partition("=")[2]}
    assert run(runner, {**environ, **pinned}, "true").returncode == 0
    assert run(runner, {**environ, "CALLGATE_CA": gateway.home.ca.read_text()}, "true").returncode == 0


def test_doctor_finds_nothing_wrong_where_nothing_is(runner: str, environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, runner, "doctor"], env=environ, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout
    assert [line[:4] for line in done.stdout.splitlines()] == ["ok  "] * 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CALLGATE_GATEWAY": "https://localhost:1"}, "FAIL https://localhost:1 cannot be reached"),
        ({"CALLGATE_CA": ""}, "is not trusted"),
        ({"CALLGATE_TOKEN": ""}, "FAIL no token was found: set CALLGATE_TOKEN"),
        ({"CALLGATE_TOKEN": "x.y.z"}, "FAIL the token does not open a session"),
        ({"NO_PROXY": "x,.amazonaws.com"}, "FAIL NO_PROXY takes .amazonaws.com around the gateway"),
        ({"HTTPS_PROXY": "http://other:3128"}, "FAIL HTTPS_PROXY names another proxy than the gateway"),
        ({"AWS_CA_BUNDLE": "/gone.pem"}, "FAIL AWS_CA_BUNDLE names /gone.pem, which is not there"),
    ],
)
def test_doctor_says_what_is_wrong_in_one_line(
    changes: dict[str, str], message: str, runner: str, environ: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, runner, "doctor"],
        env={**environ, **changes},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 1
    (wrong,) = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert message in wrong


def test_doctor_finds_a_bundle_that_lacks_the_gateways_ca(
    runner: str, environ: dict[str, str], tmp_path: Path, gateway: Gateway
) -> None:
    (tmp_path / "other.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    proxy = f"https://callgate:x@localhost:{gateway.address[1]}"
    job = {**environ, "HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(tmp_path / "other.pem")}
    done = subprocess.run(
        [sys.executable, runner, "doctor"], env=job, capture_output=True, text=True, timeout=30
    )
    assert "FAIL SSL_CERT_FILE" in done.stdout
    assert "lacks the gateway's CA" in done.stdout
