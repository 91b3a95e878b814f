"""Stands in for addons/gateway.py in fault tests: the function that CALLGATE_TEST_FAULT names
(module:Class.function,
or module:function) raises what CALLGATE_TEST_RAISE says; then the gateway registers as usual."""

import asyncio
import importlib
import os
from typing import Any

from callgate.serve.service import register

FAULTS: dict[str, type[BaseException]] = {
    "RuntimeError": RuntimeError,
    "TimeoutError": TimeoutError,
    "RecursionError": RecursionError,
    "CancelledError": asyncio.CancelledError,
    "MemoryError": MemoryError,
}


def break_function(target: str, error: type[BaseException]) -> None:
    module_name, _, path = target.partition(":")
    owner: Any = importlib.import_module(module_name)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise error("canary-in-an-exception")

    async def broken_async(*args: Any, **kwargs: Any) -> Any:
        if os.environ.get("CALLGATE_TEST_HANGS"):
            await asyncio.Event().wait()
        raise error("canary-in-an-exception")

    setattr(owner, name, broken_async if asyncio.iscoroutinefunction(getattr(owner, name)) else broken)


def load(loader: Any) -> None:
    break_function(
        os.environ["CALLGATE_TEST_FAULT"], FAULTS[os.environ.get("CALLGATE_TEST_RAISE", "RuntimeError")]
    )
    register(loader.master)
