"""Checkpoints: the tree's size and root, signed (https://c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from callgate.ledger.signer import NoteError, PublicKey, Signer, open_note


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A commitment to the first `size` entries of the log `origin`; `note` is the signed text."""

    origin: str
    size: int
    root: bytes
    note: str

    @classmethod
    def sign(cls, signer: Signer, origin: str, size: int, root: bytes) -> Checkpoint:
        """A new one."""
        text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
        return cls(origin, size, root, signer.sign(text))

    @classmethod
    def verified(cls, note: str, keys: Sequence[PublicKey]) -> Checkpoint:
        """The checkpoint in `note`, if one of `keys` signed it. Raises NoteError."""
        origin, size, root, *_ = [*open_note(note, keys).split("\n"), "", "", ""]
        if not origin or not (size.isascii() and size.isdigit()) or (size.startswith("0") and size != "0"):
            raise NoteError("not a checkpoint")
        try:
            raw = base64.b64decode(root, validate=True)
        except (binascii.Error, ValueError):
            raise NoteError("not a checkpoint: its root is not base64") from None
        if len(raw) != 32:
            raise NoteError("not a checkpoint: its root is not 32 bytes long")
        return cls(origin, int(size), raw, note)
