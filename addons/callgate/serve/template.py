"""The first configuration: what `callgate init` writes, and the shipped rule files that it copies."""

from __future__ import annotations

import sys
from pathlib import Path

import callgate

CONFIG = """\
# Callgate's configuration. Paths are relative to this file. A variable CALLGATE_SECTION__KEY overrides a key,
# as CALLGATE_PROXY__LISTEN="0.0.0.0:8080" or CALLGATE_MODE=observe.

state = "state"            # the ledger, the CA, the keys, the admin socket
rules = ["rules"]          # folders and files; loaded again when they change
mode = "enforce"           # or "observe": verdicts are recorded as would-deny, would-hold, would-mask
# help = "Ask in #platform."   # ends every refusal that a runner sees
drain = "30s"              # how long running calls may take to end at SIGTERM

[proxy]
listen = "{listen}"
# plaintext = true         # permits plain HTTP on an address other than loopback; else runners use https://

# [admin]                  # beside the Unix socket state/admin.sock
# listen = "0.0.0.0:8443"
# certificate = "admin.pem"
# key = "admin.key"

[aws]
{endpoint}# private_ranges = ["10.0.0.0/8"]  # where AWS's own names may resolve (VPC endpoints)

# Who may call: the issuers whose OIDC tokens are trusted. Delete what you do not use.
[[identity.issuer]]
name = "github"
profile = "github"
audience = "callgate"
# require = {{ repository_owner_id = ["1234567"] }}   # without it jobs of all of GitHub get an identity here

[[identity.issuer]]
name = "gitlab"
profile = "gitlab"
audience = "callgate"
# require = {{ namespace_id = ["72"] }}

# Who may approve. The users of the admin socket stand in `local_groups`.
[approvals]
local_groups = ["oncall"]
# [approvals.groups]
# oncall = ["ada"]
# [approvals.approvers.ada]
# unix_user = "ada"
# aliases = ["ada-gh"]     # her login at the CI system: nobody approves their own call

[ledger]
origin = "callgate.local/log"   # names this log in its checkpoints; make it your own
"""


def shipped_rules() -> Path:
    """The folder with the rule files that come with the project."""
    source_tree = Path(callgate.__file__).resolve().parents[2] / "rules"
    return source_tree if source_tree.is_dir() else Path(sys.prefix) / "share" / "callgate" / "rules"


def config_text(*, listen: str, endpoint: str | None) -> str:
    """callgate.toml's text."""
    line = f'endpoint = "{endpoint}"  # stands in for all of AWS\n' if endpoint else ""
    hint = (
        ""
        if endpoint
        else '# endpoint = "http://127.0.0.1:5000"  # stands in for all of AWS: moto, LocalStack\n'
    )
    return CONFIG.format(listen=listen, endpoint=line + hint)
