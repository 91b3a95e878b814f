"""A body that is read whole."""

from __future__ import annotations

import io

from mitmproxy.proxy.utils import ReceiveBuffer


class WholeBody(ReceiveBuffer):
    """As mitmproxy's, which joins its pieces at the end: megabytes of new memory in one go, while everybody
    waits, and the body twice for that long. Here each piece is put to the others as it comes.
    """

    def __init__(self) -> None:
        self._whole = io.BytesIO()

    def __iadd__(self, piece: bytes) -> WholeBody:
        self._whole.write(piece)
        return self

    def __len__(self) -> int:
        return self._whole.tell()

    def __bool__(self) -> bool:
        return self._whole.tell() > 0

    def __bytes__(self) -> bytes:
        # Not a copy: the buffer itself, cut to its length.
        return self._whole.getvalue()

    def clear(self) -> None:
        self._whole = io.BytesIO()
