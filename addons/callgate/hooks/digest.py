"""The hash of a body that passes through, made beside the event loop where the body is large."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor

_BLOCK = 512 * 1024
"""Bytes that are hashed in one go. hashlib holds no interpreter lock meanwhile."""

_threads = ThreadPoolExecutor(1, "callgate-hash")


class Digest:
    """SHA-256 (FIPS 180-4), fed piece by piece. Keeps two blocks at most."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._kept: list[bytes] = []
        self._size = 0
        self._running: Future[None] | None = None

    def update(self, piece: bytes) -> None:
        """The next piece. Waits where the block before the last is not hashed yet, which is under a
        millisecond.
        """
        self._kept.append(piece)
        self._size += len(piece)
        if self._size >= _BLOCK:
            block = self._taken()
            self._running = _threads.submit(self._hash.update, block)

    async def settled(self) -> None:
        """Returns when `hexdigest` has next to nothing left to do."""
        if self._running is not None:
            await asyncio.wrap_future(self._running)

    def hexdigest(self) -> str:
        """Of all pieces so far."""
        self._hash.update(self._taken())
        return self._hash.hexdigest()

    def _taken(self) -> bytes:
        block = b"".join(self._kept)
        self._kept.clear()
        self._size = 0
        if self._running is not None:
            self._running.result()
            self._running = None
        return block
