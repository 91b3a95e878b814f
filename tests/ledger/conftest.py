"""Ledgers for tests: real keys, real files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from callgate.ledger import Ledger, Signer

ORIGIN = "callgate.test/log"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with a key in it."""
    folder = tmp_path / "state"
    Signer.create(folder / "keys" / "ledger.key", ORIGIN)
    return folder


@pytest.fixture
def opened(state: Path) -> Callable[..., Ledger]:
    """Opens the ledger in the state folder; the test closes it."""

    def open_ledger(**settings: Any) -> Ledger:
        return Ledger.open(
            state, signer=Signer.load(state / "keys" / "ledger.key"), origin=ORIGIN, **settings
        )

    return open_ledger


@pytest.fixture
def with_ledger(opened: Callable[..., Ledger]) -> Callable[..., None]:
    """Runs `use(ledger)` on an open ledger and closes it."""

    def run(use: Callable[[Ledger], Coroutine[Any, Any, None]], **settings: Any) -> None:
        async def main() -> None:
            ledger = opened(**settings)
            try:
                await use(ledger)
            finally:
                await ledger.close()

        asyncio.run(main())

    return run
