"""How many bytes of bodies are kept at once: of all clients, and of one session.

A body is kept while it is read whole (a request to be judged, a response to be masked) and until its exchange
has ended and its answer was read. What streams is not counted: it waits on its own side.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from callgate.call import Refusal

NOBODY = ""
"""The session that all who have not said who they are share."""
_LOOK_SECONDS = 1.0
"""How often to look whether a slow client has read its answer."""


class Memory:
    """The count, with its two bounds in bytes."""

    def __init__(self, whole: int, session: int) -> None:
        self.kept = 0
        self._whole = whole
        self._session = session
        self._of: Counter[str] = Counter()

    def add(self, session: str, size: int) -> None:
        """Keep `size` bytes more. Raises Refusal (503) where that is more than may be kept."""
        if self.kept + size > self._whole or self._of[session] + size > self._session:
            raise Refusal(
                "memory-full",
                "The gateway keeps as many bodies as it may, of this session or of all.",
                status=503,
                retryable=True,
            )
        self.kept += size
        self._of[session] += size

    def take_off(self, session: str, size: int) -> None:
        """Keep `size` bytes less."""
        self.kept -= size
        self._of[session] -= size
        if not self._of[session]:
            del self._of[session]


class Share:
    """What one connection has of it, with one exchange at a time.

    `unsent` gives the bytes of answers that the client has not taken yet.
    """

    def __init__(self, memory: Memory, unsent: Callable[[], int]) -> None:
        self.session = NOBODY
        self._memory = memory
        self._unsent = unsent
        self._kept = 0
        self._leaving = 0
        self._look_again: asyncio.Handle | None = None
        self._closed = False

    def keep(self, size: int) -> None:
        """Keep `size` bytes more for this exchange. Raises Refusal."""
        if self._closed:
            raise Refusal("client-gone", "The client left.", status=503)
        self._memory.add(self.session, size)
        self._kept += size

    def free(self) -> None:
        """The exchange has ended; its answer is on its way."""
        self._leaving += self._kept
        self._kept = 0
        if self._leaving and self._look_again is None:
            self._look_again = asyncio.get_running_loop().call_soon(self._look)

    def close(self) -> None:
        """The connection has ended; nothing is kept for it any more."""
        self._closed = True
        if self._look_again is not None:
            self._look_again.cancel()
        self._memory.take_off(self.session, self._kept + self._leaving)
        self._kept = self._leaving = 0

    def _look(self) -> None:
        """Whether the client has taken its answer."""
        left = min(self._leaving, self._unsent())
        self._memory.take_off(self.session, self._leaving - left)
        self._leaving = left
        loop = asyncio.get_running_loop()
        self._look_again = loop.call_later(_LOOK_SECONDS, self._look) if left else None
