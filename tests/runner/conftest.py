"""What tests of the runner share: the single file that is given to runners."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def runner(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The built runner's path."""
    file = tmp_path_factory.mktemp("runner") / "callgate"
    build = [sys.executable, str(ROOT / "scripts" / "build-runner"), str(file)]
    subprocess.run(build, check=True, capture_output=True)
    return str(file)
