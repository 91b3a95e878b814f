"""The listener of operators and approvers: a Unix socket (0600) in the state folder, and TCP with TLS where
configured.

It is a server of its own, which the proxy port cannot reach: destinations are public host names on port 443
only.
"""

from __future__ import annotations

import json
import pwd
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Any

from tornado import httpserver, netutil, web
from tornado.iostream import StreamClosedError

from callgate.approvals import Person, api, local_person
from callgate.call import Refusal
from callgate.serve.config import ConfigError, split_address

if TYPE_CHECKING:
    from callgate.serve.rooms import Rooms

_BODY = 64 * 1024


class AdminServer:
    """Serves the admin API of the open rooms."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._servers: list[httpserver.HTTPServer] = []
        self.address: str | None = None

    async def start(self) -> None:
        """Open the listeners. Raises ConfigError or OSError."""
        application = web.Application(
            [(r"/v1/events", _Events, {"rooms": self._rooms}), (r"/.*", _Api, {"rooms": self._rooms})]
        )
        local = httpserver.HTTPServer(application, max_body_size=_BODY)
        local.add_socket(netutil.bind_unix_socket(str(self._rooms.state.admin_socket), mode=0o600))
        self._servers.append(local)
        settings = self._rooms.settings.admin
        if settings.listen is None or settings.certificate is None:
            return
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(settings.certificate, settings.key)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"admin.certificate: {settings.certificate}: {exc}") from None
        remote = httpserver.HTTPServer(application, ssl_options=context, max_body_size=_BODY)
        host, port = split_address(settings.listen)
        sockets = netutil.bind_sockets(port, host)
        remote.add_sockets(sockets)
        self.address = "{}:{}".format(*sockets[0].getsockname()[:2])
        self._servers.append(remote)

    async def close(self) -> None:
        """Close the listeners and their connections."""
        for server in self._servers:
            server.stop()
            await server.close_all_connections()
        self._rooms.state.admin_socket.unlink(missing_ok=True)


class _Handler(web.RequestHandler):
    def initialize(self, rooms: Rooms) -> None:
        self.rooms = rooms

    def set_default_headers(self) -> None:
        self.set_header("Cache-Control", "no-store")
        self.set_header("Server", "callgate")

    async def person(self) -> Person:
        """Who asks. Raises Refusal (401)."""
        settings = self.rooms.settings.approvals
        connection = self.request.connection
        peer = connection.stream.socket if connection is not None else None  # type: ignore[attr-defined]
        if peer is not None and peer.family == socket.AF_UNIX:
            _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            try:
                user = pwd.getpwuid(uid).pw_name
            except KeyError:
                user = str(uid)
            return local_person(settings, user)
        values = self.request.headers.get_list("Authorization")
        if len(values) != 1 or not values[0].startswith("Bearer "):
            raise Refusal("not-authenticated", "A bearer token of an approver is needed.", status=401)
        return await self.rooms.door.bearer(values[0].removeprefix("Bearer "))

    def send_json(self, status: int, body: Any) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body) + "\n")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        # A traceback could quote what it choked on.
        self.send_json(
            status_code, {"error": "internal", "message": "The request failed; the gateway's log says where."}
        )


class _Api(_Handler):
    async def get(self) -> None:
        await self._answer()

    async def post(self) -> None:
        await self._answer()

    async def delete(self) -> None:
        await self._answer()

    async def _answer(self) -> None:
        method, path = self.request.method or "", self.request.path
        if (method, path) == ("GET", "/healthz"):
            health = self.rooms.health()
            self.send_json(200 if health["ok"] else 503, health)
            return
        try:
            person = await self.person()
            body = json.loads(self.request.body) if self.request.body else {}
            if not isinstance(body, dict):
                raise ValueError
            if path.startswith("/v1/sessions"):
                status, answer = await self._sessions(method, path, person)
            elif (method, path) == ("POST", "/v1/rules/reload"):
                self.rooms.rules.reload_soon()
                status, answer = 202, {}
            else:
                status, answer = await api.handle(
                    method, self.request.uri or path, body, person, self.rooms.holds, self.rooms.webhooks
                )
        except Refusal as refusal:
            status, answer = refusal.status, {"error": refusal.code, "message": refusal.detail}
        except (ValueError, RecursionError):
            status, answer = 400, {"error": "bad-request", "message": "The body is not a JSON object."}
        self.send_json(status, answer)

    async def _sessions(self, method: str, path: str, person: Person) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        match method, parts:
            case "GET", ["v1", "sessions"]:
                return 200, {"sessions": self.rooms.authenticator.sessions()}
            case "DELETE", ["v1", "sessions", session]:
                return 200, await self.rooms.authenticator.revoke(session, person.name)
        return 404, {"error": "not-found", "message": "There is no such route."}


class _Events(_Handler):
    async def get(self) -> None:
        try:
            await self.person()
        except Refusal as refusal:
            self.send_json(refusal.status, {"error": refusal.code, "message": refusal.detail})
            return
        self.set_header("Content-Type", "application/jsonl")
        try:
            await self.flush()
            async for event in self.rooms.holds.subscribe():
                self.write(json.dumps(event) + "\n")
                await self.flush()
        except StreamClosedError:
            return
