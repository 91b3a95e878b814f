"""A gateway in which named functions fail for as long as a test wants them to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.gateway import ROOT, Gateway, Home, running

FAULTY = ROOT / "tests" / "gateway" / "faulty_gateway.py"


@dataclass
class Faults:
    """A running gateway, and what fails in it."""

    gateway: Gateway
    file: Path

    @contextmanager
    def of(self, target: str, kind: str | float) -> Iterator[None]:
        """For as long as the block runs, `target` fails in the way that `kind` says."""
        self._say({target: kind})
        try:
            yield
        finally:
            self._say({})

    def _say(self, faults: dict[str, str | float]) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(faults))
        new.replace(self.file)


@contextmanager
def faulty(home: Home, targets: Sequence[str], *, watched: str) -> Iterator[Faults]:
    """A gateway on `home` in which each of `targets` (`module:Class.function`), and the clock, can fail."""
    file = home.folder / "faults.json"
    file.write_text("{}")
    environ = {
        "CALLGATE_TEST_FAULTS": str(file),
        "CALLGATE_TEST_TARGETS": json.dumps(list(targets)),
        "CALLGATE_TEST_WATCHED": watched,
    }
    with running(home, form="mitmdump", script=FAULTY, environ=environ) as gateway:
        yield Faults(gateway, file)
