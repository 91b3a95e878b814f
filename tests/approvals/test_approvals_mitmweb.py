"""A held call in mitmweb: Resume is a verdict only where configured, and an edited request does not pass."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from held_calls import DONE, People

from support.gateway import Gateway, make_home
from support.mitmweb import Web, in_mitmweb
from support.upstream import Recorder, recorder

RULES = """
[[rule]]
id = "delete-needs-a-person"
effect = "hold"
action = ["s3:DeleteObject"]
hold = { by = ["oncall"], within = "60s" }
"""
SETTINGS = '[approvals]\nattempt = "20s"\nlocal_groups = ["oncall"]\n'


@contextmanager
def held_in_mitmweb(
    folder: Path, more: str = ""
) -> Iterator[tuple[Gateway, Recorder, People, Web, Future[Any]]]:
    with recorder(DONE) as upstream, ThreadPoolExecutor(1) as pool:
        home = make_home(folder, endpoint=upstream.url, rules=RULES, more=SETTINGS + more)
        with in_mitmweb(home) as (gateway, web):
            client = gateway.client("s3")
            call = pool.submit(client.delete_object, Bucket="bucket", Key="key")
            people = People(home)
            people.pending("key")
            yield gateway, upstream, people, web, call


def test_resume_counts_for_nothing_unless_configured(folder: Path) -> None:
    with held_in_mitmweb(folder) as (_, upstream, people, web, call):
        flow = web.held()
        assert "DeleteObject" in flow["comment"]
        web.ask("POST", f"/flows/{flow['id']}/resume")
        assert web.held()["id"] == flow["id"]
        hold = people.pending("key")
        assert (hold["state"], len(upstream.requests)) == ("pending", 0)
        assert people.answer(hold) == 200
        assert call.result(30)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_resume_is_an_approval_where_configured_and_recorded_as_such(folder: Path) -> None:
    more = 'resume_groups = ["oncall"]\n'
    with held_in_mitmweb(folder, more) as (gateway, upstream, _, web, call):
        web.ask("POST", f"/flows/{web.held()['id']}/resume")
        assert call.result(30)["ResponseMetadata"]["HTTPStatusCode"] == 204
        (approved,) = gateway.entries("hold.approved")
        assert [(each["person"], each["via"]) for each in approved["approvals"]] == [("mitmweb", "mitmweb")]
        assert len(upstream.requests) == 1


def test_a_request_that_was_edited_while_it_was_held_does_not_pass(folder: Path) -> None:
    with held_in_mitmweb(folder) as (_, upstream, people, web, call):
        web.ask("PUT", f"/flows/{web.held()['id']}", {"request": {"path": "/another-key"}})
        assert people.answer(people.pending("key")) == 200
        with pytest.raises(ClientError, match="changed-while-held"):
            call.result(30)
        assert upstream.requests == []
        assert people.list("approved")
