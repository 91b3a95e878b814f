"""A world to try holds in: a loop whose time jumps to the next timer, a journal in memory, people, jobs."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from callgate.approvals import ApprovalSettings, Attempt, Holds, Person, Ticket
from callgate.call import Call, Need, Refusal
from callgate.decision import HoldTerms
from callgate.identity import Identity
from callgate.journal import Entry, Record, StepTaken

EPOCH = 1_800_000_000.0


class _Jump(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, the clock is moved there."""

    jumped = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.jumped += timeout
        elif not ready and timeout is None:
            raise AssertionError("everybody waits and no timer is set: a deadlock")
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour takes no time."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.jumped


def run[T](main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in a loop whose time jumps."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)


def now() -> float:
    """The wall clock of the jumping loop."""
    return EPOCH + asyncio.get_running_loop().time()


class MemoryJournal:
    """What the ledger promises, in memory: atomic, unique by (subject, step), slow enough to interleave."""

    def __init__(self, clock: Callable[[], float] = now) -> None:
        self.entries: list[Entry] = []
        self.steps: set[tuple[str | None, str | None]] = set()
        self.failing = False
        self.clock = clock

    async def append(self, *records: Record) -> list[Entry]:
        await asyncio.sleep(0)
        if self.failing:
            raise Refusal("ledger-unavailable", "the disk is full", status=503)
        steps = [(record.subject, record.step) for record in records if record.subject]
        if len(set(steps)) < len(steps) or not self.steps.isdisjoint(steps):
            raise StepTaken
        self.steps.update(steps)
        time = self.clock()
        new = [
            Entry(len(self.entries) + n, time, r.kind, r.subject, r.step, r.body, b"")
            for n, r in enumerate(records)
        ]
        self.entries += new
        await asyncio.sleep(0.001)
        return new

    def last_entries(self, kinds: Sequence[str]) -> Iterator[Entry]:
        last: dict[str | None, Entry] = {}
        for entry in self.entries:
            if entry.kind in kinds and entry.subject is not None:
                last[entry.subject] = entry
        return iter(sorted(last.values(), key=lambda entry: entry.seq))

    def kinds(self, subject: str | None = None) -> list[str]:
        return [entry.kind for entry in self.entries if subject in (None, entry.subject)]


TERMS = HoldTerms("prod-delete", ("oncall",), 1, 900.0)
ALICE = Person("alice", frozenset({"oncall"}), "token", frozenset({"alice-gh"}))
BOB = Person("bob", frozenset({"oncall", "security"}), "token")
CAROL = Person("carol", frozenset({"security"}), "token")
DAVE = Person("dave", frozenset({"cooks"}), "token")


def identity(actor: str = "erin", principal: str = "github:acme/infra") -> Identity:
    return Identity(
        issuer="github",
        issuer_url="https://token.actions.githubusercontent.com",
        subject="repo:acme/infra",
        principal_id=principal,
        session="session-1",
        expires_at=EPOCH + 3600,
        token_id="t",
        claims={"actor": actor},
    )


def call(key: str = "k", **more: Any) -> Call:
    return Call(
        service="s3",
        operation="DeleteObject",
        candidates=(("s3", "DeleteObject"),),
        protocol="rest-xml",
        region="eu-central-1",
        parameters={"Bucket": "b", "Key": key},
        needs=(Need("s3:DeleteObject", f"arn:aws:s3:::b/{key}", "s3:DeleteObject"),),
        **more,
    )


class World:
    """One gateway's holds, and what its upstream saw."""

    def __init__(
        self, journal: MemoryJournal | None = None, *, clock: Callable[[], float] = now, **settings: Any
    ) -> None:
        self.journal = journal or MemoryJournal()
        self.settings = ApprovalSettings(**settings)
        self.holds = Holds(self.settings, self.journal, clock=clock)
        self.executed: list[str] = []
        self._calls = 0

    def attempt(self, *, actor: str = "erin", key: str = "k", **more: Any) -> Attempt:
        self._calls += 1
        filled: dict[str, Any] = {
            "call_id": f"call-{len(self.journal.entries)}-{self._calls}",
            "identity": identity(actor),
            "call": call(key),
            "terms": (TERMS,),
            "summary": {"reason": "Deleting in prod takes a second person."},
        }
        return Attempt(**{**filled, **more})

    async def call(
        self, attempt: Attempt, gone: Callable[[], bool] = lambda: False, executed: bool | None = True
    ) -> Ticket:
        """What the hooks do with a held call."""
        ticket = await self.holds.wait(attempt, gone)
        try:
            await self.journal.append(ticket.used(), Record("call.intent", {}, attempt.call_id, "intent"))
        except StepTaken:
            await self.holds.settle(ticket, None)
            raise Refusal("hold-taken", "the approval is gone") from None
        if executed is not False:
            self.executed.append(attempt.call.parameters["Key"])
        await asyncio.sleep(0.05)
        await self.holds.settle(ticket, executed)
        return ticket

    def start(self, attempt: Attempt, **more: Any) -> asyncio.Task[Ticket]:
        return asyncio.get_running_loop().create_task(self.call(attempt, **more))

    async def pending(self, count: int = 1) -> list[str]:
        """Ids of the pending holds, once there are `count`."""
        while len(found := self.holds.list("pending")) < count:
            await asyncio.sleep(0.01)
        return [each["id"] for each in found]


async def refusal(task: asyncio.Task[Any] | Coroutine[Any, Any, Any]) -> Refusal:
    """The refusal that it ends with."""
    try:
        result = await task
    except Refusal as refused:
        return refused
    raise AssertionError(f"passed: {result!r}")
