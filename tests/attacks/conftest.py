"""What attacks look with, at the `gate` and the upstream (`far`) of their module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.canary import found_in, written
from support.gateway import RAN, Gateway
from support.upstream import Recorder
from support.wire import Eyes, Wire


@pytest.fixture(scope="module", autouse=True)
def no_canary_stays() -> Iterator[None]:
    """After each module: no secret that its attacks had with them is in what its gateways wrote."""
    before = len(RAN)
    yield
    for home in RAN[before:]:
        assert found_in(written(home.folder)) == {}


@pytest.fixture
def eyes(gate: Gateway, far: Recorder) -> Eyes:
    return Eyes.open(gate, far)


@pytest.fixture
def wire(gate: Gateway) -> Iterator[Wire]:
    with Wire(gate) as open_wire:
        yield open_wire
