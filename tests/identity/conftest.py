"""What tests of identities share."""

from __future__ import annotations

from typing import Any

import pytest
from identity_support import Clock, MemoryJournal

from local_issuer import SigningKey, jwks


@pytest.fixture(scope="session")
def signing_key() -> SigningKey:
    return SigningKey("key-1")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def github_settings(tmp_path: Any, signing_key: SigningKey) -> dict[str, Any]:
    """The configuration of one GitHub issuer whose keys are in a file."""
    (tmp_path / "keys.json").write_bytes(jwks(signing_key))
    return {
        "name": "github",
        "profile": "github",
        "audience": "callgate",
        "keys_file": str(tmp_path / "keys.json"),
    }
