"""What the runner cannot do, in one line."""

from __future__ import annotations


class RunnerError(Exception):
    """The text is one line for the person who reads the job's log: what is wrong and what to do. Never a
    secret.
    """
