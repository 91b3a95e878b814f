"""What the hooks work with: the rooms of the gateway, opened and wired, as one value."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mitmproxy import flow

from callgate.approvals import Holds
from callgate.aws import Endpoints, Limits
from callgate.call import Refusal
from callgate.channel import Network
from callgate.decision import Mode
from callgate.hooks.bounds import Bounds
from callgate.hooks.memory import Memory
from callgate.identity import Authenticator
from callgate.journal import Journal, Record, StepTaken
from callgate.masking import MaskWorker
from callgate.policy import RuleSet

log = logging.getLogger(__name__)


Watch = Literal["never", "at its end", "live"]
"""When others than the gateway look at a flow: nobody, mitmdump's log, mitmweb's list."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where AWS's hosts are really connected to, when something stands in for AWS."""

    scheme: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The settings that hooks need. Times in seconds, sizes in bytes."""

    mode: Mode = "enforce"
    help: str | None = None
    stage_seconds: float = 10.0
    bounds: Bounds = Bounds()
    reading: Limits = Limits()
    mask_limit: int = 4_000_000
    hold_body: int = 1_000_000
    upstream: Upstream | None = None
    private_ranges: tuple[Network, ...] = ()
    plaintext: bool = False
    resume_groups: tuple[str, ...] = ()
    watched: Watch = "live"
    ca_file: Path = Path("ca.pem")


@dataclass(slots=True, kw_only=True)
class Gateway:
    """The open rooms. `rules` gives the rule set in force; `mask_key` keys the hashes of what is not stored.

    `show` tells mitmweb that a flow has changed. `foreign` names an addon that must not be there.
    `closed` says why no call is let through at all: it starts so, and ends so.
    """

    authenticator: Authenticator
    journal: Journal
    holds: Holds
    rules: Callable[[], RuleSet]
    health: Callable[[], dict[str, object]]
    refusals: Callable[[str], list[dict[str, object]]]
    show: Callable[[flow.Flow], Awaitable[None]]
    endpoints: Endpoints
    mask_key: bytes = field(repr=False)
    terms: Terms
    memory: Memory
    mask_worker: MaskWorker = field(default_factory=MaskWorker)
    closed: str | None = "starting"
    foreign: Callable[[], str | None] = lambda: None

    def check_open(self) -> None:
        """Raises Refusal (503) while the gateway starts or stops."""
        if self.foreign():
            raise Refusal(
                "foreign-addon", "An addon that is not Callgate's would see this request.", status=503
            )
        if self.closed:
            raise Refusal("gateway-closed", f"The gateway is {self.closed}.", status=503, retryable=True)

    async def note(self, record: Record) -> None:
        """Append a record whose failure must not change what the client gets; a failure is an alarm in the
        log.
        """
        try:
            async with asyncio.timeout(self.terms.stage_seconds):
                await self.journal.append(record)
        except StepTaken:
            log.error("callgate: %s of %s was recorded already", record.kind, record.subject)
        except Refusal as refusal:
            log.error("callgate: ALARM %s could not be recorded: %s", record.kind, refusal)
        except (Exception, asyncio.CancelledError) as exc:
            log.error("callgate: ALARM %s could not be recorded: %s", record.kind, type(exc).__name__)
            if (task := asyncio.current_task()) and task.cancelling():
                raise


def new_call_id() -> str:
    """A call id: `cg-` and 96 random bits in hex."""
    return f"cg-{os.urandom(12).hex()}"
