"""Where a runner finds its token, on every CI system, and what it says when there is none."""

from __future__ import annotations

import http.server
import json
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from callgate.runner.context import context_of
from callgate.runner.errors import RunnerError
from callgate.runner.gateway import Gateway
from callgate.runner.sources import Wanted, find_source

GATEWAY = Gateway("https://gw.example:8443")
NOTHING = Wanted()


def token(environ: dict[str, str], wanted: Wanted = NOTHING) -> str:
    return find_source(wanted, environ, GATEWAY).read()


@pytest.fixture
def github() -> Iterator[tuple[dict[str, str], list[tuple[str, str | None]]]]:
    """GitHub's token service as a job sees it, and what it was asked."""
    asked: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            body = json.dumps({"count": 1, "value": f"token-{len(asked)}"}).encode()
            self.send_response(200 if self.headers["Authorization"] == "Bearer runtime" else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/token?api-version=2.0"
        yield {"ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "runtime"}, asked
        server.shutdown()
        thread.join()


def test_github_is_asked_for_a_token_for_this_audience_each_time(
    github: tuple[dict[str, str], list[tuple[str, str | None]]],
) -> None:
    environ, asked = github
    source = find_source(Wanted(audience="callgate&x"), environ, GATEWAY)
    assert source.renewable
    assert [source.read(), source.read()] == ["token-1", "token-2"]
    assert parse_qs(urlsplit(asked[0][0]).query) == {"api-version": ["2.0"], "audience": ["callgate&x"]}


def test_github_is_asked_directly_when_an_earlier_step_set_the_gateway_as_proxy(
    github: tuple[dict[str, str], list[tuple[str, str | None]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    environ, _ = github
    proxy = {"HTTPS_PROXY": "https://callgate:cgs_x@gw.example:8443", "HTTP_PROXY": "http://127.0.0.1:1"}
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert token({**environ, **proxy, "CALLGATE_AUDIENCE": "callgate"}) == "token-1"


def test_github_refusing_is_one_line_without_the_secret(
    github: tuple[dict[str, str], list[tuple[str, str | None]]],
) -> None:
    environ, _ = github
    with pytest.raises(RunnerError, match="GitHub gave no token: HTTPError: 401") as failed:
        token({**environ, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "wrong", "CALLGATE_AUDIENCE": "callgate"})
    assert "wrong" not in str(failed.value)


def test_the_variables_of_ci_systems_are_found(tmp_path: Path) -> None:
    assert token({"CALLGATE_TOKEN": "of-gitlab"}) == "of-gitlab"
    assert token({"CIRCLE_OIDC_TOKEN": "one", "CIRCLE_OIDC_TOKEN_V2": "two"}) == "two"
    assert token({"CIRCLE_OIDC_TOKEN": "one"}) == "one"
    assert token({"MY_ID_TOKEN": "mine", "CALLGATE_TOKEN": "x"}, Wanted(variable="MY_ID_TOKEN")) == "mine"
    file = tmp_path / "token"
    file.write_text("projected\n")
    assert token({"CALLGATE_TOKEN_FILE": str(file), "CALLGATE_TOKEN": "x"}) == "projected"
    assert token({"CALLGATE_TOKEN_COMMAND": "echo x"}, Wanted(file=str(file))) == "projected"


def test_a_projected_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    source = find_source(Wanted(file=str(file)), {}, GATEWAY)
    assert (source.renewable, source.read()) == (True, "first")
    file.write_text("second")
    assert source.read() == "second"


def test_the_buildkite_agent_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = tmp_path / "buildkite-agent"
    agent.write_text('#!/bin/sh\necho "$*" | tr " " "."\n')
    agent.chmod(agent.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    environ = {"BUILDKITE_JOB_ID": "1", "CALLGATE_AUDIENCE": "callgate"}
    assert token(environ) == "oidc.request-token.--audience.callgate"


@pytest.mark.parametrize(
    ("environ", "wanted", "message"),
    [
        ({}, NOTHING, "no token was found"),
        ({"GITHUB_ACTIONS": "true"}, NOTHING, "id-token: write"),
        ({"GITLAB_CI": "true"}, NOTHING, "id_tokens"),
        ({"BUILDKITE_JOB_ID": "1"}, NOTHING, "for whom is the token"),
        ({}, Wanted(variable="GONE"), "GONE holds no token"),
        ({}, Wanted(file="/gone"), "cannot be read"),
        ({}, Wanted(command="false"), "failed: exit 1"),
        ({}, Wanted(command="/gone/command"), "failed: FileNotFoundError"),
        ({}, Wanted(command="true"), "output holds no token"),
        ({"CALLGATE_TOKEN": "two words"}, NOTHING, "holds no token"),
    ],
)
def test_no_token_is_one_line_that_says_what_to_do(
    environ: dict[str, str], wanted: Wanted, message: str
) -> None:
    with pytest.raises(RunnerError, match=message):
        token(environ, wanted)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        (
            {
                "GITHUB_ACTIONS": "true",
                "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_REPOSITORY": "acme/infra",
                "GITHUB_RUN_ID": "5",
                "GITHUB_SHA": "c5a92d2",
                "GITHUB_ACTOR": "octocat",
            },
            {
                "ci": "github",
                "jobUrl": "https://github.com/acme/infra/actions/runs/5",
                "commit": "c5a92d2",
                "actor": "octocat",
            },
        ),
        (
            {
                "GITLAB_CI": "true",
                "CI_JOB_URL": "https://gl/j/1",
                "CI_COMMIT_SHA": "1",
                "GITLAB_USER_LOGIN": "u",
            },
            {"ci": "gitlab", "jobUrl": "https://gl/j/1", "commit": "1", "actor": "u"},
        ),
        (
            {"BUILDKITE": "true", "BUILDKITE_BUILD_URL": "https://bk/1", "BUILDKITE_JOB_ID": "j"},
            {"ci": "buildkite", "jobUrl": "https://bk/1#j"},
        ),
        (
            {"CIRCLECI": "true", "CIRCLE_BUILD_URL": "https://cc/1"},
            {"ci": "circleci", "jobUrl": "https://cc/1"},
        ),
        ({}, {}),
    ],
)
def test_the_job_is_told_as_the_ci_system_names_it(environ: dict[str, str], said: dict[str, str]) -> None:
    context = context_of(["make", "deploy"], environ)
    assert context.pop("command") == ["make", "deploy"]
    assert context.pop("cwd") == os.getcwd()
    assert context.pop("host")
    assert context == said
