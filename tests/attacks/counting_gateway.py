"""Stands in for addons/gateway.py where a test counts the tasks of the event loop: at SIGUSR1 their number is
written to the file that CALLGATE_TEST_TASKS names.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from callgate.serve.service import register

FILE = Path(os.environ["CALLGATE_TEST_TASKS"])


def count() -> None:
    new = FILE.with_suffix(".new")
    new.write_text(str(len(asyncio.all_tasks())))
    new.replace(FILE)


def load(loader: Any) -> None:
    register(loader.master, watched="never")


def running() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, count)
