"""The audit log: entries, an RFC 6962 Merkle tree over them, signed checkpoints, SQLite."""

from callgate.ledger.checkpoint import Checkpoint
from callgate.ledger.errors import LedgerError
from callgate.ledger.ledger import Health, Ledger
from callgate.ledger.signer import NoteError, PublicKey, Signer, read_public_keys

__all__ = [
    "Checkpoint",
    "Health",
    "Ledger",
    "LedgerError",
    "NoteError",
    "PublicKey",
    "Signer",
    "read_public_keys",
]
