"""What commands share: the console, one-line failures, the configuration, the admin socket."""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from callgate.serve.config import ConfigError, Settings, load_settings

config_option = click.option(
    "--config",
    "config",
    type=click.Path(path_type=Path),
    default=lambda: os.environ.get("CALLGATE_CONFIG", "callgate.toml"),
    show_default="callgate.toml, or CALLGATE_CONFIG",
    help="The gateway's configuration.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def console(*, stderr: bool = False) -> Console:
    """A console that colours on terminals only."""
    return Console(stderr=stderr, highlight=False)


def fail(message: object, status: int = 2) -> NoReturn:
    """End the command with one line on standard error."""
    click.echo(f"callgate: {message}", err=True)
    sys.exit(status)


def load_config(path: Path) -> Settings:
    """The settings at `path`; ends the command with status 2 if they cannot be used."""
    try:
        return load_settings(path)
    except ConfigError as exc:
        fail(exc)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def admin_request(config: Settings, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One request to the running gateway's admin socket; the JSON of its answer.

    Ends the command with status 2 if no gateway answers, with status 1 and its message if it refuses.
    """
    status, answer = admin_answer(config, method, path, body)
    if status >= 400:
        fail(answer.get("message") or answer.get("error"), 1)
    return answer


def admin_answer(
    config: Settings, method: str, path: str, body: dict[str, Any] | None = None
) -> tuple[int, Any]:
    """As `admin_request`, but the HTTP status and the JSON whatever they say."""
    connection = _connect(config, timeout=30)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as exc:
        fail(f"{config.state / 'admin.sock'}: the gateway gave no answer: {exc}")
    finally:
        connection.close()


def admin_events(config: Settings, path: str = "/v1/events") -> Iterator[Any]:
    """The stream of events of the running gateway, until it ends."""
    connection = _connect(config, timeout=None)
    connection.request("GET", path)
    with connection.getresponse() as response:
        for line in response:
            yield json.loads(line)


def _connect(config: Settings, timeout: float | None) -> _UnixConnection:
    path = config.state / "admin.sock"
    connection = _UnixConnection(path, timeout)
    try:
        connection.connect()
    except OSError as exc:
        fail(f"{path}: no gateway listens here ({exc.strerror}); is `callgate serve` running?")
    return connection
