"""The ledger's signing key, and the public key that people keep: Ed25519, in the C2SP signed-note forms.

https://c2sp.org/signed-note: a note is a text, an empty line and signature lines. Keys are written as Go's
`golang.org/x/mod/sumdb/note` writes them: `PRIVATE+KEY+<name>+<hash>+<base64>` and `<name>+<hash>+<base64>`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from callgate.ledger.errors import LedgerError

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"


class NoteError(ValueError):
    """A note or a key is malformed, or no key that we trust signed it."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A verifier key: its name, and the Ed25519 public key."""

    name: str
    raw: bytes

    @property
    def key_hash(self) -> bytes:
        """The key id: the first four bytes of SHA-256 over name, newline, algorithm and key."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.raw).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(_ED25519 + self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> PublicKey:
        """Undo `str()`. Raises NoteError."""
        name, _, rest = text.strip().partition("+")
        key_hash, _, packed = rest.partition("+")
        raw = _unpack(packed)
        if not _is_name(name) or len(raw) != 33 or raw[:1] != _ED25519:
            raise NoteError("not an Ed25519 verifier key (name+hash+base64)")
        key = cls(name, raw[1:])
        if key.key_hash.hex() != key_hash:
            raise NoteError(f"the verifier key {name} does not have the hash that it says")
        return key

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) over `text` is this key's."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


def read_public_keys(path: Path) -> tuple[PublicKey, ...]:
    """The verifier keys in a file, one a line: rotation leaves older ones. Raises NoteError, OSError."""
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise NoteError(f"{path} holds no key")
    return tuple(PublicKey.parse(line) for line in lines)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs notes with the ledger's private key. `trusted`: its own public key first, older ones after."""

    public: PublicKey
    trusted: tuple[PublicKey, ...]
    _private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def create(cls, path: Path, name: str) -> Signer:
        """Make a key at `path` (0600), and its public half beside it (`.pub`). Raises LedgerError."""
        if not _is_name(name):
            raise LedgerError(f"a key's name has no spaces and no plus sign: {name!r}")
        private = Ed25519PrivateKey.generate()
        public = PublicKey(name, private.public_key().public_bytes_raw())
        packed = base64.b64encode(_ED25519 + private.private_bytes_raw()).decode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(f"{_PRIVATE}{name}+{public.key_hash.hex()}+{packed}\n")
                file.flush()
                os.fsync(file.fileno())
            path.with_suffix(".pub").write_text(f"{public}\n")
        except OSError as error:
            raise LedgerError(f"the ledger's key cannot be written to {path}: {error.strerror}") from None
        return cls(public, (public,), private)

    @classmethod
    def load(cls, path: Path) -> Signer:
        """The key in `path`. Raises LedgerError if it is missing, malformed or open to others."""
        try:
            with path.open() as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                text = file.read().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"the ledger's key {path} cannot be read: {error}") from None
        if mode & 0o077:
            raise LedgerError(f"the ledger's key {path} is open to others ({mode:04o}): chmod 600 it")
        name, _, rest = text.removeprefix(_PRIVATE).partition("+")
        key_hash, _, packed = rest.partition("+")
        try:
            raw = _unpack(packed)
            if not text.startswith(_PRIVATE) or len(raw) != 33 or raw[:1] != _ED25519:
                raise NoteError("not an Ed25519 signing key")
            private = Ed25519PrivateKey.from_private_bytes(raw[1:])
            public = PublicKey(name, private.public_key().public_bytes_raw())
            if public.key_hash.hex() != key_hash:
                raise NoteError("its hash is another key's")
            beside = path.with_suffix(".pub")
            older = read_public_keys(beside) if beside.exists() else ()
        except (NoteError, OSError) as error:
            raise LedgerError(f"the ledger's key {path} is unusable: {error}") from None
        return cls(public, (public, *(key for key in older if key != public)), private)

    def sign(self, text: str) -> str:
        """The signed note over `text`, which ends in a newline."""
        signature = base64.b64encode(self.public.key_hash + self._private.sign(text.encode())).decode()
        return f"{text}\n— {self.public.name} {signature}\n"


def open_note(note: str, keys: Sequence[PublicKey]) -> str:
    """The text of `note`, if one of `keys` signed it. Raises NoteError.

    As the specification says, signatures by unknown keys are ignored; one by a known key must hold.
    """
    text, blank, block = note.rpartition("\n\n")
    if not blank or not block.endswith("\n"):
        raise NoteError("not a signed note")
    text += "\n"
    signed = False
    for line in block[:-1].split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, packed = rest.partition(" ")
        raw = _unpack(packed)
        if dash != "—" or not _is_name(name) or len(raw) < 5:
            raise NoteError("a signature line is malformed")
        for key in keys:
            if key.name == name and key.key_hash == raw[:4]:
                if not key.verifies(text, raw[4:]):
                    raise NoteError(f"the signature of {name} does not hold")
                signed = True
    if not signed:
        raise NoteError("no key that is trusted here signed it")
    return text


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(c.isspace() for c in name)


def _unpack(packed: str) -> bytes:
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("not base64") from None
