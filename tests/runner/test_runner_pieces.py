"""Parts of the runner that need no gateway: the summary, the clock, the trust in a pinned CA."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from callgate.runner import doctor
from callgate.runner.errors import RunnerError
from callgate.runner.gateway import Gateway
from callgate.runner.summary import summary_lines, write_step_summary


def refusal(**members: Any) -> dict[str, Any]:
    usual = {
        "callId": "cg-1",
        "eventName": "DeleteBucket",
        "reason": "rule-deny",
        "message": "Not here.",
        "resources": [{"action": "s3:DeleteBucket", "ARN": "arn:aws:s3:::prod"}],
    }
    return {**usual, **members}


def test_no_refusal_is_no_summary(tmp_path: Path) -> None:
    assert summary_lines([]) == []
    write_step_summary([], {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")})
    assert not (tmp_path / "summary").exists()


def test_each_refusal_is_one_line() -> None:
    assert summary_lines([refusal()]) == [
        "1 call was refused in this run:",
        "  DeleteBucket on arn:aws:s3:::prod: rule-deny: Not here. (call cg-1)",
    ]
    assert summary_lines([refusal(resources=None), refusal()])[0] == "2 calls were refused in this run:"
    many = summary_lines([refusal()] * 30)
    assert (len(many), many[-1]) == (22, "  and 10 more")


def test_a_refusal_cannot_drive_a_terminal_or_a_page(tmp_path: Path) -> None:
    hostile = refusal(message="\x1b[2J\n::set-output name=x::y | <script> `x` [a](b)", eventName=None)
    (_, line) = summary_lines([hostile])
    assert line.isprintable()
    file = tmp_path / "summary"
    file.write_text("before\n")
    write_step_summary([hostile], {"GITHUB_STEP_SUMMARY": str(file)})
    text = file.read_text()
    assert text.startswith("before\n")
    row = text.splitlines()[-1]
    assert row.count("|") == 6
    assert not any(mark in row for mark in ("<script", "`", "["))


@pytest.mark.parametrize(("offset", "good"), [(0, True), (20, True), (-40, False), (3600, False)])
def test_doctor_compares_the_clock_with_the_gateways(offset: int, good: bool) -> None:
    finding = doctor._clock(formatdate(time.time() + offset, usegmt=True))
    assert finding.good is good
    assert ("synchronise it" in finding.text) is not good


@pytest.mark.parametrize(
    "url",
    ["gw", "https://", "ftp://gw", "https://gw:port", "https://gw/path", "https://[::1", "http://gw.example"],
)
def test_an_address_that_is_no_gateways_is_refused(url: str) -> None:
    with pytest.raises(RunnerError):
        Gateway(url)


def test_the_proxy_url_quotes_the_handle_and_keeps_ipv6() -> None:
    assert Gateway("https://gw.example").proxy_url("cgs_a/b") == "https://callgate:cgs_a%2Fb@gw.example:443"
    assert Gateway("http://[::1]:8080").proxy_url("cgs_a") == "http://callgate:cgs_a@[::1]:8080"
