"""mitmproxy's Master with only what forwards, and no gateway: `lean_master.py PORT_FILE CONFDIR [stream]`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

from mitmproxy.addons import core, disable_h2c, dns_resolver, next_layer, proxyserver, tlsconfig
from mitmproxy.master import Master
from mitmproxy.options import Options


async def main() -> None:
    logging.getLogger().setLevel(logging.ERROR)
    master = Master(Options())
    master.addons.add(
        core.Core(),
        disable_h2c.DisableH2C(),
        proxyserver.Proxyserver(),
        dns_resolver.DnsResolver(),
        next_layer.NextLayer(),
        tlsconfig.TlsConfig(),
    )
    master.options.update(listen_host="127.0.0.1", listen_port=0, ssl_insecure=True, confdir=sys.argv[2])
    if "stream" in sys.argv:
        master.options.update(stream_large_bodies="1m")
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, master.shutdown)

    async def announce() -> None:
        server = master.addons.get("proxyserver")
        while not server.listen_addrs():
            await asyncio.sleep(0.02)
        Path(sys.argv[1]).write_text(str(server.listen_addrs()[0][1]))

    task = asyncio.create_task(announce())
    await master.run()
    await task


if __name__ == "__main__":
    asyncio.run(main())
