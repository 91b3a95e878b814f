"""The ledger's file: SQLite in WAL mode with `synchronous=FULL`. For one thread at a time; no asyncio."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from callgate.ledger import schema
from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.errors import LedgerError
from callgate.ledger.tree import Frontier

NAME = "ledger.db"

PATIENCE = 2.0
"""How long (seconds) a lock of another process is waited for."""

# An intent takes more than a kilobyte: pages of 4 kB would be a quarter empty.
_PAGE = 8192

Row = tuple[int, str, bytes]
"""Sequence number, canonical JSON, leaf hash."""


LAST_ROW = "SELECT seq, entry, leaf FROM entries ORDER BY seq DESC LIMIT 1"


class Unavailable(Exception):
    """The file cannot be written now; the text says why, in one line."""


class FolderLock:
    """The right to write in a state folder: an flock that ends with the process."""

    def __init__(self, folder: Path) -> None:
        """Raises LedgerError if another process holds it."""
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"the state folder {folder} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._handle)
            raise LedgerError(f"another gateway uses the state folder {folder}") from None

    def release(self) -> None:
        os.close(self._handle)


def is_locked(folder: Path) -> bool:
    """Whether a gateway is at work in this folder."""
    try:
        handle = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


class Store:
    """Entries and checkpoints on disk."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises LedgerError if this is not a ledger, or one of a newer release, or cannot be opened.
        """
        self.path = path
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=512
            )
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(f"the ledger {path} cannot be opened: {error}") from None
        try:
            self._prepare()
            self._inode = _inode(path)
            self._wal_inode = _inode(_wal(path))
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.Error):
                raise LedgerError(f"the ledger {path} cannot be opened: {error}") from None
            raise

    def _prepare(self) -> None:
        run = self._connection.execute
        tables, (application,), (revision,) = (
            run("SELECT count(*) FROM sqlite_schema").fetchone()[0],
            run("PRAGMA application_id").fetchone(),
            run("PRAGMA user_version").fetchone(),
        )
        if tables and application != schema.APPLICATION_ID:
            raise LedgerError(f"{self.path} is a database, but not a Callgate ledger")
        if revision > schema.REVISION:
            raise LedgerError(f"{self.path} was written by a newer Callgate (revision {revision})")
        run(f"PRAGMA page_size = {_PAGE}")
        if run("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise LedgerError(f"{self.path} cannot be switched to a write-ahead log on this file system")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA journal_size_limit = 67108864")
        run("PRAGMA wal_autocheckpoint = 2000")
        run("BEGIN IMMEDIATE")
        if not tables:
            schema.create(self._connection)
        elif revision < schema.REVISION:
            schema.rebuild(self._connection)
        run("COMMIT")

    def be_patient(self, seconds: float) -> None:
        """Wait so long for locks of other processes from now on."""
        self._connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def check_place(self) -> None:
        """Raises Unavailable unless the file that is open is the one that people will find under its name."""
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise Unavailable(f"{self.path} is gone: {error.strerror}") from None
        if (found.st_dev, found.st_ino) != self._inode:
            raise Unavailable(f"{self.path} was replaced by another file")
        if not found.st_mode & stat.S_IWUSR:
            raise Unavailable(f"{self.path} is marked read-only")
        if self.write_ahead_log_is_gone():
            raise Unavailable(f"{self.path}-wal is gone")

    def is_in_place(self) -> bool:
        """Whether the file under our name is the one that is open."""
        return _inode(self.path) == self._inode

    def write_ahead_log_is_gone(self) -> bool:
        """Whether the write-ahead log that is open has lost its name: readers would miss what is in it."""
        return _inode(_wal(self.path)) != self._wal_inode

    def fold(self) -> bool:
        """Move everything from the write-ahead log into the file; False if readers are in the way."""
        try:
            (busy, _, _) = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        return not busy

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """One synced transaction, rolled back on any exception. Raises Unavailable if it cannot be made."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._roll_back()
                raise
            self._connection.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            self._roll_back()
            raise Unavailable(f"{self.path}: {error}") from None

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def insert(self, rows: Sequence[Row]) -> None:
        """Add rows, all or none: in one statement, which is a synced transaction if none is open.

        Raises sqlite3.IntegrityError if a (subject, step) is taken, Unavailable if it cannot be written.
        """
        if not rows:
            return
        # Each statement is several round trips through the interpreter lock, for which the event loop
        # competes.
        values = ",".join(["(?,?,?)"] * len(rows))
        flat = [value for row in rows for value in row]
        try:
            self._connection.execute(f"INSERT INTO entries (seq, entry, leaf) VALUES {values}", flat)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise Unavailable(f"{self.path}: {error}") from None

    def insert_checkpoint(self, checkpoint: Checkpoint, frontier: Frontier) -> None:
        """Keep a checkpoint and the frontier that it signs, so that opening need not read every leaf."""
        self._connection.execute(
            "INSERT INTO checkpoints (size, note, frontier) VALUES (?, ?, ?)",
            (checkpoint.size, checkpoint.note, frontier.to_bytes()),
        )

    def last_checkpoint(self) -> tuple[str, int, bytes] | None:
        """Note, size and packed frontier of the newest checkpoint."""
        row = self._connection.execute(
            "SELECT note, size, frontier FROM checkpoints ORDER BY size DESC LIMIT 1"
        )
        found: tuple[str, int, bytes] | None = row.fetchone()
        return found

    def signed_root(self, size: int) -> bytes | None:
        """The root that the stored frontier at a checkpoint of this size has, if there is one."""
        row = self._connection.execute("SELECT frontier FROM checkpoints WHERE size = ?", (size,)).fetchone()
        return Frontier.from_bytes(size, row[0]).root() if row else None

    def rows_from(self, seq: int) -> Iterator[Row]:
        """Rows from `seq` on, in order."""
        return self._connection.execute(
            "SELECT seq, entry, leaf FROM entries WHERE seq >= ? ORDER BY seq", (seq,)
        )

    def last_row(self) -> Row | None:
        """The newest row."""
        found: Row | None = self._connection.execute(LAST_ROW).fetchone()
        return found

    def subjects_where(self, condition: str, parameters: Sequence[object] = ()) -> list[tuple[str]]:
        """Subjects of the entries that meet an SQL condition (of our own making), in order."""
        sql = f"SELECT subject FROM entries WHERE {condition} ORDER BY seq"
        return self._connection.execute(sql, parameters).fetchall()

    def last_seq_where(self, condition: str) -> int | None:
        """The last entry that meets an SQL condition (of our own making)."""
        found: int | None = self._connection.execute(
            f"SELECT max(seq) FROM entries WHERE {condition}"
        ).fetchone()[0]
        return found

    def copy_to(self, path: Path) -> None:
        """Write a page-by-page copy of what is open, even if the file has lost its name."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._connection.backup(target)
        os.chmod(path, 0o600)

    def close(self) -> None:
        """Close; the last connection folds the write-ahead log into the file."""
        self._connection.close()


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_still(path: Path) -> bool:
    """Whether nobody is writing: there is no write-ahead log. Who reads on must open the file anew after."""
    return not _wal(path).exists()


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A read-only connection that works beside the gateway and leaves no files beside a still copy.

    Raises LedgerError if there is no such file, or a newer release wrote it.
    """
    if not path.is_file():
        raise LedgerError(f"there is no ledger at {path}")
    # SQLite then needs no shared memory beside the file.
    how = "mode=ro&immutable=1" if is_still(path) else "mode=ro"
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{how}", uri=True, timeout=10.0, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error}") from None
    try:
        (revision,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError:
        return connection  # What is wrong with the file comes out when it is read.
    if revision > schema.REVISION:
        connection.close()
        raise LedgerError(f"{path} was written by a newer Callgate (revision {revision})")
    return connection
