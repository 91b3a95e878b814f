"""Commands on the ledger: verify, prove, check-proof, backup, archive."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console, Group
from rich.json import JSON
from rich.text import Text

from callgate.cli.common import config_option, console, fail, json_option
from callgate.cli.ledger_common import (
    ENTRY,
    as_moment,
    key_option,
    ledger_option,
    ledger_path,
    progress_bar,
    public_keys,
)
from callgate.cli.ledger_export import export, report
from callgate.cli.ledger_log import log
from callgate.ledger import LedgerError
from callgate.ledger.archive import archive as move_to_archive
from callgate.ledger.backup import back_up
from callgate.ledger.opening import CHECKPOINT
from callgate.ledger.proof import check_proof as checked_proof
from callgate.ledger.proof import make_proof
from callgate.ledger.store import is_locked, open_for_reading
from callgate.ledger.tree import ProofError
from callgate.ledger.verify import Verdict
from callgate.ledger.verify import verify as verify_log

__all__ = ["archive", "backup", "check_proof", "export", "log", "prove", "report", "verify"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path), required=False)
@config_option
@key_option
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A checkpoint kept elsewhere; shows truncation, rollback and forks. May be repeated.",
)
@click.option(
    "--archive",
    "archives",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An archive of older entries. May be repeated.",
)
@json_option
def verify(
    path: Path | None,
    config: Path,
    keys: Sequence[str],
    checkpoints: Sequence[Path],
    archives: Sequence[Path],
    as_json: bool,
) -> None:
    """Check that the log is what was signed, from the files alone.

    PATH is a ledger file or a state folder; without it, the configuration says where the ledger is.
    Names the first entry that is wrong and what happened to it: edited, missing, inserted, reordered,
    truncated, forked, damaged, or an unsigned tail.
    Exit status: 0 all is well, 1 something is wrong, 2 it could not be checked.

    \b
    callgate verify --config gate/callgate.toml
    callgate verify copy/ledger.db --key ledger.pub --checkpoint /mnt/worm/checkpoint
    """
    ledger = ledger_path(config, path)
    if not ledger.is_file():
        fail(f"there is no ledger at {ledger}")
    folder = ledger.parent
    trusted = public_keys(keys, folder)
    try:
        beside = [folder / CHECKPOINT] if (folder / CHECKPOINT).exists() else []
        kept = {str(file): file.read_text(encoding="utf-8") for file in [*checkpoints, *beside]}
        live = is_locked(folder)
        with progress_bar("Checking entries") as progress:
            verdict = verify_log([*archives, ledger], trusted, kept=kept, live=live, progress=progress)
    except LedgerError as error:
        fail(error)
    except OSError as error:
        fail(f"the checkpoint {error.filename}: {error.strerror}")
    except UnicodeDecodeError:
        fail("a checkpoint that was given is not text")
    if as_json:
        click.echo(json.dumps(asdict(verdict), indent=2))
    else:
        _print_verdict(console(), verdict, ledger)
    sys.exit(1 if verdict.findings else 0)


def _print_verdict(out: Console, verdict: Verdict, ledger: Path) -> None:
    log = verdict.origin or str(ledger)
    for finding in verdict.findings:
        out.print(Text.assemble(("✘ ", "bold red"), (f"{finding.kind}: ", "bold red"), finding.text))
    if not verdict.findings:
        entries = f"{verdict.size - verdict.first:,} entries"
        out.print(Text.assemble(("✔ ", "bold green"), (log, "bold"), f": {entries} are what was signed"))
        newest = f", the newest over {verdict.signed:,} entries" if verdict.checkpoints else ""
        out.print(Text(f"  {verdict.checkpoints:,} checkpoints{newest}", style="dim"))
    for note in verdict.notes:
        out.print(Text.assemble(("• ", "yellow"), note))


@click.command()
@click.argument("seq", type=ENTRY)
@config_option
@ledger_option
@click.option("--out", type=click.Path(path_type=Path), help="Where to write it; else standard output.")
def prove(seq: int, config: Path, ledger: Path | None, out: Path | None) -> None:
    """Write a self-contained proof that entry SEQ is in the log.

    The proof (https://c2sp.org/tlog-proof) holds the entry, its path in the tree and a signed checkpoint.
    Whoever has the public key can check it with `callgate check-proof`, or with other tools.

    \b
    callgate prove 4711 --out 4711.tlog-proof
    """
    try:
        database = open_for_reading(ledger_path(config, ledger))
    except LedgerError as error:
        fail(error)
    try:
        with contextlib.closing(database):
            proof = make_proof(database, seq)
    except LedgerError as error:
        fail(error, 1)
    except sqlite3.Error as error:
        fail(f"the ledger cannot be read: {error}")
    if out is None:
        click.echo(proof, nl=False)
    else:
        try:
            out.write_text(proof, encoding="utf-8")
        except OSError as error:
            fail(f"{out}: {error.strerror}")
        console().print(Text.assemble(("✔ ", "bold green"), f"{out} proves entry {seq}"))


@click.command("check-proof")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--key", "keys", multiple=True, required=True, metavar="FILE|KEY", help="Public key of the log."
)
@json_option
def check_proof(file: Path, keys: Sequence[str], as_json: bool) -> None:
    """Check a proof with nothing but the log's public key, and show the entry that it proves.

    Exit status: 0 it holds, 1 it does not, 2 it could not be checked.

    \b
    callgate check-proof 4711.tlog-proof --key ledger.pub
    """
    trusted = public_keys(keys, Path())
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(f"{file}: {error.strerror}")
    try:
        proof = checked_proof(content.decode(), trusted)
    except UnicodeDecodeError:
        fail("not a proof: it is not text", 1)
    except ProofError as error:
        fail(error, 1)
    if as_json:
        click.echo(proof.text)
        return
    signed = f"in the log {proof.checkpoint.origin}, signed over {proof.checkpoint.size:,} entries"
    console().print(
        Group(
            Text.assemble(("✔ ", "bold green"), (f"entry {proof.entry.seq:,}", "bold"), f" is {signed}"),
            JSON(proof.text),
        )
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@config_option
@ledger_option
def backup(folder: Path, config: Path, ledger: Path | None) -> None:
    """Copy the log to FOLDER while the gateway runs.

    The copy holds all that is in the log now and ends at a checkpoint, so that it verifies by itself; a
    running gateway's next checkpoint is waited for. Private keys are left out, and named.

    \b
    callgate backup /backup/callgate-2027-01-31
    """
    state = ledger_path(config, ledger).parent
    out = console()
    spinner = console(stderr=True).status("")

    def waiting(size: int) -> None:
        spinner.update(f"Waiting for a checkpoint over {size:,} entries")

    try:
        with spinner if sys.stderr.isatty() else contextlib.nullcontext():
            made = back_up(state, folder, waiting=waiting)
    except LedgerError as error:
        fail(error)
    out.print(Text.assemble(("✔ ", "bold green"), f"{made.size:,} entries are in {folder}"))
    if made.left_out:
        out.print("Left out; keep these apart, or nobody can sign this log or match its hashes again:")
        for path in made.left_out:
            out.print(Text(f"  {path}", "yellow"))


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--before", required=True, metavar="WHEN", callback=as_moment, help="As in 365d or 2026-01-01.")
@config_option
@ledger_option
def archive(file: Path, before: str, config: Path, ledger: Path | None) -> None:
    """Move the oldest entries from the log to the new FILE, up to a checkpoint.

    An entry declares it, signed with the key in the state folder. Both parts verify together: `callgate
    verify --archive FILE`. What belongs to a session, hold or call that goes on stays. The gateway must not
    be running.

    \b
    callgate archive /archive/callgate-2026.db --before 2027-01-01
    """
    try:
        moved = move_to_archive(ledger_path(config, ledger).parent, file, before)
    except LedgerError as error:
        fail(error)
    console().print(
        Text.assemble(("✔ ", "bold green"), f"entries {moved.first:,} to {moved.last:,} are in {file}")
    )
