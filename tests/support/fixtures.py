"""Fixtures that many folders of the suite use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway import wait_for
from support.upstream import Recorder, recorder


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a moto server, a process of its own that the whole session shares."""
    log = tmp_path_factory.mktemp("moto") / "moto.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"],
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )

    def address() -> str | None:
        assert process.poll() is None, log.read_text()
        for line in log.read_text().splitlines():
            if "Running on http://" in line:
                return line.partition("Running on ")[2].strip().split()[0].rstrip("/")
        return None

    try:
        yield wait_for(address, what="moto")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture
def clean_moto(moto: str) -> str:
    """moto's URL, with nothing left in it."""
    with urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")) as answer:
        assert answer.status == 200
    return moto


@pytest.fixture
def upstream() -> Iterator[Recorder]:
    """A raw recorder that answers `{}`."""
    with recorder() as state:
        yield state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a gateway's home that does not exist yet."""
    return tmp_path / "gate"
