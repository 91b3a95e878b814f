"""One guard around every hook: an exception, a time-out or a cancellation refuses, it never forwards.

mitmproxy logs what a hook raises and goes on with the flow as it stands, so the flow must stand refused.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mitmproxy import http

from callgate.call import Refusal

log = logging.getLogger(__name__)

Hook = Callable[..., Awaitable[None]]


async def guarded(
    stage: str,
    work: Callable[[asyncio.Timeout], Awaitable[None]],
    close: Callable[[Refusal], None],
    seconds: float,
) -> None:
    """Run `work`; on any failure call `close` with a refusal that names the stage.

    `work` gets the timeout that bounds it, so that a stage that waits for a person can lift it. `close`
    must not raise.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            await work(limit)
    except Refusal as refusal:
        close(refusal)
    except TimeoutError:
        log.error("callgate: %s did not end within %g s", stage, seconds)
        close(Refusal("gateway-timeout", f"The gateway's {stage} stage did not end in time.", status=503))
    except asyncio.CancelledError:
        # A hook that ends cancelled leaves its flow hanging, so the refusal is what becomes of it.
        if (task := asyncio.current_task()) and task.cancelling():
            task.uncancel()
        close(Refusal("gateway-cancelled", f"The gateway's {stage} stage was cancelled.", status=503))
    except Exception as exc:  # noqa: BLE001 - this is the place that turns everything into a refusal
        close(_failed(stage, exc))


class LastLine:
    """Hooks as mitmproxy is to see them: ended after `seconds` (or a tick more), and never by an exception.

    mitmproxy waits for ever for a hook that hangs, or that ends cancelled. What stands on the flow when this
    ends it is a refusal, or the layers put one there. One timer watches over all of them.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._tick = min(1.0, seconds / 10)
        self._at_work: dict[object, tuple[float, asyncio.Task[Any]]] = {}
        self._timer: asyncio.Handle | None = None

    def bounded(self, hook: Hook) -> Hook:
        """`hook` with an end."""

        @functools.wraps(hook)
        async def watched(*args: Any) -> None:
            task, turn = asyncio.current_task(), object()
            assert task is not None
            self._at_work[turn] = (time.monotonic() + self._seconds, task)
            if self._timer is None:
                self._watch()
            try:
                await hook(*args)
            except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - as above
                while task.cancelling():
                    task.uncancel()
                log.error(
                    "callgate: the hook %s failed: %s at %s", hook.__name__, type(exc).__name__, _where(exc)
                )
            finally:
                del self._at_work[turn]

        return watched

    def _watch(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._tick, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        for due, task in self._at_work.values():
            if due <= now:
                task.cancel()
        self._timer = None
        if self._at_work:
            self._watch()


def guarded_now(stage: str, work: Callable[[], None]) -> Refusal | None:
    """As `guarded`, for a stage that waits for nothing: the refusal, or None if all went well."""
    try:
        work()
    except Refusal as refusal:
        return refusal
    except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - as above
        return _failed(stage, exc)
    return None


def _failed(stage: str, exc: BaseException) -> Refusal:
    # The text of an exception can quote what it choked on, so only its type is logged.
    log.error("callgate: %s failed: %s at %s", stage, type(exc).__name__, _where(exc))
    return Refusal("gateway-error", f"The gateway's {stage} stage failed.", status=503)


def _where(exc: BaseException) -> str:
    tb: Any = exc.__traceback__
    while tb and tb.tb_next:
        tb = tb.tb_next
    return f"{tb.tb_frame.f_code.co_filename.rpartition('/')[2]}:{tb.tb_lineno}" if tb else "unknown"


def bare_answer(refusal: Refusal, call_id: str | None = None) -> http.Response:
    """A refusal that needs nothing that could fail: plain text, the reason as a header."""
    headers = {"Content-Type": "text/plain; charset=utf-8", "X-Callgate-Reason": refusal.code}
    if call_id:
        headers["X-Callgate-Call-Id"] = call_id
    return http.Response.make(refusal.status, f"{refusal.code}: {refusal.detail}\n", headers)
