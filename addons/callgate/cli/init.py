"""`callgate init`."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import click
from rich.markup import escape

from callgate.cli.common import console, fail
from callgate.ledger import Signer
from callgate.serve import secrets, template
from callgate.serve.config import split_address, split_endpoint
from callgate.serve.rooms import StateFolder

_DEFAULT = ("baseline", "destructive", "indirect", "secrets", "iam-decides")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--listen", default="127.0.0.1:8080", show_default=True, help="Where runners reach the proxy port."
)
@click.option("--endpoint", help="A URL that stands in for AWS: moto, LocalStack.")
@click.option(
    "--rules",
    "chosen",
    help="Rule files to begin with, separated by commas.  [default: ask, or " + ",".join(_DEFAULT) + "]",
)
@click.option("--prod", multiple=True, help="An account that runs production; may be repeated.")
@click.option(
    "--protected", multiple=True, help="An ARN pattern whose deletion always takes a person; may be repeated."
)
def init(
    folder: Path,
    listen: str,
    endpoint: str | None,
    chosen: str | None,
    prod: tuple[str, ...],
    protected: tuple[str, ...],
) -> None:
    """Write a first configuration, rule folder, CA and keys into FOLDER.

    What is there already is left as it is. On a terminal it asks which rules to begin with.

    \b
    callgate init gate
    callgate init gate --endpoint http://127.0.0.1:5000 --rules baseline,secrets,iam-decides
    callgate init gate --prod 111111111111 --protected 'arn:aws:s3:::billing-*'
    """
    for option, value, parse in (
        ("--listen", listen, split_address),
        ("--endpoint", endpoint, split_endpoint),
    ):
        try:
            if value is not None:
                parse(value)
        except ValueError as exc:
            fail(f"{option}: {exc}")
    asks = sys.stdin.isatty() and chosen is None
    names = _choose(asks, chosen)
    if asks:
        prod = prod or _ask("Accounts that run production (comma-separated, may be empty)")
        protected = protected or _ask("ARN patterns whose deletion always takes a person (may be empty)")
    if wrong := [account for account in prod if not re.fullmatch(r"\d{12}", account)]:
        fail(f"--prod: {wrong[0]!r} is not an account id of 12 digits")
    try:
        _write(folder, listen, endpoint, names, prod, protected)
    except OSError as exc:
        fail(f"{exc.filename}: {exc.strerror}")
    _tell(folder, listen)


def _choose(asks: bool, chosen: str | None) -> list[str]:
    shipped = {
        path.stem: path
        for path in sorted(template.shipped_rules().glob("*.toml"))
        if ".cases" not in path.name
    }
    shipped.pop("sets", None)
    if asks:
        out = console()
        for name, path in shipped.items():
            out.print(
                f"  [bold]{name}[/]  {escape(path.read_text('utf-8').partition(chr(10))[0].lstrip('# '))}"
            )
        chosen = click.prompt("Rules to begin with", default=",".join(_DEFAULT))
    names = [name.strip() for name in (chosen or ",".join(_DEFAULT)).split(",") if name.strip()]
    if unknown := [name for name in names if name not in shipped]:
        fail(f"--rules: there is no {unknown[0]!r}; there are {', '.join(shipped)}")
    return names


def _ask(question: str) -> tuple[str, ...]:
    answer = click.prompt(question, default="", show_default=False)
    return tuple(part.strip() for part in answer.split(",") if part.strip())


def _write(
    folder: Path,
    listen: str,
    endpoint: str | None,
    names: list[str],
    prod: tuple[str, ...],
    protected: tuple[str, ...],
) -> None:
    rules = folder / "rules"
    rules.mkdir(parents=True, exist_ok=True)
    config = folder / "callgate.toml"
    if not config.exists():
        config.write_text(template.config_text(listen=listen, endpoint=endpoint), "utf-8")
    source = template.shipped_rules()
    for name in names:
        if not (rules / f"{name}.toml").exists():
            shutil.copyfile(source / f"{name}.toml", rules / f"{name}.toml")
    sets = rules / "sets.toml"
    if not sets.exists():
        text = (source / "sets.toml").read_text("utf-8")
        sets.write_text(_with_set(_with_set(text, "prod", prod), "protected", protected), "utf-8")
    state = StateFolder(folder / "state")
    state.path.mkdir(mode=0o700, exist_ok=True)
    secrets.make_ca(state.ca)
    secrets.make_mask_key(state.mask_key)
    if not state.ledger_key.exists():
        Signer.create(state.ledger_key, "callgate.local")


def _with_set(text: str, name: str, values: tuple[str, ...]) -> str:
    if not values:
        return text
    listed = ", ".join(f'"{value}"' for value in values)
    return re.sub(rf"^{name} = \[.*?\]", lambda _: f"{name} = [{listed}]", text, flags=re.M | re.S)


def _tell(folder: Path, listen: str) -> None:
    out = console()
    ca = secrets.ca_certificate(StateFolder(folder / "state").ca).resolve()
    out.print(
        f"[bold green]Written to {escape(str(folder))}[/]: callgate.toml, rules; in state the CA and keys.\n"
    )
    out.print("Run the gateway:\n")
    out.print(f"  callgate serve --config {escape(str(folder / 'callgate.toml'))}\n", soft_wrap=True)
    out.print("What a runner exports (its OIDC token is for the audience `callgate`):\n")
    out.print(f"  export HTTPS_PROXY={_proxy_url(listen)}", soft_wrap=True, markup=False)
    out.print(f"  export AWS_CA_BUNDLE={ca}", soft_wrap=True, markup=False)
    out.print(f"  export NODE_EXTRA_CA_CERTS={ca}\n", soft_wrap=True, markup=False)
    out.print("or, with everything set for every client:  callgate run -- COMMAND")


def _proxy_url(listen: str) -> str:
    """As runners write it: over TLS, but to the loopback."""
    host, port = split_address(listen)
    scheme = "http" if host in ("127.0.0.1", "::1", "localhost") else "https"
    named = "GATEWAY" if host in ("0.0.0.0", "::") else listen.rpartition(":")[0]
    return f"{scheme}://job:$TOKEN@{named}:{port}"
