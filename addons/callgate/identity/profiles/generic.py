"""Any other OpenID Connect issuer: the configuration names its claims one by one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from callgate.identity.profiles.profile import Profile

if TYPE_CHECKING:
    from callgate.identity.settings import IssuerSettings

PLACEHOLDER = re.compile(r"\$\{([a-z][a-z0-9_]*)\}")


def principal(claims: Mapping[str, Any], settings: IssuerSettings) -> str:
    """`principal` of the configuration with its `${claim}`s replaced, `sub` if it has none.

    In all but the last, `:` and `%` are percent-encoded, so that no value can pass for another part.
    """
    template = settings.principal or "${sub}"
    last = list(PLACEHOLDER.finditer(template))[-1].start()

    def value(found: re.Match[str]) -> str:
        said = str(claims[found[1]])
        return said if found.start() == last else said.replace("%", "%25").replace(":", "%3A")

    return PLACEHOLDER.sub(value, template)


PROFILE = Profile(principal=principal)
