"""The single file: self-contained, reproducible, for every Python that runners have."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHONS = sorted(
    {sys.executable, *filter(None, (shutil.which(f"python3.{minor}") for minor in range(8, 16)))}
)


def test_the_same_sources_give_the_same_bytes(runner: str, tmp_path: Path) -> None:
    again = tmp_path / "callgate"
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "build-runner", again], check=True, capture_output=True
    )
    assert again.read_bytes() == Path(runner).read_bytes()
    assert again.stat().st_mode & 0o111


@pytest.mark.parametrize("python", PYTHONS)
def test_it_runs_without_any_installed_package(python: str, runner: str) -> None:
    probe = subprocess.run([python, "-c", "pass"], capture_output=True, check=False)
    if probe.returncode == 0:  # a version manager's stand-in for a Python that is not there
        done = subprocess.run([python, "-I", "-S", runner, "run", "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "--print-env" in done.stdout


def test_it_holds_the_runner_and_nothing_else(runner: str) -> None:
    names = {name for name in zipfile.ZipFile(runner).namelist() if not name.startswith("callgate/runner/")}
    assert names == {"__main__.py", "callgate/__init__.py"}
    assert Path(runner).stat().st_size < 100_000


@pytest.mark.parametrize(
    "file", sorted((ROOT / "addons/callgate/runner").glob("*.py")), ids=lambda file: file.name
)
def test_its_sources_are_python_3_8_and_import_the_standard_library_only(file: Path) -> None:
    tree = ast.parse(file.read_text(), feature_version=(3, 8))
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.startswith("callgate.runner") or name.partition(".")[0] in sys.stdlib_module_names
