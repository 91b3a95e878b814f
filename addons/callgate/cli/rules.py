"""`callgate rules`: check, try out, describe and roll out rule files."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from callgate.cli.aws_catalogue import aws_catalogue
from callgate.cli.common import config_option, console, fail, json_option
from callgate.cli.ledger_common import ledger_option, ledger_path, since_option
from callgate.ledger import LedgerError
from callgate.ledger.store import open_for_reading
from callgate.masking import mask_mistakes
from callgate.policy import Moment, RuleError, RuleSet, load_rules
from callgate.policy.cases import Outcome, case_files, coverage, run_cases
from callgate.policy.checking import check as find_warnings
from callgate.policy.impact import Impact, impact
from callgate.policy.language import RuleFile
from callgate.policy.ruleset import read_text

paths_argument = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))


@click.group()
def rules() -> None:
    """Check, try out, describe and roll out rule files.

    \b
    callgate rules check rules            what cannot load, or can never match
    callgate rules test rules             the cases beside the rules
    callgate rules impact                 what enforcing would refuse, after a time in observe mode
    callgate rules schema > rules.schema.json
    """


def _load(paths: tuple[Path, ...], *, as_json: bool = False) -> RuleSet:
    try:
        return load_rules(paths, mask_mistakes)
    except RuleError as error:
        errors = [error, *error.others]
        if as_json:
            click.echo(json.dumps({"errors": [_finding(each) for each in errors], "warnings": []}))
        for other in errors[:-1]:
            click.echo(f"callgate: {other}", err=True)
        fail(errors[-1])


def _finding(error: RuleError) -> dict[str, Any]:
    return {
        "file": error.file,
        "line": error.line,
        "rule": error.rule,
        "key": error.key,
        "message": error.message,
    }


@rules.command()
@paths_argument
@click.option("--strict", is_flag=True, help="Exit with status 1 if there are warnings.")
@json_option
def check(paths: tuple[Path, ...], strict: bool, as_json: bool) -> None:
    """Say what is wrong with the rule files in PATHS (files or folders), which are loaded together.

    Errors (status 2) are what the gateway would not load. Warnings are rules that load and cannot mean what
    they say: they can never match, a deny leaves them no say, or they name an action, operation, claim or
    parameter that does not exist.

    \b
    callgate rules check rules
    callgate rules check --strict rules/baseline.toml rules/sets.toml
    """
    loaded = _load(paths, as_json=as_json)
    warnings = find_warnings(loaded, aws_catalogue(), dt.datetime.now(dt.UTC))
    if as_json:
        found = {"errors": [], "warnings": [_finding(each) for each in warnings], "digest": loaded.digest}
        click.echo(json.dumps(found))
    else:
        out = console()
        for warning in warnings:
            out.print(f"[yellow]warning:[/] {escape(str(warning))}", soft_wrap=True)
        counts = ((len(loaded), "rule"), (len(warnings), "warning"))
        counted = ", ".join(f"{count} {word}{'s' * (count != 1)}" for count, word in counts)
        out.print(f"{counted}, {loaded.digest}", soft_wrap=True)
    sys.exit(1 if strict and warnings else 0)


@rules.command()
@paths_argument
@click.option("--strict", is_flag=True, help="Exit with status 1 if a rule matches in no case.")
@json_option
def test(paths: tuple[Path, ...], strict: bool, as_json: bool) -> None:
    """Judge the cases beside the rule files in PATHS: those in a folder, or NAME.cases.toml beside NAME.toml.

    Status 1 if a verdict is not as expected.

    \b
    callgate rules test rules
    """
    loaded = _load(paths)
    moment = Moment(dt.datetime.now(dt.UTC))
    needs_of = aws_catalogue().needs_of
    outcomes: list[Outcome] = []
    try:
        for file in dict.fromkeys(file for path in paths for file in case_files(path)):
            outcomes += run_cases(loaded, str(file), read_text(file), needs_of, moment)
    except RuleError as error:
        fail(error)
    if not outcomes:
        fail(f"{paths[0]}: there are no cases; they are in files named *.cases.toml")
    failed = [outcome for outcome in outcomes if outcome.wrong]
    covered = coverage(loaded, outcomes)
    untested = [rule for rule, count in covered.items() if not count]
    if as_json:
        click.echo(json.dumps({"cases": [_outcome(each) for each in outcomes], "coverage": dict(covered)}))
    else:
        _tell_outcomes(failed, untested)
        total, tested = len(outcomes), len(covered) - len(untested)
        console().print(
            f"{total - len(failed)} of {total} cases as expected; {tested} of {len(covered)} rules used"
        )
    sys.exit(1 if failed or (strict and untested) else 0)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "file": outcome.file,
        "line": outcome.line,
        "name": outcome.name,
        "wrong": list(outcome.wrong),
        "decision": outcome.decision.summary(),
    }


def _tell_outcomes(failed: list[Outcome], untested: list[str]) -> None:
    out = console()
    for outcome in failed:
        out.print(
            f"[red]failed:[/] {escape(f'{outcome.file}:{outcome.line}: {outcome.name}')}", soft_wrap=True
        )
        for line in outcome.wrong:
            out.print(f"    {escape(line)}", soft_wrap=True)
    if untested:
        out.print(f"[yellow]no case matches:[/] {escape(', '.join(untested))}", soft_wrap=True)


@rules.command()
def schema() -> None:
    """Print the JSON Schema of rule files, for editors (Even Better TOML, taplo).

    \b
    callgate rules schema > rules.schema.json
    """
    described = RuleFile.model_json_schema(by_alias=True)
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **described,
        "title": "Callgate rules",
    }
    click.echo(json.dumps(described, indent=2))


@rules.command(name="impact")
@config_option
@ledger_option
@since_option
@click.option("--principal", help="Only calls of this principal.")
@json_option
def show_impact(
    config: Path, ledger: Path | None, since: str | None, principal: str | None, as_json: bool
) -> None:
    """Say what enforcing would have refused, held or masked of the calls that were judged in observe mode.

    By principal and operation, with the number of calls and the newest as example.

    \b
    callgate rules impact --config gate/callgate.toml
    callgate rules impact --since 7d --json
    """
    calls = _calls(ledger_path(config, ledger), since)
    found = [each for each in impact(calls) if principal in (None, each.principal)]
    if as_json:
        click.echo(json.dumps([each.to_json() for each in found]))
    elif found:
        console().print(_impact_table(found))
    else:
        console().print("No call so far that enforcing would treat otherwise.")


def _calls(file: Path, since: str | None) -> Iterator[dict[str, Any]]:
    """What the ledger says of calls for which observing made a difference."""
    query = """SELECT entry -> '$.body' FROM entries
        WHERE kind IN ('call.intent', 'call.refused') AND time >= ?
          AND coalesce(entry -> '$.body.decision.would', entry -> '$.body.decision.wouldMask') IS NOT NULL
        ORDER BY seq"""
    try:
        with contextlib.closing(open_for_reading(file)) as database:
            for (body,) in database.execute(query, (since or "",)):
                yield json.loads(body)
    except LedgerError as error:
        fail(error)
    except sqlite3.Error as error:
        fail(f"{file}: cannot be read as a ledger: {error}")


_COLOURS = {"deny": "red", "hold": "yellow", "mask": "cyan"}
_VERBS = {"deny": "refused", "hold": "held", "mask": "masked"}


def _impact_table(found: list[Impact]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("principal", "would be", "calls", "operation", "rules", "example"):
        table.add_column(name, overflow="fold", justify="right" if name == "calls" else "left")
    for each in found:
        example = f"{each.example['resource']} ({each.example['callId']})"
        table.add_row(
            escape(each.principal),
            f"[{_COLOURS[each.would]}]{_VERBS[each.would]}[/]",
            str(each.count),
            escape(each.operation),
            escape(", ".join(each.rules) or "no rule allows it"),
            escape(example),
        )
    return table
