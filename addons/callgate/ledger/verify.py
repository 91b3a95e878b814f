"""Is the log what was signed? Checks files offline, with public keys and checkpoints kept elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from callgate.journal import Entry
from callgate.ledger import schema
from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.diagnose import Finding, RawRow, explain_range, explain_row
from callgate.ledger.entries import parse_entry
from callgate.ledger.errors import LedgerError
from callgate.ledger.integrity import BROKEN, Integrity, check_reach, open_raw
from callgate.ledger.signer import NoteError, PublicKey
from callgate.ledger.tree import Frontier, ProofError

Progress = Callable[[int, int], None]
"""Called now and then with the number of entries checked and the number there are."""

_STEP = 4096


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check came to: entries `first` to `size - 1` were read, checkpoints cover those below `signed`.

    `findings` are what is wrong, the first entry first; `notes` are what a reader should know besides.
    """

    origin: str | None
    first: int
    size: int
    signed: int
    checkpoints: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def verify(
    paths: Sequence[Path],
    keys: Sequence[PublicKey],
    *,
    kept: Mapping[str, str] | None = None,
    live: bool = False,
    progress: Progress = lambda done, size: None,
) -> Verdict:
    """Check the log in `paths` (archives and the ledger, in any order) against what `keys` signed.

    `kept` are checkpoint notes from elsewhere, by where they come from: they show truncation and forks.
    `live` says that a gateway is writing, so that entries after the last checkpoint are no finding.
    Raises LedgerError if it cannot be checked at all.
    """
    elsewhere = _read_kept(kept or {}, keys)
    with contextlib.ExitStack() as stack:
        databases = [stack.enter_context(contextlib.closing(open_raw(path))) for path in paths]
        integrity = stack.enter_context(Integrity(paths))
        check = _Check(databases, keys, elsewhere, live=live, progress=progress)
        try:
            check.run()
        except BROKEN as error:
            check.cannot_read(error)
        return check.verdict(integrity.findings())


