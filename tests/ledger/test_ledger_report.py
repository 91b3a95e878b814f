"""callgate report: one page that needs nothing else and trusts no text in the log."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from ledger_samples import intent, outcome

from callgate.cli import main
from callgate.journal import Record
from callgate.ledger import Ledger

NASTY = "github:<script>alert(1)</script>"


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def page(with_ledger: Callable[..., None], state: Path, tmp_path: Path) -> Page:
    async def use(ledger: Ledger) -> None:
        for n, principal in enumerate(["github:acme/infra", NASTY]):
            identity = {"principalId": principal, "sessionId": f"s{n}", "accessKeyId": "ASIASHARED"}
            await ledger.append(intent(f"c{n}", userIdentity=identity, service="s3"), outcome(f"c{n}"))
        refused = {**intent("c9", userIdentity=identity, service="iam").body, "reason": "rule-deny"}
        await ledger.append(Record("call.refused", refused, "c9", "end"))
        hold = {"holdId": "h1", "principalId": NASTY, "asked": {}, "state": "approved", "by": "ada"}
        await ledger.append(Record("hold.opened", hold | {"by": None}, "h1", "opened"))
        await ledger.append(Record("hold.approved", hold, "h1", "decided"))

    with_ledger(use)
    out = tmp_path / "report.html"
    result = CliRunner().invoke(main, ["report", "--ledger", str(state), "--since", "1d", "--out", str(out)])
    assert result.exit_code == 0, result.output
    return Page(out.read_text(encoding="utf-8"))


def test_the_page_tells_who_what_approvals_denials_new_identities_and_shared_keys(page: Page) -> None:
    for part in (
        "Who called",
        "github:acme/infra",
        "rule-deny",
        "ada",
        "New identities",
        "ASIASHARED",
        "First-time",
    ):
        assert part in page.text
    assert re.search(r"3\s*calls", page.text)
    assert "svg" in page.tags


def test_the_page_is_self_contained_and_runs_nothing(page: Page) -> None:
    assert page.links == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert NASTY in page.text


def test_a_period_without_calls_makes_a_page_too(
    with_ledger: Callable[..., None], state: Path, tmp_path: Path
) -> None:
    with_ledger(lambda ledger: ledger.append(intent("c1"), outcome("c1")))
    out = tmp_path / "report.html"
    arguments = [
        "report",
        "--ledger",
        str(state),
        "--since",
        "2020-01-01",
        "--until",
        "2020-02-01",
        "--out",
        str(out),
    ]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert "Nobody called." in out.read_text()


def test_a_key_that_very_many_share_names_some_of_them(
    with_ledger: Callable[..., None], state: Path, tmp_path: Path
) -> None:
    async def use(ledger: Ledger) -> None:
        for n in range(1, 9):
            identity = {"principalId": f"gitlab:acme/{n}", "sessionId": f"s{n}", "accessKeyId": "ASIASHARED"}
            await ledger.append(intent(f"c{n}", userIdentity=identity), outcome(f"c{n}"))

    with_ledger(use)
    out = tmp_path / "report.html"
    assert CliRunner().invoke(main, ["report", "--ledger", str(state), "--out", str(out)]).exit_code == 0
    assert re.search(r"(gitlab:acme/\d, ){5}gitlab:acme/\d and 2 more", out.read_text())
