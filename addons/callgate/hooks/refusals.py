"""Refusals before any identity: the first of a source and reason is recorded, a flood of them is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from callgate.call import Refusal
from callgate.hooks import record
from callgate.hooks.gateway import Gateway

WINDOW_SECONDS = 10.0
# Beyond this many sources at once, further ones are counted together.
_SOURCES = 10_000


@dataclass(slots=True)
class _Window:
    refusal: Refusal
    further: int = 0


class EarlyRefusals:
    """Writes `connection.refused` entries, at most two for a source and reason in ten seconds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._windows: dict[tuple[str, str], _Window] = {}

    async def note(self, refusal: Refusal, *, source_ip: str, target: str | None) -> None:
        """Record one refusal of `source_ip`, or count it."""
        key = (source_ip if len(self._windows) < _SOURCES else "*", refusal.code)
        if key not in self._windows and (source_ip, refusal.code) in self._windows:
            key = (source_ip, refusal.code)
        if window := self._windows.get(key):
            window.further += 1
            return
        self._windows[key] = _Window(refusal)
        asyncio.get_running_loop().call_later(WINDOW_SECONDS, self._close, key)
        await self._gateway.note(record.connection_refused(refusal, source_ip=key[0], target=target))

    def flush(self) -> None:
        """Close all windows, as at the end of the gateway."""
        for key in list(self._windows):
            self._close(key)

    def _close(self, key: tuple[str, str]) -> None:
        window = self._windows.pop(key, None)
        if window and window.further:
            self._gateway.journal.append_soon(
                record.connection_refused(window.refusal, source_ip=key[0], target=None, count=window.further)
            )
