"""The command `callgate`: one module a command group, imported when it is used."""

from __future__ import annotations

import importlib

import click

from callgate import __version__

_COMMANDS = {
    "init": "callgate.cli.init:init",
    "serve": "callgate.cli.serve:serve",
    "run": "callgate.cli.run:run",
    "doctor": "callgate.cli.doctor:doctor",
    "explain": "callgate.cli.explain:explain",
    "rules": "callgate.cli.rules:rules",
    "approvals": "callgate.cli.approvals:approvals",
    "sessions": "callgate.cli.sessions:sessions",
    "log": "callgate.cli.ledger:log",
    "verify": "callgate.cli.ledger:verify",
    "prove": "callgate.cli.ledger:prove",
    "check-proof": "callgate.cli.ledger:check_proof",
    "report": "callgate.cli.ledger:report",
    "export": "callgate.cli.ledger:export",
    "backup": "callgate.cli.ledger:backup",
    "archive": "callgate.cli.ledger:archive",
}


class _Lazy(click.Group):
    """Finds a command's module when the command is named, so that `callgate run` starts without mitmproxy."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="callgate")
def main() -> None:
    """A gateway between jobs and AWS: every call attributed, judged, masked and recorded.

    \b
    callgate init gate            write a first configuration, its CA and keys into the folder gate
    callgate serve --config gate/callgate.toml
    callgate log --config gate/callgate.toml
    """
