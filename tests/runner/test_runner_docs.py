"""What docs/runner.md says is what the runner does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from callgate.runner.environment import CA_VARIABLES, child_environment
from callgate.runner.sources import PROJECTED_FILE

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/runner.md").read_text("utf-8")


def shown(runner: str, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], "COLUMNS": "80"}
    words = [sys.executable, runner, *arguments]
    return subprocess.run(words, env=environ, check=True, capture_output=True, text=True).stdout


def test_the_help_in_the_documentation_is_the_runners(runner: str) -> None:
    block = DOCUMENT.split("```text\n")[1].split("```")[0]
    # Versions of Python differ in how they wrap and title; what is said is the same.
    assert block.split() == shown(runner, "run", "--help").replace("optional arguments:", "options:").split()


def test_every_variable_that_a_command_gets_is_documented(tmp_path: Path) -> None:
    changes, _ = child_environment({}, proxy_url="x", session="s", ca="", folder=str(tmp_path))
    assert {name for name in changes if f"`{name}`" not in DOCUMENT} == set()
    assert set(CA_VARIABLES) <= set(changes)


def test_every_variable_that_the_runner_reads_is_documented() -> None:
    sources = "".join(file.read_text() for file in (ROOT / "addons/callgate/runner").glob("*.py"))
    names = set(re.findall(r"\bCALLGATE_[A-Z0-9_]+", sources))
    assert {name for name in names if name not in DOCUMENT} == set()
    assert PROJECTED_FILE in DOCUMENT
