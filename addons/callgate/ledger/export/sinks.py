"""Where exports go: one stream, or files of a batch each in a folder or in S3."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from callgate.ledger.errors import LedgerError


@dataclass(frozen=True, slots=True)
class Frame:
    """How lines of a format become a whole document: what comes before, between and after them."""

    suffix: str
    before: str = ""
    between: str = ""
    after: str = ""

    def document(self, lines: Sequence[str]) -> bytes:
        """A whole document of `lines`."""
        return (self.before + self.between.join(lines) + self.after).encode()


class Sink(Protocol):
    """Takes batches of lines; what `put` has returned from is kept."""

    def put(self, first: int, last: int, lines: Sequence[str]) -> None:
        """Keep `lines`, which entries `first` to `last` became."""

    def close(self) -> None:
        """Nothing more comes."""


class StreamSink:
    """One document, written as it grows."""

    def __init__(self, stream: BinaryIO, frame: Frame, *, fresh: bool = True) -> None:
        """`fresh` false: the stream goes on where another run left it."""
        self._stream = stream
        self._frame = frame
        self._empty = fresh
        if fresh:
            stream.write(frame.before.encode())

    def put(self, first: int, last: int, lines: Sequence[str]) -> None:
        if lines:
            lead = "" if self._empty else self._frame.between
            self._stream.write((lead + self._frame.between.join(lines)).encode())
            self._empty = False
        self._stream.flush()

    def close(self) -> None:
        self._stream.write(self._frame.after.encode())
        self._stream.flush()


class FolderSink:
    """A file for each batch, gzipped, named by the entries that it holds."""

    def __init__(self, folder: Path, frame: Frame) -> None:
        self._folder = folder
        self._frame = frame

    def put(self, first: int, last: int, lines: Sequence[str]) -> None:
        if lines:
            path = self._folder / batch_name(first, last, self._frame)
            partial = path.with_name(path.name + ".partial")
            partial.write_bytes(gzip.compress(self._frame.document(lines), mtime=0))
            os.replace(partial, path)

    def close(self) -> None:
        pass


class S3Sink:
    """An object for each batch, gzipped, named by the entries that it holds."""

    def __init__(self, client: Any, bucket: str, prefix: str, frame: Frame) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        self._frame = frame

    def put(self, first: int, last: int, lines: Sequence[str]) -> None:
        from botocore.exceptions import BotoCoreError, ClientError  # whoever made the client has loaded it

        if not lines:
            return
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + batch_name(first, last, self._frame),
                Body=gzip.compress(self._frame.document(lines), mtime=0),
                ContentType="application/json" if "json" in self._frame.suffix else "text/csv",
                ContentEncoding="gzip",
            )
        except (BotoCoreError, ClientError) as error:
            raise LedgerError(f"s3://{self._bucket}: {error}") from None

    def close(self) -> None:
        pass


def batch_name(first: int, last: int, frame: Frame) -> str:
    """The name of the file with what entries `first` to `last` became; names sort as the log grows."""
    return f"callgate-{first:012d}-{last:012d}{frame.suffix}.gz"


OpenSink = Callable[[Frame], Sink]
