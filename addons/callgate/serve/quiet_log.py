"""Log lines about exceptions: what happened and where, without the exception's text, which could quote what a
call carries.
"""

from __future__ import annotations

import logging
import sqlite3
import traceback
from typing import Any

# What these say is about files, connections and the ledger's own statements.
_HARMLESS = (OSError, sqlite3.Error)


def install() -> None:
    """From now on, for all loggers of this process."""
    logging.setLogRecordFactory(_Record)


class _Record(logging.LogRecord):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _, error, frames = self.exc_info or (None, None, None)
        if error is None or isinstance(error, _HARMLESS):
            return
        # mitmproxy and asyncio put the text into their messages as well.
        message, kind = self.getMessage(), type(error).__name__
        for text in filter(None, (repr(error), str(error))):
            message = message.replace(text, kind)
        where = "".join(traceback.format_tb(frames))
        self.msg, self.args, self.exc_info = f"{message}\n{where}{kind}", (), None
