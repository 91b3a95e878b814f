"""The rule set in force: loaded at start, again on change and on SIGHUP; a broken edit leaves the last good
one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from callgate.journal import Record
from callgate.masking import mask_mistakes
from callgate.policy import RuleError, RuleSet, load_rules

log = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0


class RulesInForce:
    """Calling it gives the rule set in force. Raises RuleError at construction if there is no good one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._signature: tuple[tuple[str, int, int], ...] | None = self._look()
        self._rules = load_rules(paths, mask_mistakes)
        self._wake = asyncio.Event()
        self.error: str | None = None

    def __call__(self) -> RuleSet:
        return self._rules

    def reload_soon(self) -> None:
        """Load again even if no file looks changed."""
        self._signature = None
        self._wake.set()

    async def watch(self, note: Callable[[Record], Awaitable[None]]) -> None:
        """`note` the first load, then every change. Runs until cancelled."""
        await note(self._loaded())
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            # Looking at the files is disk work, which the event loop does not wait for.
            signature = await asyncio.to_thread(self._look)
            if signature != self._signature:
                self._signature = signature
                await self._load(note)

    async def _load(self, note: Callable[[Record], Awaitable[None]]) -> None:
        try:
            self._rules = await asyncio.to_thread(load_rules, self._paths, mask_mistakes)
        except RuleError as exc:
            self.error = str(exc)
            log.error("callgate: rules not loaded, the last good set stays in force: %s", exc)
            await note(Record("rules.rejected", {"error": str(exc), "digest": self._rules.digest}))
        else:
            self.error = None
            log.info("callgate: rules loaded: %s", self._rules.digest)
            await note(self._loaded())

    def _loaded(self) -> Record:
        files = sorted(str(path) for path in self._paths)
        return Record(
            "rules.loaded", {"digest": self._rules.digest, "files": files, "rules": len(self._rules)}
        )

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        seen = []
        for path in self._paths:
            files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
            for file in files:
                try:
                    stat = file.stat()
                except OSError:
                    continue
                seen.append((str(file), stat.st_mtime_ns, stat.st_size))
        return tuple(seen)
