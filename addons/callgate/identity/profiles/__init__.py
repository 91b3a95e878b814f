"""One module for each kind of issuer; each has a `PROFILE`, and its name is what `profile = "…"` says."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from callgate.identity.profiles.profile import Profile


@cache
def profiles() -> dict[str, Profile]:
    """All profiles by name. A new profile is a new module in this folder."""
    found: dict[str, Profile] = {}
    for module in pkgutil.iter_modules(__path__):
        profile = getattr(importlib.import_module(f"{__name__}.{module.name}"), "PROFILE", None)
        if isinstance(profile, Profile):
            found[module.name] = profile
    return found


__all__ = ["Profile", "profiles"]
