"""`callgate doctor`: the same program as the single-file runner, which reads its own options."""

from __future__ import annotations

from callgate.cli.run import RunnerCommand

doctor = RunnerCommand("doctor", short_help="Say what keeps this runner from using the gateway.")
