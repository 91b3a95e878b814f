"""Run the command as if the wrapper were not there: its output, its signals, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

# Sent by a terminal to the whole foreground group, so the command has them already.
_FROM_TERMINAL = ("SIGINT", "SIGQUIT")
_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGCONT", *_FROM_TERMINAL)


def run_command(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run `command`; its exit code, or minus the signal that ended it. 127 if there is no such command, 126
    if it cannot run.
    """
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []  # signals that came before there was a child

    def forward(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif child.poll() is None and not (_has_terminal() and signal.Signals(number).name in _FROM_TERMINAL):
            child.send_signal(number)

    before = {number: signal.signal(number, forward) for number in _numbers()}
    try:
        child = subprocess.Popen(list(command), env=dict(environ))
        for number in early:
            child.send_signal(number)
        return child.wait()
    except (FileNotFoundError, NotADirectoryError):
        print(f"callgate: {command[0]}: command not found", file=sys.stderr)
        return 127
    except OSError as error:
        print(f"callgate: {command[0]}: {error.strerror}", file=sys.stderr)
        return 126
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_like(code: int) -> int:
    """End as the command ended: by the same signal if one ended it. Returns the exit code otherwise."""
    if code >= 0:
        return code
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the command's core dump is enough
        signal.signal(-code, signal.SIG_DFL)
    except (ImportError, OSError, ValueError):
        pass  # SIGKILL and SIGSTOP have no handlers to take away
    os.kill(os.getpid(), -code)
    return 128 - code


def _numbers() -> Sequence[int]:
    # A signal that we were started to ignore (nohup) stays ignored, for the command too.
    found = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    return [number for number in found if signal.getsignal(number) is not signal.SIG_IGN]


def _has_terminal() -> bool:
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
