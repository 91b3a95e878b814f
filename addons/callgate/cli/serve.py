"""`callgate serve`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from callgate.cli.common import config_option


@click.command()
@config_option
def serve(config: Path) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    SIGHUP loads the rules again. On SIGTERM no new calls are let through, those that run may end within
    `drain`, and the log gets its signed head.

    \b
    callgate serve --config gate/callgate.toml
    CALLGATE_MODE=observe callgate serve
    """
    from callgate.serve.master import serve as run

    asyncio.run(run(config))
