"""Stands in for addons/gateway.py in fault tests: what the file that CALLGATE_TEST_FAULTS names says fails,
as long as it says so.

The file holds {"module:Class.function": "RuntimeError" | … | "hang"}; CALLGATE_TEST_TARGETS lists all
functions that may ever stand there. The target "clock" takes seconds that are
added to callgate's time, or "raise".
"""

import asyncio
import functools
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# Not in the lines that raise it: tracebacks quote them.
TEXT = "canary-in-an-exception"
FILE = Path(os.environ["CALLGATE_TEST_FAULTS"])
KINDS: dict[str, type[BaseException]] = {
    "RuntimeError": RuntimeError,
    "TimeoutError": TimeoutError,
    "RecursionError": RecursionError,
    "CancelledError": asyncio.CancelledError,
    "MemoryError": MemoryError,
    "OSError": OSError,
}
_now = time.time


def fault(target: str) -> Any:
    return json.loads(FILE.read_text()).get(target)


def clock() -> float:
    ours = sys._getframe(1).f_globals.get("__name__", "").startswith("callgate.")
    shift = fault("clock") if ours else None
    if shift == "raise":
        raise OSError(TEXT)
    return _now() + (shift or 0)


def breakable(target: str, function: Any) -> Any:
    def fail(kind: str | None) -> None:
        if kind is not None:
            raise KINDS[kind](TEXT)

    @functools.wraps(function)
    def broken(*args: Any, **kwargs: Any) -> Any:
        fail(fault(target))
        return function(*args, **kwargs)

    @functools.wraps(function)
    async def broken_async(*args: Any, **kwargs: Any) -> Any:
        kind = fault(target)
        if kind == "hang":
            await asyncio.Event().wait()
        if kind == "cancel" and (task := asyncio.current_task()):
            task.cancel()
            await asyncio.Event().wait()
        fail(kind)
        return await function(*args, **kwargs)

    return broken_async if asyncio.iscoroutinefunction(function) else broken


def install(target: str) -> None:
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    setattr(owner, name, breakable(target, getattr(owner, name)))


def load(loader: Any) -> None:
    time.time = clock
    from callgate.serve.service import register

    for target in json.loads(os.environ["CALLGATE_TEST_TARGETS"]):
        install(target)
    register(loader.master, watched=os.environ["CALLGATE_TEST_WATCHED"])
