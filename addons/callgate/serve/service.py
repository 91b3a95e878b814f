"""The gateway in a mitmproxy master: registered once, started with it, drained and closed with it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import json
import logging
import os
import signal
import stat
import sys
from pathlib import Path
from typing import NoReturn

from mitmproxy import connection, exceptions
from mitmproxy.hooks import UpdateHook
from mitmproxy.master import Master

from callgate.hooks import resolve
from callgate.hooks.bundle import Bundle
from callgate.hooks.gateway import Watch
from callgate.hooks.guard import LastLine
from callgate.serve import options, quiet_log, secrets
from callgate.serve.admin import AdminServer
from callgate.serve.config import ConfigError, load_settings
from callgate.serve.rooms import Rooms, open_rooms

log = logging.getLogger(__name__)
_STOCK_LISTENER = logging.getLogger("mitmproxy.addons.proxyserver")


class Service(Bundle):
    """The bundle with its lifecycle."""

    def __init__(self, master: Master, rooms: Rooms) -> None:
        super().__init__(rooms.gateway, lambda: master.addons.get("proxyserver").connections)
        self.master = master
        self.rooms = rooms
        self.admin = AdminServer(rooms)
        rooms.authenticator.on_revoked(self.cut)
        self.started = False
        self.scripts: tuple[str, ...] = ()
        self.watching: asyncio.Task[None] | None = None
        # Each stage of a hook has its own time, and the longest waits for people as well.
        last = LastLine(3 * rooms.gateway.terms.stage_seconds + rooms.settings.approvals.attempt)
        for name, _ in inspect.getmembers(Bundle, inspect.iscoroutinefunction):
            if not name.startswith("_"):
                setattr(self, name, last.bounded(getattr(self, name)))

    def judge_options(self, updated: set[str]) -> None:
        """Raises OptionsError, and so takes back, any change of an option that would open the gateway."""
        problem = options.unsafe_option(self.master.options, live=True)
        if self.started:
            problem = problem or options.changed_live(self.master.options, updated, self.scripts)
        if problem := problem or options.foreign_addon(self.master.addons):
            raise exceptions.OptionsError(f"callgate: {problem}")

    async def running(self) -> None:
        """The proxy port is open: open the rest. Until then every hook refuses."""
        if problem := options.foreign_addon(self.master.addons):
            fail(ConfigError(problem))
        # A name that is not found is to be refused as such, not as a stage that took too long.
        seconds = 0.8 * self.gateway.terms.stage_seconds
        resolve.install(asyncio.get_running_loop(), seconds)
        await self._listen()
        try:
            await self.rooms.start()
            await self.admin.start()
        except (ConfigError, OSError) as exc:
            fail(exc)
        self.watching = asyncio.create_task(self.rooms.rules.watch(self.gateway.note))
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.rooms.rules.reload_soon)
        if self.master.addons.get("scriptloader"):
            self.scripts = tuple(self.master.options.scripts)
            self.gateway.foreign = options.AddonWatch(self.master.addons)
        self.started = True
        self.gateway.closed = None
        # What start-up made stays: the collector need not walk it again for every few hundred requests.
        gc.collect()
        gc.freeze()
        self._announce()

    async def done(self) -> None:
        """No new calls; those that run may end within `drain`; the log gets its signed head."""
        if not self.started:
            return
        self.gateway.closed = "stopping"
        self.early.flush()
        await self.rooms.holds.close()
        try:
            async with asyncio.timeout(self.rooms.settings.drain):
                while self.exchanges:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log.warning("callgate: %d calls did not end within drain", len(self.exchanges))
        if self.watching:
            self.watching.cancel()
        await self.admin.close()
        await self.rooms.close()
        self.rooms.state.running.unlink(missing_ok=True)

    def cut(self, session: str) -> None:
        """Close every connection of a session; what it holds is not released."""
        for client_id, known in list(self.connections.items()):
            if known.identity.session == session:
                self.clients.cut(client_id)

    async def client_disconnected(self, client: connection.Client) -> None:
        """Also closes the socket where mitmproxy leaves it open.

        It does when it closes a connection while the next piece of data waits for its turn.
        """
        await super().client_disconnected(client)
        handler = self.master.addons.get("proxyserver").connections.get(client.id)
        io = handler.transports.pop(client, None) if handler else None
        if io is not None and io.writer is not None:
            io.writer.close()

    async def _listen(self) -> None:
        """Open the proxy port, where mitmproxy read its options before a script could set them."""
        proxyserver = self.master.addons.get("proxyserver")
        await proxyserver.setup_servers()
        _STOCK_LISTENER.removeFilter(_is_no_error)
        for instance in proxyserver.servers:
            if not instance.is_running:
                listen = self.rooms.settings.proxy.listen
                error = instance.last_exception
                why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
                fail(ConfigError(f"proxy.listen: cannot listen on {listen}: {why}"))

    def _announce(self) -> None:
        host, port = self.master.addons.get("proxyserver").listen_addrs()[0][:2]
        said = {"pid": os.getpid(), "proxy": f"{host}:{port}", "admin": str(self.rooms.state.admin_socket)}
        self.rooms.state.running.write_text(json.dumps(said))
        for issuer in self.rooms.settings.identity.issuers:
            if issuer.is_open:
                log.warning(
                    "callgate: identity.issuer %s has no `require`: anybody's jobs get in", issuer.name
                )
        log.info("callgate: ready on %s", said["proxy"])


class OptionGuard:
    """Stands before all other addons, so that an option is refused before any of them acts on it."""

    name = "callgate_options"

    def __init__(self, service: Service) -> None:
        self.service = service

    def configure(self, updated: set[str]) -> None:
        """An option was changed; it is changed back where this raises OptionsError."""
        self.service.judge_options(updated)


def register(master: Master, config: Path | None = None, *, watched: Watch | None = None) -> None:
    """Put the gateway into `master`, once; `watched` as master and addons have it, if not said. A
    configuration that cannot be used ends the process with status 2.
    """
    if master.addons.get(Service.name):
        return
    quiet_log.install()
    if "callgate_config" not in master.options:
        master.options.add_option("callgate_config", str, "callgate.toml", "Callgate's configuration file.")
        master.options.process_deferred()
    try:
        config = config or Path(master.options.callgate_config)
        settings = load_settings(config)
        secrets.check_unwritable(config, others=stat.S_IWOTH)
        if problem := options.unsafe_option(master.options, live=False):
            raise ConfigError(problem)
        rooms = open_rooms(
            settings,
            lambda flow: master.addons.trigger_event(UpdateHook([flow])),
            # mitmweb's list is an addon of this name; without it, flows are printed when they have ended.
            watched=watched or ("at its end" if master.addons.get("view") is None else "live"),
        )
    except ConfigError as exc:
        fail(exc)
    trusted = {"ssl_verify_upstream_trusted_ca": str(settings.aws.ca)} if settings.aws.ca else {}
    mode = [f"regular@{settings.proxy.listen}"]
    _STOCK_LISTENER.addFilter(_is_no_error)
    options.set_options(master.options, mode=mode, confdir=str(rooms.state.ca), **trusted)
    # Ours alone chooses layers: if it failed, mitmproxy's own choice would stand.
    if stock := master.addons.get("nextlayer"):
        master.addons.remove(stock)
    service = Service(master, rooms)
    master.addons.add(service)
    master.addons.chain.insert(0, master.addons.register(OptionGuard(service)))


def _is_no_error(record: logging.LogRecord) -> bool:
    """Drops mitmproxy's errors about its own default listener, which the configured one replaces."""
    return record.levelno < logging.ERROR


def fail(error: Exception) -> NoReturn:
    """End the process with one line and status 2."""
    print(f"callgate: {error}", file=sys.stderr)
    sys.exit(2)
