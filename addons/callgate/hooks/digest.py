"""The hash of a body that passes through, made beside the event loop where the body is large."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

_BLOCK = 128 * 1024
"""Bytes that are hashed in one go. hashlib holds no interpreter lock meanwhile."""
_AHEAD = 4
"""Blocks that may wait for that."""

_threads = ThreadPoolExecutor(1, "callgate-hash")


class Digest:
    """SHA-256 (FIPS 180-4), fed piece by piece. Keeps less than a block, and what waits to be hashed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._kept: list[bytes] = []
        self._size = 0
        self._waiting: deque[Future[None]] = deque()

    def update(self, piece: bytes) -> None:
        """The next piece. Blocks where too much waits to be hashed already, for well under a millisecond."""
        self._kept.append(piece)
        self._size += len(piece)
        if self._size >= _BLOCK:
            self._waiting.append(_threads.submit(self._feed, self._kept))
            self._kept, self._size = [], 0
            if len(self._waiting) > _AHEAD:
                self._waiting.popleft().result()

    async def settled(self) -> None:
        """Returns when `hexdigest` has next to nothing left to do."""
        if self._waiting:
            await asyncio.wrap_future(self._waiting[-1])

    def hexdigest(self) -> str:
        """Of all pieces so far."""
        while self._waiting:
            self._waiting.popleft().result()
        self._feed(self._kept)
        self._kept, self._size = [], 0
        return self._hash.hexdigest()

    def _feed(self, pieces: list[bytes]) -> None:
        # A single piece is not copied by this.
        self._hash.update(b"".join(pieces))
