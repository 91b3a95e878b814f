"""Where checkpoints are kept outside the database, so that truncation and rollback show."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_checkpoint_file(path: Path, note: str) -> None:
    """Put `note` at `path`, whole or not at all, synced. Raises OSError."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(note)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_checkpoint_file(path: Path) -> str | None:
    """The note at `path`, None if there is none."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8")
    return None
