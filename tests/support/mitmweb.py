"""A gateway in mitmweb, and a person who looks at it there."""

from __future__ import annotations

import http.cookiejar
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.gateway import Gateway, Home, running, wait_for


class Web:
    """A person at mitmweb."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        jar = http.cookiejar.CookieJar()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        opener.open(f"{self.url}/?token=test").close()
        cookies = [f"{cookie.name}={cookie.value}" for cookie in jar]
        self._headers = {"Cookie": "; ".join(["_mitmproxy_xsrf=x", *cookies]), "X-XSRFToken": "x"}

    def status(self, method: str, path: str, body: Any = None) -> int:
        """What becomes of a request."""
        try:
            self.ask(method, path, body)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What a request is answered with. Raises HTTPError."""
        data = json.dumps(body or {}).encode() if method != "GET" else None
        headers = {**self._headers, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def held(self) -> dict[str, Any]:
        """The intercepted flow, once there is one."""
        flow: dict[str, Any] = wait_for(
            lambda: next((each for each in self.ask("GET", "/flows") if each["intercepted"]), None),
            10,
            "a held flow",
        )
        return flow


@contextmanager
def in_mitmweb(home: Home) -> Iterator[tuple[Gateway, Web]]:
    """A gateway on `home` in mitmweb, with a person at it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(home, form="mitmweb", options=("--web-port", str(port))) as gateway:
        yield gateway, Web(port)
