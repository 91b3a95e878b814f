"""mitmproxy's options: those that the gateway sets, and those that open it and are refused, at start and
live.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mitmproxy import hooks
from mitmproxy.addonmanager import AddonManager, traverse
from mitmproxy.addons.script import Script
from mitmproxy.options import Options

log = logging.getLogger(__name__)
_FORCED: Mapping[str, Any] = {
    "block_global": False,
    "block_private": False,
    "body_size_limit": None,
    "connection_strategy": "lazy",
    "http2": False,
    "http3": False,
    "onboarding": False,
    "rawtcp": False,
    "show_ignored_hosts": False,
    "ssl_insecure": False,
    "store_streamed_bodies": False,
    "stream_large_bodies": None,
    "upstream_cert": False,
    "validate_inbound_headers": True,
    "websocket": False,
    # A Lambda Invoke takes 15 minutes; the timeout also cuts an idle wait for the upstream.
    "tcp_timeout": 1260,
}
# What lets bytes past the hooks, changes what they judged, or writes bodies and credentials somewhere.
_EMPTY = (
    "allow_hosts ignore_hosts tcp_hosts udp_hosts modify_body modify_headers map_local map_remote block_list"
    " client_replay server_replay stickyauth stickycookie save_stream_file hardump intercept proxyauth"
    " upstream_auth rfile connect_addr"
    " client_certs anticache anticomp proxy_debug keep_host_header request_client_cert"
    " add_upstream_certs_to_client_chain"
).split()
# What the gateway has set, or what decides whom it trusts: none of it changes while it runs.
_FIXED = frozenset(
    (
        "callgate_config certs ciphers_client ciphers_server confdir mode ssl_verify_upstream_trusted_ca"
        " ssl_verify_upstream_trusted_confdir"
    ).split()
)
_OLD_TLS = frozenset(("UNBOUNDED", "SSL3", "TLS1", "TLS1_1"))
_NO_FLOW_HOOKS = frozenset(("load", "configure", "running", "done", "update"))


def unsafe_option(options: Options, *, live: bool) -> str | None:
    """One line on the first option that would open the gateway, or None.

    Before the gateway has set its own (`live` false), mitmproxy's defaults count as not yet set.
    """
    for name, value in _FORCED.items():
        if name in options and getattr(options, name) != value and (live or options.has_changed(name)):
            return (
                f"option {name}: Callgate needs {value!r}; {getattr(options, name)!r} lets requests past it"
            )
    for name in _EMPTY:
        if name in options and getattr(options, name):
            return f"option {name}: must not be set; it would let requests past Callgate, or bodies out of it"
    if "flow_detail" in options and options.flow_detail > 1:
        return "option flow_detail: at most 1; more prints credentials and bodies"
    for name in ("tls_version_client_min", "tls_version_server_min"):
        if name in options and getattr(options, name) in _OLD_TLS:
            return f"option {name}: at least TLS1_2"
    if any(not mode.startswith("regular") for mode in options.mode):
        return "option mode: only regular"
    return None


def foreign_addon(addons: AddonManager) -> str | None:
    """One line on the first addon, neither mitmproxy's nor ours, that has a flow hook, or None."""
    for addon in traverse(addons.chain):
        module = type(addon).__module__
        if isinstance(addon, Script):
            touched = [
                name for name in hooks.all_hooks if name not in _NO_FLOW_HOOKS and hasattr(addon.ns, name)
            ]
            if touched:
                return f"script {addon.fullpath}: has the hook {touched[0]}, and would see or change flows"
        elif not module.startswith(("mitmproxy.", "callgate.")) and any(
            hasattr(addon, name) for name in hooks.all_hooks if name not in _NO_FLOW_HOOKS
        ):
            return f"addon {module}.{type(addon).__name__}: is not Callgate's, and would see or change flows"
    return None


class AddonWatch:
    """Calling it gives `foreign_addon`, looked for again whenever an addon came, went or was loaded anew."""

    def __init__(self, addons: AddonManager) -> None:
        self._addons = addons
        self._seen: tuple[int, ...] = ()
        self._kept: tuple[object, ...] = ()
        self._found: str | None = None

    def __call__(self) -> str | None:
        addons = (*self._addons.chain, *self._addons.lookup.values())
        seen = tuple(map(id, addons))
        if seen != self._seen:
            # Kept, since the identity of one that is gone could be given to the next.
            self._seen, self._kept = seen, addons
            self._found = foreign_addon(self._addons)
            if self._found:
                log.error("callgate: ALARM every call is refused: %s", self._found)
        return self._found


def changed_live(options: Options, updated: set[str], before: Sequence[str]) -> str | None:
    """One line on an option that may not change while the gateway runs, or None.

    `before` are the scripts at start.
    """
    if fixed := sorted(updated & _FIXED):
        return f"option {fixed[0]}: cannot change while the gateway runs"
    if "scripts" in updated and not set(options.scripts) <= set(before):
        return "option scripts: no script is added while the gateway runs"
    return None


def set_options(options: Options, **more: Any) -> None:
    """Set what the gateway needs, as far as this master knows the options."""
    options.update(**{name: value for name, value in {**_FORCED, **more}.items() if name in options})
