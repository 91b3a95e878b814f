"""The environment in which a command's AWS clients use the gateway and trust it."""

from __future__ import annotations

import os
import pkgutil
import ssl
from collections.abc import Mapping

from callgate.runner.errors import RunnerError

NO_PROXY = (
    "localhost",
    "127.0.0.1",
    "::1",
    "169.254.169.254",  # EC2 instance metadata
    "fd00:ec2::254",
    "169.254.170.2",  # ECS task credentials
    "169.254.170.23",  # EKS Pod Identity
    "fd00:ec2::23",
)
CA_VARIABLES = (
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_PROXY_SSL_CAINFO",
)
AWS_DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "api.aws", "aws.dev", "on.aws", "amazonaws.eu", "aws.eu")
# An attempt is held for 45 s at most: this outlasts a hold of a quarter of an hour.
MAX_ATTEMPTS = "20"

_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL, Amazon Linux
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def child_environment(
    environ: Mapping[str, str], *, proxy_url: str, session: str, ca: str | None, folder: str
) -> tuple[dict[str, str], list[str]]:
    """The variables to set for the command, and notes for people.

    `ca` is the gateway's CA as PEM text; None if the system trusts it already. Files are written to `folder`.
    """
    kept, dropped = without_aws(environ.get("NO_PROXY") or environ.get("no_proxy") or "")
    notes = (
        [f"NO_PROXY named {', '.join(dropped)}: left out, as it would go around the gateway"]
        if dropped
        else []
    )
    no_proxy = ",".join([*kept, *(host for host in NO_PROXY if host not in kept)])
    changes = {
        "HTTPS_PROXY": proxy_url,
        "https_proxy": proxy_url,
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
        "NODE_USE_ENV_PROXY": "1",
        "NODE_OPTIONS": _node_options(environ.get("NODE_OPTIONS", ""), folder),
        "CALLGATE_SESSION": session,
    }
    if ca is not None:
        changes.update(_bundles(environ, ca, folder))
        # curl takes no variable for the CA of a proxy, but reads its configuration from where this one says.
        changes["CURL_HOME"] = _curl_home(environ, changes["CURL_CA_BUNDLE"], folder)
    if environ.get("AWS_RETRY_MODE", "standard") != "legacy":
        # The legacy mode doubles its pause without a bound; many attempts of it would take days.
        changes["AWS_RETRY_MODE"] = environ.get("AWS_RETRY_MODE", "standard")
        changes["AWS_MAX_ATTEMPTS"] = environ.get("AWS_MAX_ATTEMPTS", MAX_ATTEMPTS)
    return changes, notes


def without_aws(no_proxy: str) -> tuple[list[str], list[str]]:
    """The entries of a NO_PROXY that may stay, and those that would take AWS's hosts around the gateway."""
    kept: list[str] = []
    dropped: list[str] = []
    for entry in filter(None, (each.strip() for each in no_proxy.split(","))):
        (dropped if _covers_aws(entry) else kept).append(entry)
    return kept, dropped


def _covers_aws(entry: str) -> bool:
    host = entry.lower().lstrip("*.").rstrip(".")
    host = host.split(":")[0] if host.count(":") == 1 else host
    return not host or any(f".{host}".endswith(f".{aws}") or aws.endswith(f".{host}") for aws in AWS_DOMAINS)


def _node_options(already: str, folder: str) -> str:
    script = pkgutil.get_data("callgate.runner", "preload.cjs")
    if script is None:
        raise RunnerError("the runner is incomplete: preload.cjs is missing")
    path = os.path.join(folder, "preload.cjs")
    with open(path, "wb") as file:
        file.write(script)
    quoted = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'{already} --require "{quoted}"'.strip()


def _curl_home(environ: Mapping[str, str], bundle: str, folder: str) -> str:
    """A folder whose .curlrc is the user's own, and names the bundle for proxies."""
    homes = [environ.get(name) for name in ("CURL_HOME", "XDG_CONFIG_HOME", "HOME")]
    candidates = [os.path.join(home, name) for home in homes if home for name in (".curlrc", "curlrc")]
    own = next((_contents(path) for path in candidates if os.path.isfile(path)), "")
    with open(os.path.join(folder, ".curlrc"), "w", encoding="utf-8") as file:
        file.write(f'{own}\nproxy-cacert = "{bundle}"\n')
    return folder


def _bundles(environ: Mapping[str, str], ca: str, folder: str) -> dict[str, str]:
    """The CA variables: the system's roots, what each variable named before, and the gateway's CA."""
    roots = _system_roots()
    bases = {name: environ.get(name) or roots for name in CA_VARIABLES}
    bases["NODE_EXTRA_CA_CERTS"] = environ.get("NODE_EXTRA_CA_CERTS", "")
    files = {
        base: os.path.join(folder, f"ca-{number}.pem")
        for number, base in enumerate(sorted(set(bases.values())))
    }
    for base, path in files.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(_contents(base) + "\n" + ca)
    return {name: files[base] for name, base in bases.items()}


def _contents(path: str) -> str:
    if not path or not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _system_roots() -> str:
    default = ssl.get_default_verify_paths().openssl_cafile
    return next((path for path in (default, *_ROOTS) if path and os.path.isfile(path)), "")
