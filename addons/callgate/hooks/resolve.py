"""Names become addresses under our eyes: what was judged is what is connected to.

mitmproxy connects by name, so the event loop's own look-up is wrapped: it judges every address that it
hands to a connection that `judging` announced in the same task. Other look-ups (issuers, webhooks) are not
judged.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import partial
from typing import Any

from callgate.call import Refusal
from callgate.channel import Network, judge_address

# Threads of their own: a name server that does not answer must not keep others from theirs.
_threads = ThreadPoolExecutor(32, "callgate-names")
_permitted: ContextVar[tuple[Network, ...] | None] = ContextVar("callgate_permitted", default=None)


class AddressRefused(OSError):
    """A name led where nothing may go; for mitmproxy one more connection that could not be made."""


def install(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Wrap the look-up of `loop`, once: it judges, and takes no longer than `seconds`."""
    if getattr(loop.getaddrinfo, "judges", False):
        return

    async def getaddrinfo(host: Any, port: Any, **hints: Any) -> Any:
        async with asyncio.timeout(seconds):
            found = await loop.run_in_executor(_threads, partial(socket.getaddrinfo, host, port, **hints))
        if (permitted := _permitted.get()) is not None:
            try:
                _judge(found, permitted)
            except Refusal as refusal:
                raise AddressRefused(refusal.code) from None
        return found

    getaddrinfo.judges = True  # type: ignore[attr-defined]
    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]


def judging(permitted: tuple[Network, ...]) -> None:
    """From here on, the look-ups of this task judge what they find."""
    _permitted.set(permitted)


async def check(host: str, port: int, permitted: Sequence[Network]) -> None:
    """Whether `host` leads only to addresses that may be connected to. Raises Refusal."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refusal(
            "name-not-resolved", "The name of the destination has no address.", status=502
        ) from None
    _judge(found, permitted)


def _judge(found: Sequence[Any], permitted: Sequence[Network]) -> None:
    # One address that may not be used condemns the name: which one a connection takes is nobody's promise.
    for *_, address in found:
        judge_address(address[0], permitted)
