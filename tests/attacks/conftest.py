"""What attacks look with, at the `gate` and the upstream (`far`) of their module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.gateway import Gateway
from support.upstream import Recorder
from support.wire import Eyes, Wire


@pytest.fixture
def eyes(gate: Gateway, far: Recorder) -> Eyes:
    return Eyes.open(gate, far)


@pytest.fixture
def wire(gate: Gateway) -> Iterator[Wire]:
    with Wire(gate) as open_wire:
        yield open_wire
