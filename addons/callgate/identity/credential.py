"""The credential in `Proxy-Authorization` (RFC 9110, section 11.7; RFC 7617; RFC 6750)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence

from callgate.identity.tokens import MAX_TOKEN, refuse

_CREDENTIAL = re.compile(r"[A-Za-z0-9._~+/=-]+")
# Base64 of a token and of a user name beside it.
_MAX_HEADER = MAX_TOKEN * 4 // 3 + 256


def credential_from(values: Sequence[str]) -> str:
    """The token or session handle in the values of all Proxy-Authorization headers of one request.

    Basic: the password, or the user if the password is empty (`https://TOKEN@gateway`). Bearer: the token.
    Raises Refusal (407): `credential-missing`, `credential-twice`, `credential-malformed`.
    """
    if not values:
        raise refuse("credential-missing", "The proxy wants a token or session handle (Proxy-Authorization).")
    if len(values) > 1:
        raise refuse("credential-twice", "There is more than one Proxy-Authorization.")
    scheme, _, said = values[0].partition(" ")
    if len(values[0]) > _MAX_HEADER:
        raise refuse("token-too-large", f"The token is longer than {MAX_TOKEN} bytes.")
    match scheme.lower():
        case "bearer":
            credential = said
        case "basic":
            credential = _password(said)
        case _:
            raise refuse("credential-malformed", "Proxy-Authorization is neither Basic nor Bearer.")
    if not _CREDENTIAL.fullmatch(credential):
        raise refuse("credential-malformed", "Proxy-Authorization holds no token or session handle.")
    return credential


def _password(encoded: str) -> str:
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except (binascii.Error, ValueError):
        raise refuse("credential-malformed", "Proxy-Authorization cannot be read as Basic.") from None
    if not colon:
        raise refuse("credential-malformed", "Proxy-Authorization cannot be read as Basic.")
    return password or user
