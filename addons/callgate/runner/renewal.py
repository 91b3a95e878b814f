"""A session kept alive in the background with fresh tokens."""

from __future__ import annotations

import threading
import time

from callgate.runner.errors import RunnerError
from callgate.runner.gateway import Gateway, GatewayRefused
from callgate.runner.sources import Source

_RETRY = 10.0


class Renewal:
    """Renews the session of `handle` whenever a third of its lease is left. What went wrong is in `notes`."""

    def __init__(self, gateway: Gateway, source: Source, handle: str, token: str, expires_in: float) -> None:
        self.notes: list[str] = []
        self._gateway = gateway
        self._source = source
        self._handle = handle
        self._token = token
        self._expires_in = expires_in
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="callgate-renewal", daemon=True)

    def start(self) -> None:
        """Begin, if the source can give fresh tokens."""
        if self._source.renewable:
            self._thread.start()

    def stop(self) -> None:
        """End; a renewal under way is not waited for."""
        self._stop.set()

    def _run(self) -> None:
        ends = time.monotonic() + self._expires_in
        pause = self._expires_in * 2 / 3
        while not self._stop.wait(max(1.0, pause)):
            try:
                token = self._source.read()
                if token == self._token:  # a projected file that has not been rewritten yet
                    pause = _RETRY
                    continue
                lease = float(self._gateway.renew_session(self._handle, token).get("expires_in", 0))
                self._token = token
                ends = time.monotonic() + lease
                pause = lease * 2 / 3
            except RunnerError as error:
                final = isinstance(error, GatewayRefused) and error.status == 403
                if final or time.monotonic() > ends:
                    self.notes.append(f"the session was not renewed: {error}")
                    return
                pause = _RETRY
