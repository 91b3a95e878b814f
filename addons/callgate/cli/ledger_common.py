"""What the commands on the ledger share: where it is, its public keys, a progress bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from callgate.cli.common import console, fail, load_config
from callgate.ledger import NoteError, PublicKey, read_public_keys
from callgate.ledger.search import moment
from callgate.ledger.store import NAME

ledger_option = click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="A ledger file, or the state folder that holds it; else the configuration says where it is.",
)
key_option = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="FILE|KEY",
    help="Public key of the log: a file, or the key itself. Default: keys/ledger.pub beside the ledger.",
)


def as_moment(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """A click callback: what a person typed as a time, in RFC 3339."""
    try:
        return None if value is None else moment(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


LARGEST = 2**63 - 1
ENTRY = click.IntRange(min=0, max=LARGEST)
"""The number of an entry."""

_WHEN = "2h, 7d, 2027-01-31 or 2027-01-31T12:00"
since_option = click.option("--since", callback=as_moment, metavar="WHEN", help=f"From then on: {_WHEN}.")
until_option = click.option("--until", callback=as_moment, metavar="WHEN", help="Before then.")


def ledger_path(config: Path, ledger: Path | None) -> Path:
    """The ledger file that is meant."""
    if ledger is None:
        return load_config(config).state / NAME
    return ledger / NAME if ledger.is_dir() else ledger


def public_keys(given: Sequence[str], folder: Path) -> tuple[PublicKey, ...]:
    """The keys that `--key` names, or those beside the ledger; ends the command if they are unusable."""
    found: list[PublicKey] = []
    for text in given or [str(folder / "keys" / "ledger.pub")]:
        try:
            if "+" in text and not Path(text).exists():
                found.append(PublicKey.parse(text))
            else:
                found += read_public_keys(Path(text))
        except (NoteError, OSError, UnicodeDecodeError) as error:
            fail(f"the public key {text}: {getattr(error, 'strerror', None) or error}")
    return tuple(found)


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Any]:
    """A function `(done, total)` that draws a bar on standard error, if that is a terminal, once called."""
    with Progress(
        TextColumn(label),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(label, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)
