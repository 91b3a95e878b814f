"""The runner's command line: `run` and `doctor`."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from callgate.runner import doctor
from callgate.runner.context import context_of
from callgate.runner.environment import child_environment
from callgate.runner.errors import RunnerError
from callgate.runner.gateway import Gateway, connect
from callgate.runner.process import end_like, run_command
from callgate.runner.renewal import Renewal
from callgate.runner.sources import Source, Wanted, find_source
from callgate.runner.summary import summary_lines, write_step_summary

_RUN_HELP = """Run COMMAND so that its calls to AWS go through the gateway in a session of this job.

examples:
  callgate run -- aws s3 ls
  callgate run --token-file /var/run/secrets/tokens/callgate -- python deploy.py
  eval "$(callgate run --print-env)"      # for the following commands of this step
"""
_DOCTOR_HELP = """Say what keeps this runner from using the gateway, and how to put it right.

example:
  callgate doctor --gateway https://callgate.example.com:8443
"""
_HANDLE = re.compile(r"[A-Za-z0-9._~-]{1,512}")


class Session(NamedTuple):
    """An open session: its handle, id, remaining seconds, and the token and source that opened it."""

    handle: str
    id: str
    expires_in: float
    token: str
    source: Source


def main(arguments: Sequence[str], prog: str = "callgate") -> int:
    """Run the command line; its exit code. 2 is a fault before the command began."""
    options, command = _parse(list(arguments), prog)
    try:
        if options.action == "doctor":
            return doctor.main(_wanted(options), options.gateway, options.ca, options.plaintext, os.environ)
        gateway = connect(options.gateway, options.ca, options.plaintext, os.environ)
        session = open_session(gateway, _wanted(options), command, os.environ)
        if options.print_env:
            return print_environment(gateway, session, os.environ)
        return end_like(run(gateway, session, command, os.environ))
    except RunnerError as error:
        print(f"callgate: {error}", file=sys.stderr)
        return 2


def open_session(
    gateway: Gateway, wanted: Wanted, command: Sequence[str], environ: Mapping[str, str]
) -> Session:
    """Find a token and exchange it. Raises RunnerError."""
    source = find_source(wanted, environ, gateway)
    token = source.read()
    answer = gateway.open_session(token, context_of(command, environ))
    handle = answer.get("access_token")
    if not isinstance(handle, str) or not _HANDLE.fullmatch(handle):
        raise RunnerError("the gateway's answer has no session handle")
    return Session(
        handle, str(answer.get("callgate_session", "")), float(answer.get("expires_in", 0)), token, source
    )


def run(gateway: Gateway, session: Session, command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command in the session, keep the session alive, and tell at the end what was refused."""
    folder = tempfile.mkdtemp(prefix="callgate-")
    renewal = Renewal(gateway, session.source, session.handle, session.token, session.expires_in)
    try:
        changes, notes = _changes(gateway, session, environ, folder)
        renewal.start()
        child = {name: value for name, value in environ.items() if name != "CALLGATE_TOKEN"}
        code = run_command(command, {**child, **changes})
    finally:
        renewal.stop()
        shutil.rmtree(folder, ignore_errors=True)
    for line in [*notes, *renewal.notes, *_finish(gateway, session.handle, environ)]:
        print(f"callgate: {line}", file=sys.stderr)
    return code


def print_environment(gateway: Gateway, session: Session, environ: Mapping[str, str]) -> int:
    """Print what a POSIX shell must export. The session lasts as long as its token: nobody renews it."""
    folder = tempfile.mkdtemp(prefix="callgate-", dir=environ.get("RUNNER_TEMP"))
    changes, notes = _changes(gateway, session, environ, folder)
    for name, value in sorted(changes.items()):
        print(f"export {name}={shlex.quote(value)}")
    for line in notes:
        print(f"callgate: {line}", file=sys.stderr)
    return 0


def _changes(
    gateway: Gateway, session: Session, environ: Mapping[str, str], folder: str
) -> tuple[dict[str, str], list[str]]:
    return child_environment(
        environ,
        proxy_url=gateway.proxy_url(session.handle),
        session=session.id,
        ca="\n".join([gateway.ca or "", gateway.ca_pem()]).strip() + "\n",
        folder=folder,
    )


def _finish(gateway: Gateway, handle: str, environ: Mapping[str, str]) -> list[str]:
    """Fetch the refusals and close the session; neither may change how the job ends."""
    try:
        refusals = gateway.refusals(handle)
        gateway.close_session(handle)
        write_step_summary(refusals, environ)
        return summary_lines(refusals)
    except (RunnerError, OSError) as error:
        return [f"what was refused is not known: {error}"]


def _wanted(options: argparse.Namespace) -> Wanted:
    return Wanted(options.token_file, options.token_env, options.token_command, options.audience)


def _parse(arguments: list[str], prog: str) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(prog=prog, description="The runner's side of Callgate.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="run|doctor")
    shape = argparse.RawDescriptionHelpFormatter
    usage = f"{prog} run [OPTIONS] [--] COMMAND [ARGUMENTS…]"
    runner = actions.add_parser("run", description=_RUN_HELP, formatter_class=shape, usage=usage)
    examiner = actions.add_parser("doctor", description=_DOCTOR_HELP, formatter_class=shape)
    for each in (runner, examiner):
        add = each.add_argument
        add("--gateway", metavar="URL", help="https://HOST:PORT of the proxy port [CALLGATE_GATEWAY]")
        add("--ca", metavar="FILE", help="the gateway's CA, PEM [CALLGATE_CA, CALLGATE_CA_SHA256]")
        add("--audience", metavar="TEXT", help="the audience to ask a token for [CALLGATE_AUDIENCE]")
        add("--token-file", metavar="FILE", help="a file that holds the token [CALLGATE_TOKEN_FILE]")
        add("--token-env", metavar="NAME", help="the variable that holds the token [CALLGATE_TOKEN]")
        add("--token-command", metavar="TEXT", help="a command that prints it [CALLGATE_TOKEN_COMMAND]")
        add("--plaintext", action="store_true", help="permit http:// to a host on a trusted network")
    runner.add_argument("--print-env", action="store_true", help="print exports for a shell, run nothing")
    runner.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    command = list(getattr(options, "command", []))
    if command[:1] == ["--"]:
        command = command[1:]
    if options.action == "run" and options.print_env == bool(command):
        runner.error("give a command to run, or --print-env")
    return options, command
