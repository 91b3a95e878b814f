"""Changes to a document at spans, and the record of which paths they fell on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from callgate.call import Refusal

DEPTH: Final = 100
"""Documents that nest deeper are refused: AWS's own deepest (DynamoDB, Step Functions) stay far below."""


def unreadable(detail: str, code: str = "mask-unreadable") -> Refusal:
    """The refusal of a response that cannot be masked because it cannot be read as what it should be."""
    return Refusal(code, detail, status=502)


def another_kind() -> Refusal:
    """The refusal of a response with a value of another kind than the model's where masks go on below it."""
    return unreadable("the body has a value of another kind than the model where a mask goes on")


@dataclass(eq=False)
class Edits[T: (str, bytes)]:
    """Spans of one document and what stands there instead, in the order of the document."""

    changes: list[tuple[int, int, T]] = field(default_factory=list)

    def put(self, start: int, end: int, text: T) -> None:
        """Replace what stands from `start` to `end`."""
        self.changes.append((start, end, text))

    def splice(self, source: T) -> T:
        """`source` with every change made; all else stays as it was."""
        if not self.changes:
            return source
        parts: list[T] = []
        at = 0
        for start, end, text in sorted(self.changes):
            if start < at:
                raise AssertionError("two changes overlap")
            parts += (source[at:start], text)
            at = end
        parts.append(source[at:])
        return source[:0].join(parts)
