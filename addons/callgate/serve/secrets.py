"""The files in the state folder that nobody else may read: made with mode 0600, refused when looser."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from mitmproxy import certs
from mitmproxy.options import CONF_BASENAME

from callgate.serve.config import ConfigError

_CA_KEY_BITS = 2048


def check_private(path: Path) -> None:
    """Raises ConfigError unless `path` is a file that only its owner can read, and that we can."""
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}; `callgate init` makes it") from None
    if not stat.S_ISREG(mode) or stat.S_IMODE(mode) & 0o077:
        raise ConfigError(f"{path}: others may read it (mode {stat.S_IMODE(mode):04o}); chmod 600 it")


def check_unwritable(path: Path, others: int = stat.S_IWGRP | stat.S_IWOTH) -> None:
    """Raises ConfigError if `others` (mode bits) may write to a file or folder, and so to what the gateway
    trusts.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from None
    if mode & others:
        raise ConfigError(f"{path}: others may write to it (mode {mode:04o}); chmod go-w it")


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read. Raises FileExistsError if it is there already."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def make_ca(folder: Path) -> None:
    """Make the certificate authority that signs for AWS's hosts towards runners, unless it is there."""
    if not ca_key(folder).exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        certs.CertStore.create_store(
            folder, CONF_BASENAME, _CA_KEY_BITS, organization="Callgate", cn="Callgate CA"
        )
        for file in folder.iterdir():
            file.chmod(0o600)
    ca_certificate(folder).chmod(0o644)


def ca_key(folder: Path) -> Path:
    """The authority's key and certificate."""
    return folder / f"{CONF_BASENAME}-ca.pem"


def ca_certificate(folder: Path) -> Path:
    """What runners must trust."""
    return folder / f"{CONF_BASENAME}-ca-cert.pem"


def make_mask_key(path: Path) -> None:
    """Make the key of the hashes that stand for what is not stored, unless it is there."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, secrets.token_bytes(32))


def read_mask_key(path: Path) -> bytes:
    """The 32 bytes of the key. Raises ConfigError."""
    check_private(path)
    data = path.read_bytes()
    if len(data) != 32:
        raise ConfigError(f"{path}: is not a key of 32 bytes")
    return data
