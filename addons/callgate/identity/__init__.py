"""Token -> Identity: issuers, keys, claim checks, sessions."""

from callgate.identity.authenticator import Authenticator
from callgate.identity.credential import credential_from
from callgate.identity.identity import Identity
from callgate.identity.settings import IdentitySettings, IssuerSettings
from callgate.identity.useragent import unverified_client

__all__ = [
    "Authenticator",
    "Identity",
    "IdentitySettings",
    "IssuerSettings",
    "credential_from",
    "unverified_client",
]
