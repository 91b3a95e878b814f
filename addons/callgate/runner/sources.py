"""Where a runner's token comes from: an option, a variable, or what the CI system offers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from callgate.runner.errors import RunnerError
from callgate.runner.gateway import Gateway

PROJECTED_FILE = "/var/run/secrets/callgate/token"
_TIMEOUT = 20.0
_MAX_TOKEN = 16 * 1024


class Source(NamedTuple):
    """`read` gives a token, anew each time where `renewable`; `what` says where it is from."""

    what: str
    read: Callable[[], str]
    renewable: bool


class Wanted(NamedTuple):
    """What the options say about the token; None where they say nothing."""

    file: str | None = None
    variable: str | None = None
    command: str | None = None
    audience: str | None = None


def find_source(wanted: Wanted, environ: Mapping[str, str], gateway: Gateway) -> Source:
    """The token's source: an option, CALLGATE_TOKEN…, then what the CI system offers. Raises RunnerError if
    there is none.
    """
    audience = wanted.audience or environ.get("CALLGATE_AUDIENCE")
    command = wanted.command or environ.get("CALLGATE_TOKEN_COMMAND")
    file = wanted.file or environ.get("CALLGATE_TOKEN_FILE")
    if wanted.variable:
        return _variable(wanted.variable, environ)
    if command and not wanted.file:
        return Source("the token command", lambda: _run(shlex.split(command or "")), True)
    if file:
        return Source(f"the file {file}", lambda: _read(file or ""), True)
    # In GitLab the job declares the variable under id_tokens.
    if environ.get("CALLGATE_TOKEN"):
        return _variable("CALLGATE_TOKEN", environ)
    if environ.get("ACTIONS_ID_TOKEN_REQUEST_URL") and environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        said = _needed(audience)
        return Source("GitHub Actions", lambda: _github(environ, said, gateway), True)
    for name in ("CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN"):
        if environ.get(name):
            return _variable(name, environ)
    if environ.get("BUILDKITE_JOB_ID"):
        words = ["buildkite-agent", "oidc", "request-token", "--audience", _needed(audience)]
        return Source("the Buildkite agent", lambda: _run(words), True)
    if os.path.exists(PROJECTED_FILE):
        return Source(f"the file {PROJECTED_FILE}", lambda: _read(PROJECTED_FILE), True)
    hint = ""
    if environ.get("GITHUB_ACTIONS"):
        hint = " (the job needs `permissions: id-token: write`)"
    elif environ.get("GITLAB_CI"):
        hint = " (the job needs `id_tokens: CALLGATE_TOKEN: aud: …`)"
    raise RunnerError(
        "no token was found: set CALLGATE_TOKEN, or see --token-file and --token-command" + hint
    )


def _needed(audience: str | None) -> str:
    if not audience:
        raise RunnerError("for whom is the token? Give --audience or set CALLGATE_AUDIENCE")
    return audience


def _variable(name: str, environ: Mapping[str, str]) -> Source:
    if not environ.get(name):
        raise RunnerError(f"the variable {name} holds no token")
    return Source(f"the variable {name}", lambda: _token(environ[name], f"the variable {name}"), False)


def _token(text: str, where: str) -> str:
    token = text.strip()
    if not token or len(token) > _MAX_TOKEN or not token.isascii() or any(each.isspace() for each in token):
        raise RunnerError(f"{where} holds no token")
    return token


def _read(file: str) -> str:
    try:
        with open(file, encoding="utf-8") as opened:
            return _token(opened.read(_MAX_TOKEN + 1), f"the file {file}")
    except (OSError, ValueError) as error:
        raise RunnerError(f"the token file {file} cannot be read: {error}") from None


def _run(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = (
            f"exit {error.returncode}"
            if isinstance(error, subprocess.CalledProcessError)
            else type(error).__name__
        )
        raise RunnerError(f"the token command {words[0] if words else ''} failed: {reason}") from None
    return _token(done.stdout.decode("utf-8", "replace"), "the token command's output")


def _github(environ: Mapping[str, str], audience: str, gateway: Gateway) -> str:
    url = environ["ACTIONS_ID_TOKEN_REQUEST_URL"]
    url += ("&" if "?" in url else "?") + "audience=" + quote(audience, safe="")
    request = urllib.request.Request(
        url, headers={"Authorization": "Bearer " + environ["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]}
    )
    try:
        with _opener(environ, gateway).open(request, timeout=_TIMEOUT) as response:
            value = json.loads(response.read(1 << 20))["value"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunnerError(f"GitHub gave no token: {type(error).__name__}: {_status(error)}") from None
    return _token(str(value), "GitHub's answer")


def _status(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return str(error.code)
    return str(error)


def _opener(environ: Mapping[str, str], gateway: Gateway) -> urllib.request.OpenerDirector:
    """Uses the environment's proxy, unless that is the gateway already (`--print-env` in an earlier step)."""
    proxy = urlsplit(environ.get("HTTPS_PROXY") or environ.get("https_proxy") or "")
    if proxy.hostname == gateway.host:
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()
