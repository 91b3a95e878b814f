"""Token -> Identity: issuers, keys, claim checks, sessions."""

from callgate.identity.identity import Identity

__all__ = ["Identity"]