@dataclass(slots=True)
class _Check:
    databases: Sequence[sqlite3.Connection]
    keys: Sequence[PublicKey]
    elsewhere: Sequence[tuple[str, Checkpoint]]
    live: bool
    progress: Progress
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    signed: dict[int, Checkpoint] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)
    tree: Frontier = field(default_factory=Frontier)
    first: int = 0
    good: int = 0

    def run(self) -> None:
        if not self._schema_is_ours():
            return
        self._read_checkpoints()
        self._find_start()
        if self._walk():
            self._judge_start()
            self._judge_checkpoints()
            self._judge_tail()

    def verdict(self, integrity: Sequence[Finding]) -> Verdict:
        origins = {checkpoint.origin for checkpoint in self.signed.values()}
        if len(origins) > 1:
            self.findings.append(
                Finding("forked", None, f"checkpoints name several logs: {', '.join(origins)}")
            )
        return Verdict(
            origin=min(origins, default=None),
            first=self.first,
            size=self.tree.size,
            signed=self.good,
            checkpoints=len(self.signed),
            findings=(*self.findings, *integrity),
            notes=tuple(self.notes),
        )

    def cannot_read(self, error: Exception) -> None:
        check_reach(error)
        where = self.tree.size
        self.findings.append(
            Finding("damaged", where, f"SQLite cannot read the file at entry {where}: {error}")
        )

    def _schema_is_ours(self) -> bool:
        for database in self.databases:
            for difference in schema.differences(database):
                self.findings.append(Finding("altered schema", None, difference))
        return not any(finding.text.startswith(("entries ", "checkpoints ")) for finding in self.findings)

    def _read_checkpoints(self) -> None:
        for database in self.databases:
            for size, note in database.execute("SELECT size, note FROM checkpoints ORDER BY size"):
                try:
                    checkpoint = Checkpoint.verified(note.decode(), self.keys)
                except (NoteError, ValueError, AttributeError) as error:
                    self._forged(size, f"the checkpoint over {size} entries cannot be trusted: {error}")
                else:
                    if checkpoint.size == size:
                        self.signed[size] = checkpoint
                    else:
                        self._forged(size, f"the checkpoint over {size} entries speaks of {checkpoint.size}")

    def _forged(self, size: int, text: str) -> None:
        self.findings.append(Finding("edited", size, text))

    def _find_start(self) -> None:
        # Given in another order, an archive would go unread.
        self.databases = sorted(self.databases, key=_beginning)
        (first,) = self.databases[0].execute("SELECT min(seq) FROM entries").fetchone()
        if not first:
            return
        sql = "SELECT frontier FROM checkpoints WHERE size = ?"
        frontier = self.databases[0].execute(sql, (first,)).fetchone()
        try:
            tree = Frontier.from_bytes(first, frontier[0])
        except (TypeError, ProofError):
            tree = None
        if tree is None or first not in self.signed or self.signed[first].root != tree.root():
            return  # The walk finds entry 0 missing.
        self.tree, self.first, self.good = tree, first, first
        self.roots[first] = tree.root()

    def _rows(self, start: int) -> Iterator[RawRow]:
        sql = "SELECT seq, entry, leaf FROM entries WHERE seq >= ? ORDER BY seq"
        return itertools.chain.from_iterable(database.execute(sql, (start,)) for database in self.databases)

    def _walk(self) -> bool:
        """Hash every entry and compare the tree with each checkpoint; False at the first that is wrong."""
        tree, sha256 = self.tree, hashlib.sha256
        sizes = {*self.signed, *(checkpoint.size for _, checkpoint in self.elsewhere)}
        stops = iter(sorted(size for size in sizes if size > tree.size))
        stop = next(stops, -1)
        (last,) = self.databases[-1].execute("SELECT max(seq) FROM entries").fetchone()
        for row in self._rows(tree.size):
            seq, entry, leaf = row
            if seq != tree.size or type(entry) is not bytes or sha256(b"\x00" + entry).digest() != leaf:
                self.findings.append(
                    explain_row(tree.size, row, self.databases)
                    or Finding("edited", tree.size, f"entry {tree.size} was changed")
                )
                return False
            tree.push(leaf)
            if tree.size == stop:
                if not self._at_checkpoint(stop):
                    return False
                stop = next(stops, -1)
            if not tree.size % _STEP:
                self.progress(tree.size, last + 1)
        self.progress(tree.size, tree.size)
        return True

    def _at_checkpoint(self, size: int) -> bool:
        root = self.roots[size] = self.tree.root()
        if size not in self.signed:
            return True
        if self.signed[size].root != root:
            self.findings.append(explain_range(self.good, size, self._rows(self.good), self.databases))
            return False
        self.good = size
        return True

    def _judge_start(self) -> None:
        if not self.first:
            return
        before = f"entries 0 to {self.first - 1}"
        if any(entry.body.get("size") == self.first for entry in self._signed("ledger.archived")):
            self.notes.append(f"{before} are archived; name the archive to check them too")
        else:
            text = f"{before} are missing, and no entry here says that they were archived; name the archive"
            self.findings.append(Finding("missing", 0, text))

    def _judge_checkpoints(self) -> None:
        size = self.tree.size
        beyond = max(self.signed, default=0)
        if beyond > size:
            self.findings.append(
                Finding("truncated", size, f"the log ends after {size} entries, but {beyond} were signed")
            )
        gaps = self._gaps()
        for where, checkpoint in self.elsewhere:
            if checkpoint.size < self.first:
                self.notes.append(f"{where}: speaks of archived entries; name the archive to compare it")
            elif any(low < checkpoint.size <= lost.size for low, lost in gaps):
                self.notes.append(
                    f"{where}: signed {checkpoint.size} entries of which a declared gap lost some"
                )
            elif checkpoint.size > size:
                text = f"the log ends after {size} entries, but {where} signs {checkpoint.size}"
                self.findings.append(Finding("truncated", size, text))
            elif checkpoint.size and self.roots[checkpoint.size] != checkpoint.root:
                text = f"{where} signs {checkpoint.size} other entries than these"
                self.findings.append(Finding("forked", checkpoint.size, text))

    def _gaps(self) -> list[tuple[int, Checkpoint]]:
        """Gaps that people declared: where the log went on, and the checkpoint that was given up."""
        gaps = []
        for entry in self._signed("ledger.gap"):
            with contextlib.suppress(NoteError):
                gaps.append((entry.body["size"], Checkpoint.verified(entry.body["checkpoint"], self.keys)))
            fault, reason = entry.body["fault"], entry.body["reason"]
            self.notes.append(f"entry {entry.seq} declares a gap: {fault} Reason given: {reason}")
        return gaps

    def _signed(self, kind: str) -> Iterator[Entry]:
        """Entries of a kind (of no call) that a checkpoint covers."""
        sql = (
            "SELECT entry FROM entries WHERE kind = ?"
            " AND kind NOT IN ('call.intent', 'call.refused', 'call.outcome') ORDER BY seq"
        )
        for database in self.databases:
            for (text,) in database.execute(sql, (kind,)).fetchall():
                entry = parse_entry(text.decode())
                if entry.seq < self.good:
                    yield entry

    def _judge_tail(self) -> None:
        start, size = self.good, self.tree.size
        for position, row in zip(range(start, size), self._rows(start), strict=False):
            if found := explain_row(position, row, self.databases):
                self.findings.append(found)
                return
        if start == size:
            return
        tail = f"{size - start} {'entry' if size - start == 1 else 'entries'} from {start} on"
        if self.live:
            self.notes.append(f"{tail} will be covered by the gateway's next checkpoint")
        else:
            self.findings.append(Finding("unsigned tail", start, f"{tail} are not covered by any checkpoint"))


def _beginning(database: sqlite3.Connection) -> float:
    (first,) = database.execute("SELECT min(seq) FROM entries").fetchone()
    return math.inf if first is None else float(first)


def _read_kept(kept: Mapping[str, str], keys: Sequence[PublicKey]) -> list[tuple[str, Checkpoint]]:
    checkpoints = []
    for where, note in kept.items():
        try:
            checkpoints.append((where, Checkpoint.verified(note, keys)))
        except NoteError as error:
            raise LedgerError(f"{where}: not a checkpoint of this log: {error}") from None
    return checkpoints
