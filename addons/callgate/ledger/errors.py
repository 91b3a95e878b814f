"""What goes wrong with a ledger as a whole."""

from __future__ import annotations


class LedgerError(Exception):
    """The ledger cannot be opened or used. Its text is one line for the operator."""
