"""Opening the rooms of the gateway from its settings, and closing them again."""

from __future__ import annotations

import contextlib
import json
import stat
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy import flow

from callgate import __version__
from callgate.approvals import Door, Holds, Webhooks
from callgate.aws import Endpoints, Limits
from callgate.call import Refusal
from callgate.channel import HeadLimits, parse_ranges
from callgate.hooks.bounds import Bounds
from callgate.hooks.gateway import Gateway, Terms, Upstream, Watch
from callgate.hooks.memory import Memory
from callgate.identity import Authenticator
from callgate.journal import Record
from callgate.ledger import Ledger, LedgerError, Signer
from callgate.policy import RuleError
from callgate.serve import secrets
from callgate.serve.config import ConfigError, Settings, split_endpoint
from callgate.serve.rules_file import RulesInForce


@dataclass(frozen=True, slots=True)
class StateFolder:
    """Where things lie in the state folder."""

    path: Path

    @property
    def ca(self) -> Path:
        """mitmproxy's `confdir`: the certificate authority."""
        return self.path / "ca"

    @property
    def ledger_key(self) -> Path:
        """The Ed25519 key that signs checkpoints."""
        return self.path / "keys" / "ledger.key"

    @property
    def mask_key(self) -> Path:
        """The key of the hashes that stand for what is not stored."""
        return self.path / "keys" / "mask.key"

    @property
    def admin_socket(self) -> Path:
        """The Unix socket of operators."""
        return self.path / "admin.sock"

    @property
    def running(self) -> Path:
        """What the running gateway says of itself: its process id and addresses."""
        return self.path / "gateway.json"


@dataclass(slots=True, kw_only=True)
class Rooms:
    """The open rooms, and the gateway that the hooks see of them."""

    settings: Settings
    state: StateFolder
    ledger: Ledger
    authenticator: Authenticator
    holds: Holds
    door: Door
    webhooks: Webhooks
    rules: RulesInForce
    gateway: Gateway

    async def start(self) -> None:
        """Bring back what the log says of sessions and holds."""
        await self.authenticator.start()
        self.webhooks.start(self.holds.subscribe())
        for attempt in await self.holds.start():
            self.ledger.append_soon(self._lost(attempt))
        self.door.start()
        started = {"version": __version__, "origin": self.settings.ledger.origin, "mode": self.settings.mode}
        await self.ledger.append(Record("gateway.started", started))

    async def close(self) -> None:
        """Close everything; the log gets its signed head last."""
        await self.authenticator.close()
        await self.door.close()
        await self.webhooks.close()
        self.gateway.mask_worker.close()
        await self.ledger.append(Record("gateway.stopped", {"reason": "stopped"}))
        await self.ledger.close()

    def _lost(self, attempt: Mapping[str, Any]) -> Record:
        """The terminal entry of a call that waited when the last gateway ended."""
        body: dict[str, Any] = {
            "result": "refused",
            "reason": "gateway-restarted",
            "message": "The gateway was restarted while the call was held.",
            "statusCode": 503,
            "holdId": attempt["holdId"],
        }
        # A hold that ended long ago is no longer in memory.
        with contextlib.suppress(Refusal):
            hold = self.holds.show(attempt["holdId"])
            who = {key: hold[key] for key in ("principalId", "issuer", "sessionId")}
            body |= {"service": hold["service"], "eventName": hold["operation"], "awsRegion": hold["region"]}
            body |= {"userIdentity": who, "resources": hold["resources"]}
        return Record("call.refused", body, subject=attempt["attemptId"], step="end")

    def health(self) -> dict[str, Any]:
        """What `/healthz` says: whether calls can pass, and if not, why."""
        ledger = self.ledger.health()
        reason = ledger.reason or self.gateway.foreign() or self.gateway.closed
        return {
            "ok": reason is None,
            "reason": reason,
            "version": __version__,
            "mode": self.settings.mode,
            "ledger": {
                "ok": ledger.ok,
                "entries": ledger.size,
                "checkpoint": ledger.checkpoint_size,
                "checkpointTime": ledger.checkpoint_time,
                "alarms": list(ledger.alarms),
            },
            "memory": {"kept": self.gateway.memory.kept},
            "rules": {"digest": self.rules().digest, "rules": len(self.rules()), "error": self.rules.error},
        }

    def refusals(self, session: str) -> list[dict[str, Any]]:
        """The refused calls of one session, oldest first, for the runner's summary."""
        rows = self.ledger.query(
            "select callId, eventName, reason, message, resources from calls"
            " where sessionId = ? and result in ('refused', 'blocked') order by seq limit 200",
            (session,),
        )
        return [{**row, "resources": json.loads(row["resources"] or "[]")} for row in rows]


