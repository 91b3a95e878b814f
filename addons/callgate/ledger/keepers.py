"""Where checkpoints are kept outside the database, so that truncation, rollback and forks show."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from callgate.ledger.checkpoint import Checkpoint

log = logging.getLogger("callgate.ledger")

_LATE = 180.0
_RETRIES = (1.0, 5.0, 15.0, 30.0)


class KeepError(Exception):
    """A checkpoint could not be kept; the text says why."""


class Keeper(Protocol):
    """A place for checkpoints. `keep` raises OSError or KeepError, and is called again until it succeeds."""

    name: str

    def keep(self, checkpoint: Checkpoint) -> None:
        """Keep it, whole and durably."""


class FileKeeper:
    """A folder, best on another disk: each checkpoint in a file, and the newest as `checkpoint`."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def keep(self, checkpoint: Checkpoint) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_checkpoint_file(self._folder / _name(checkpoint), checkpoint.note)
        write_checkpoint_file(self._folder / "checkpoint", checkpoint.note)


class S3Keeper:
    """A bucket: each checkpoint an object; Object Lock in compliance mode protects it for `retain_days`."""

    def __init__(
        self, bucket: str, prefix: str, *, retain_days: int | None = None, client: Any = None
    ) -> None:
        self.name = f"s3://{bucket}/{prefix}"
        self._bucket = bucket
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._retain_days = retain_days
        self._client: Any = None

    def keep(self, checkpoint: Checkpoint) -> None:
        # boto3 takes half a second to load, and few need it.
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        lock: dict[str, Any] = {}
        if self._retain_days is not None:
            until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=self._retain_days)
            lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        try:
            if self._client is None:
                self._client = boto3.client("s3", config=Config(connect_timeout=5, read_timeout=10))
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + _name(checkpoint),
                Body=checkpoint.note.encode(),
                ContentType="text/plain; charset=utf-8",
                ChecksumAlgorithm="SHA256",
                **lock,
            )
        except (BotoCoreError, ClientError) as error:
            raise KeepError(str(error)) from None


class Keeping:
    """Hands checkpoints to a keeper on a thread of its own; if it cannot keep up, only the newest matters."""

    def __init__(self, keeper: Keeper, *, late: float = _LATE, retries: Sequence[float] = _RETRIES) -> None:
        self._keeper = keeper
        self._late = late
        self._retries = retries
        self._newest: Checkpoint | None = None
        self._waiting_since: float | None = None
        self._closing = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"callgate-keeper {keeper.name}", daemon=True)
        self._thread.start()

    def offer(self, checkpoint: Checkpoint) -> None:
        """Keep this one, soon. Does not block."""
        with self._wake:
            self._newest = checkpoint
            if self._waiting_since is None:
                self._waiting_since = time.monotonic()
            self._wake.notify()

    @property
    def alarm(self) -> str | None:
        """One line if checkpoints have been waiting for too long."""
        since = self._waiting_since
        if since is None or time.monotonic() - since < self._late:
            return None
        return f"no checkpoint could be kept at {self._keeper.name} for {time.monotonic() - since:.0f} s"

    def close(self, timeout: float = 10.0) -> None:
        """Try once more to keep what waits, and end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        failures = 0
        while True:
            with self._wake:
                while self._newest is None and not self._closing:
                    self._wake.wait()
                checkpoint, closing = self._newest, self._closing
            if checkpoint is None:
                return
            try:
                self._keeper.keep(checkpoint)
            except (OSError, KeepError) as error:
                name, size = self._keeper.name, checkpoint.size
                log.error("the checkpoint over %d entries is not kept at %s: %s", size, name, error)
                if closing:
                    return
                pause = self._retries[min(failures, len(self._retries) - 1)]
                failures += 1
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, pause)
            else:
                failures = 0
                with self._wake:
                    if self._newest is checkpoint:
                        self._newest = self._waiting_since = None


def _name(checkpoint: Checkpoint) -> str:
    """Sorts by size; two checkpoints of a fork do not overwrite each other."""
    return f"checkpoint-{checkpoint.size:012d}-{checkpoint.root.hex()[:16]}"


def write_checkpoint_file(path: Path, note: str) -> None:
    """Put `note` at `path`, whole or not at all, synced. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_checkpoint_file(path: Path) -> str | None:
    """The note at `path`, None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    return None
