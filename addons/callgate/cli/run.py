"""`callgate run`: the same program as the single-file runner, which reads its own options."""

from __future__ import annotations

import click

from callgate.runner.main import main


class RunnerCommand(click.Command):
    """Hands its arguments on as they stand, `--` and `--help` included."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return []

    def invoke(self, ctx: click.Context) -> None:
        ctx.exit(main([str(self.name), *ctx.args]))


run = RunnerCommand("run", short_help="Run a command so that its calls to AWS go through the gateway.")
