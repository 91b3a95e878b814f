"""A held call in mitmweb: Resume is a verdict only where configured, and an edited request does not pass."""

from __future__ import annotations

import http.cookiejar
import json
import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from held_calls import DONE, People

from support.gateway import COMMANDS, Gateway, make_home, running, wait_for
from support.upstream import Recorder, recorder

RULES = """
[[rule]]
id = "delete-needs-a-person"
effect = "hold"
action = ["s3:DeleteObject"]
hold = { by = ["oncall"], within = "60s" }
"""
SETTINGS = '[approvals]\nattempt = "20s"\nlocal_groups = ["oncall"]\n'


class Web:
    """A person at mitmweb."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        jar = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
        self._opener.open(f"{self.url}/?token=test").close()
        cookies = [f"{cookie.name}={cookie.value}" for cookie in jar]
        self._headers = {"Cookie": "; ".join(["_mitmproxy_xsrf=x", *cookies]), "X-XSRFToken": "x"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
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
def held_in_mitmweb(
    folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = ""
) -> Iterator[tuple[Gateway, Recorder, People, Web, Future[Any]]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [str(port) if part == "0" else part for part in COMMANDS["mitmweb"]]
    monkeypatch.setitem(COMMANDS, "mitmweb", command)
    with recorder(DONE) as upstream, ThreadPoolExecutor(1) as pool:
        home = make_home(folder, endpoint=upstream.url, rules=RULES, more=SETTINGS + more)
        with running(home, form="mitmweb") as gateway:
            client = gateway.client("s3")
            call = pool.submit(client.delete_object, Bucket="bucket", Key="key")
            people = People(home)
            people.pending("key")
            yield gateway, upstream, people, Web(port), call


def test_resume_counts_for_nothing_unless_configured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_in_mitmweb(folder, monkeypatch) as (_, upstream, people, web, call):
        flow = web.held()
        assert "DeleteObject" in flow["comment"]
        web.ask("POST", f"/flows/{flow['id']}/resume")
        assert web.held()["id"] == flow["id"]
        hold = people.pending("key")
        assert (hold["state"], len(upstream.requests)) == ("pending", 0)
        assert people.answer(hold) == 200
        assert call.result(30)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_resume_is_an_approval_where_configured_and_recorded_as_such(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = 'resume_groups = ["oncall"]\n'
    with held_in_mitmweb(folder, monkeypatch, more) as (gateway, upstream, _, web, call):
        web.ask("POST", f"/flows/{web.held()['id']}/resume")
        assert call.result(30)["ResponseMetadata"]["HTTPStatusCode"] == 204
        (approved,) = gateway.entries("hold.approved")
        assert [(each["person"], each["via"]) for each in approved["approvals"]] == [("mitmweb", "mitmweb")]
        assert len(upstream.requests) == 1


def test_a_request_that_was_edited_while_it_was_held_does_not_pass(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with held_in_mitmweb(folder, monkeypatch) as (_, upstream, people, web, call):
        web.ask("PUT", f"/flows/{web.held()['id']}", {"request": {"path": "/another-key"}})
        assert people.answer(people.pending("key")) == 200
        with pytest.raises(ClientError, match="changed-while-held"):
            call.result(30)
        assert upstream.requests == []
        assert people.list("approved")
