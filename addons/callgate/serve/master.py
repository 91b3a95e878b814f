"""`callgate serve`: mitmproxy's own Master with only the addons that a gateway needs."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from mitmproxy.addons import core, proxyserver, tlsconfig
from mitmproxy.master import Master
from mitmproxy.options import Options

from callgate.serve.service import register


class LeanMaster(Master):
    """A master without the forty stock addons that are walked for every hook."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.addons.add(
            core.Core(),
            proxyserver.Proxyserver(),
            tlsconfig.TlsConfig(),
        )


async def serve(config: Path) -> None:
    """Run the gateway until SIGTERM or SIGINT."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.setLevel(logging.INFO)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # What mitmproxy says of each connection is for its own console; errors and the gateway's own lines are
    # for ours.
    logging.getLogger("mitmproxy").setLevel(logging.ERROR)
    master = LeanMaster(Options())
    register(master, config, watched="never")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, master.shutdown)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    await master.run()
