"""What docs/approvals.md says is what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from click import Command, Context
from click.testing import CliRunner

from callgate.approvals.api import ROUTES
from callgate.approvals.settings import ApprovalSettings, Approver, EventKind, Webhook
from callgate.approvals.states import HOLD
from callgate.approvals.webhooks import BACKOFF
from callgate.cli.approvals import approvals
from callgate.policy import parse_rules

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/approvals.md").read_text("utf-8")
SOURCES = "".join(path.read_text("utf-8") for path in (ROOT / "addons/callgate/approvals").glob("*.py"))
TOML = re.findall(r"```toml\n(.*?)```", DOCUMENT, re.S)


def test_the_example_rule_loads() -> None:
    assert len(parse_rules({"example.toml": TOML[0]})) == 1


def test_the_example_settings_load_and_name_every_setting(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 32)
    (tmp_path / "url").write_text("https://hooks.example/x")
    text = TOML[1].replace("sha256:…", "sha256:" + "0" * 64) + TOML[2]
    text = text.replace("secrets/slack-url", str(tmp_path / "url"))
    text = text.replace("secrets/inbox-key", str(tmp_path / "key"))
    settings = tomllib.loads(text)["approvals"]
    ApprovalSettings.model_validate(settings)

    def fields(model: Any) -> set[str]:
        return {field.alias or name for name, field in model.model_fields.items()}

    assert fields(ApprovalSettings) == set(settings)
    assert fields(Approver) == {key for approver in settings["approvers"].values() for key in approver}
    assert fields(Webhook) - {key for hook in settings["webhook"] for key in hook} == set()


@pytest.mark.parametrize("command", approvals.commands.values(), ids=lambda command: command.name)
def test_every_command_is_documented_and_its_help_has_an_example(command: Command) -> None:
    assert f"`{command.name}" in DOCUMENT
    told = CliRunner().invoke(approvals, [str(command.name), "--help"])
    assert told.exit_code == 0
    assert f"callgate approvals {command.name}" in told.output
    for option in command.get_params(Context(command)):
        for name in option.opts:
            if name.startswith("--") and name != "--help":
                assert f"`{name}`" in DOCUMENT, name


def test_every_reason_code_state_event_and_pause_is_documented() -> None:
    codes = set(re.findall(r'Refusal\(\s*"((?:hold|client|attempt|gateway)-[a-z-]+)"', SOURCES))
    codes -= {"hold-unknown", "hold-decided"}  # of the admin API
    assert len(codes) > 10
    assert {code for code in codes if code not in DOCUMENT} == set()
    assert {kind for kind in get_args(EventKind) if f"`{kind}`" not in DOCUMENT} == set()
    states = DOCUMENT.rpartition("## What is kept")[2]
    assert {state for state in HOLD if state not in states} == {"new"}
    assert "1, 5, 25, 60, 120 and 300" in DOCUMENT
    assert BACKOFF == (1, 5, 25, 60, 120, 300)


def test_the_routes_in_the_documentation_exist() -> None:
    paths = {route.path for route in ROUTES}
    for path in re.findall(r"/(?:v1/[a-z]+|openapi\.json)", DOCUMENT):
        assert path in paths
