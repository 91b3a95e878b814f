"""One line of the log: from a record to canonical JSON, and back.

The text of an entry holds everything that is signed, as RFC 8785 writes it:
`{"body", "kind", "seq", "step", "subject", "time", "v"}`, where `v` is the format's version,
`seq` counts from 0 and `time` is RFC 3339 in UTC with milliseconds.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from functools import lru_cache

from callgate.journal import Entry, Record
from callgate.ledger.canonical import SAFE, canonical
from callgate.ledger.tree import leaf_hash

FORMAT = 1
_word = lru_cache(maxsize=64)(canonical)
"""As `canonical`, for kinds and steps, which are few."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A record whose entry lacks only its place and time: the costly part is done by the one who appends."""

    record: Record
    _before_seq: str
    _before_time: str

    @classmethod
    def of(cls, record: Record) -> Draft:
        """Raises ValueError if canonical JSON cannot hold the record."""
        if (record.subject is None) != (record.step is None):
            raise ValueError("subject and step are given together")
        before_seq = f'{{"body":{canonical(record.body)},"kind":{_word(record.kind)},"seq":'
        before_time = f',"step":{_word(record.step)},"subject":{canonical(record.subject)},"time":"'
        return cls(record, before_seq, before_time)

    def text(self, seq: int, time: str) -> str:
        """The entry's canonical JSON."""
        return f'{self._before_seq}{seq}{self._before_time}{time}","v":{FORMAT}}}'

    def entry(self, seq: int, time: float, leaf: bytes) -> Entry:
        """The entry, as the one who appended it gets it."""
        record = self.record
        return Entry(seq, time, record.kind, record.subject, record.step, record.body, leaf)


def parse_entry(text: str) -> Entry:
    """The entry that `text` holds. Raises ValueError if it is not one of this format."""
    try:
        said = json.loads(text)
        if said["v"] != FORMAT:
            raise ValueError(f"format {said['v']} is not {FORMAT}")
        return Entry(
            seq=said["seq"],
            time=seconds(said["time"]),
            kind=said["kind"],
            subject=said["subject"],
            step=said["step"],
            body=said["body"],
            leaf_hash=leaf_hash(text.encode()),
        )
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not an entry: {error!r}") from None


def is_canonical(text: str) -> bool:
    """Whether `text` is what `Draft.text` writes for the entry in it."""
    try:
        return canonical(json.loads(text, parse_int=_number)) == text
    except (ValueError, RecursionError):
        return False


def _number(text: str) -> int | float:
    """RFC 8785 writes doubles up to 1e21 without a point; an integer from 2^53 on is never written as one."""
    number = int(text)
    return number if -SAFE <= number <= SAFE else float(text)


def timestamp(time: float) -> str:
    """RFC 3339 in UTC with milliseconds, of seconds since the epoch."""
    whole, millis = divmod(round(time * 1000), 1000)
    day = datetime.datetime.fromtimestamp(whole, datetime.UTC)
    return f"{day:%Y-%m-%dT%H:%M:%S}.{millis:03d}Z"


def seconds(text: str) -> float:
    """Seconds since the epoch of what `timestamp` wrote. Raises ValueError."""
    return datetime.datetime.fromisoformat(text).timestamp()