def open_rooms(settings: Settings, show: Callable[[flow.Flow], Awaitable[None]], *, watched: Watch) -> Rooms:
    """Open everything that can be opened without waiting; `show` is the hooks'. Raises ConfigError with one
    line.
    """
    state = StateFolder(settings.state)
    if not state.path.is_dir():
        raise ConfigError(f"{state.path}: there is no such state folder; `callgate init DIR` makes one")
    for folder in (state.path, state.ca, state.ledger_key.parent):
        secrets.check_unwritable(folder)
    for place in settings.rules:
        secrets.check_unwritable(place, others=stat.S_IWOTH)
    secrets.check_private(secrets.ca_key(state.ca))
    for file in (settings.admin.key, *_files_with_secrets(settings)):
        if file is not None and file.exists():
            secrets.check_private(file)
    mask_key = secrets.read_mask_key(state.mask_key)
    try:
        rules = RulesInForce(settings.rules)
    except RuleError as exc:
        raise ConfigError(str(exc)) from None
    try:
        ledger = Ledger.open(
            state.path,
            signer=Signer.load(state.ledger_key),
            origin=settings.ledger.origin,
            checkpoint_every=settings.ledger.checkpoint_every,
            checkpoint_entries=settings.ledger.checkpoint_entries,
            keepers=[place.keeper() for place in settings.ledger.keep],
        )
    except LedgerError as exc:
        raise ConfigError(str(exc)) from None
    authenticator = Authenticator(settings.identity, ledger, clock=time.time)
    holds = Holds(settings.approvals, ledger, clock=time.time)
    limits = settings.limits
    gateway = Gateway(
        authenticator=authenticator,
        journal=ledger,
        holds=holds,
        rules=rules,
        health=lambda: rooms.health(),
        refusals=lambda session: rooms.refusals(session),
        show=show,
        endpoints=Endpoints.parse(settings.aws.hosts),
        mask_key=mask_key,
        memory=Memory(limits.memory, limits.session_memory),
        terms=Terms(
            mode=settings.mode,
            help=settings.help,
            stage_seconds=limits.stage,
            bounds=Bounds(
                head=HeadLimits(limits.head_size, limits.head_fields),
                head_seconds=limits.head_time,
                body_seconds=limits.body_time,
                handshake_seconds=limits.handshake,
                linger_seconds=limits.linger,
                connections=limits.connections,
                session_connections=limits.session_connections,
                request_body=limits.request_body,
                response_body=limits.masked_response,
            ),
            reading=Limits(limits.decoded_body, limits.depth, limits.parameters),
            mask_limit=limits.masked_response,
            hold_body=limits.hold_body,
            upstream=Upstream(*split_endpoint(endpoint)) if (endpoint := settings.aws.endpoint) else None,
            private_ranges=parse_ranges(settings.aws.private_ranges),
            plaintext=settings.proxy.plaintext,
            resume_groups=settings.approvals.resume_groups,
            watched=watched,
            ca_file=secrets.ca_certificate(state.ca),
        ),
    )
    rooms = Rooms(
        settings=settings,
        state=state,
        ledger=ledger,
        authenticator=authenticator,
        holds=holds,
        door=Door(settings.approvals, clock=time.time),
        webhooks=Webhooks(settings.approvals.webhooks, clock=time.time),
        rules=rules,
        gateway=gateway,
    )
    return rooms


def _files_with_secrets(settings: Settings) -> Iterator[Path | None]:
    for webhook in settings.approvals.webhooks:
        yield from (webhook.url_file, webhook.key_file)
