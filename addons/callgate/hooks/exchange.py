"""One request and what became of it, from its head to its terminal entry in the ledger."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Literal

from callgate.approvals import Ticket
from callgate.call import Call, HttpRequest, Refusal
from callgate.channel import Destination
from callgate.decision import Decision
from callgate.hooks.digest import Digest
from callgate.identity import Identity
from callgate.masking import StreamMasker

# Enough of an error body to find its code; the rest of a streamed body is only hashed.
_KEEP = 4096


@dataclass(slots=True)
class Connection:
    """What CONNECT established for one client connection: to whom, for whom, and how it is read.

    `resolved`: its name has been seen to lead only where it may.
    """

    destination: Destination
    identity: Identity
    kind: Literal["aws", "inspect", "tunnel"]
    credential_digest: bytes
    exchange: Exchange | None = None
    resolved: bool = False


@dataclass(slots=True, kw_only=True)
class Exchange:
    """The state of one call.

    `judging`: a hook is at work on it. `forwarded`: its intent is in the ledger and the gate open.
    `withheld`: why its response does not go back. `ended`: its terminal entry is on its way to the ledger.
    """

    call_id: str
    flow_id: str = ""
    source_ip: str
    identity: Identity | None
    host: str
    started: float = field(default_factory=time.monotonic)
    request: HttpRequest | None = None
    call: Call | None = None
    decision: Decision | None = None
    ticket: Ticket | None = None
    judging: bool = False
    forwarded: bool = False
    withheld: Refusal | None = None
    ended: bool = False
    sent: int = 0
    received: int = 0
    digest: Digest = field(default_factory=Digest)
    head: bytes = b""
    masker: StreamMasker | None = None
    is_masked: bool = False
    masked: tuple[str, ...] = ()

    def count_sent(self, chunk: bytes) -> bytes:
        """Passes a chunk of a streamed request body on."""
        self.sent += len(chunk)
        return chunk

    def pass_back(self, chunk: bytes) -> list[bytes]:
        """Passes a chunk of a streamed response body on (empty at its end), masked where it must be.

        What is held back until more of it comes is no chunk: an empty one would end the body (RFC 9112, 7.1).
        """
        self.received += len(chunk)
        if self.masker is not None:
            try:
                chunk = self.masker.feed(chunk) if chunk else self.masker.finish()
            except Refusal as refusal:
                # The layers close both connections; how the call ended is this.
                self.withheld = refusal
                raise
        if len(self.head) < _KEEP:
            self.head += chunk[:_KEEP]
        self.digest.update(chunk)
        return [chunk] if chunk else []

    @property
    def duration_ms(self) -> int:
        """Milliseconds since the head came in."""
        return round((time.monotonic() - self.started) * 1000)
