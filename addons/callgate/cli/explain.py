"""`callgate explain`: how a request reads as an AWS call, and what rules say to it."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from callgate import aws, policy
from callgate.call import Call, Need, Refusal, to_json
from callgate.cli.common import console, fail
from callgate.cli.requests import Item, items_of
from callgate.identity import Identity
from callgate.masking import mask_mistakes


@click.command()
@click.argument("source", metavar="[FILE]", default="-", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--aws-endpoint",
    "endpoints",
    multiple=True,
    metavar="HOST[:PORT][/PATH][=SERVICE]",
    help="A host that stands in for AWS: for one service, or for the one that is signed for. Repeatable.",
)
@click.option("--rules", type=click.Path(path_type=Path), help="A rule file or folder: adds the decision.")
@click.option("--principal", help="Whom the rules shall judge, as JSON: issuer, subject and claims.")
@click.option("--pretty", is_flag=True, help="For people: indented, one call after the other.")
def explain(
    source: Path, endpoints: tuple[str, ...], rules: Path | None, principal: str | None, pretty: bool
) -> None:
    """Show how requests read: service, operation, parameters and needs.

    FILE (or standard input) holds JSON lines, each a request {"method", "url", "headers": [[name, value]],
    "body_b64"} or a call from the log; or it is a HAR file or a flow file of mitmproxy. Each gets one line
    of JSON, in the same order: the call, or {"refused": code, "detail": text}.

    \b
    callgate explain < requests.jsonl
    callgate explain --pretty session.har
    callgate explain --rules rules --principal '{"repository": "acme/infra"}' < requests.jsonl
    """
    try:
        stand_ins = aws.Endpoints.parse(endpoints)
    except ValueError as exc:
        fail(f"--aws-endpoint: {exc}")
    judge = _judge(rules, principal)
    try:
        stream = nullcontext(sys.stdin.buffer) if str(source) == "-" else source.open("rb")
    except OSError as exc:
        fail(f"{source}: {exc.strerror}")
    with stream as opened:
        for item in items_of(opened):
            _print(_answer(item, stand_ins, judge), pretty)


class _Judge:
    """Rules and the identity that they judge."""

    def __init__(self, rules: policy.RuleSet, identity: Identity) -> None:
        self._rules = rules
        self._identity = identity

    def __call__(self, call: Call) -> dict[str, Any]:
        moment = policy.Moment(datetime.datetime.now(datetime.UTC))
        return policy.explain(self._rules, self._identity, call, moment)


def _judge(rules: Path | None, principal: str | None) -> _Judge | None:
    if rules is None:
        if principal is not None:
            fail("--principal says whom --rules shall judge; name the rules")
        return None
    try:
        claims = json.loads(principal or "{}")
        if not isinstance(claims, dict):
            raise ValueError("a JSON object is wanted")
        return _Judge(policy.load_rules([rules], mask_mistakes), policy.identity_of(claims))
    except policy.RuleError as exc:
        fail(exc)
    except json.JSONDecodeError as exc:
        fail(f"--principal: is not JSON: {exc}")
    except ValueError as exc:
        fail(f"--principal: {exc}")


def _answer(item: Item, endpoints: aws.Endpoints, judge: _Judge | None) -> dict[str, Any]:
    """What is said of one item. A bad item is answered, never fatal to the others."""
    try:
        if isinstance(item, Refusal):
            raise item
        call = item if isinstance(item, Call) else aws.read(item, endpoints)
        said = describe(call)
        if judge is not None:
            said["decision"] = judge(call)
        return said
    except Refusal as refusal:
        return {"refused": refusal.code, "detail": refusal.detail}
    except Exception as exc:  # noqa: BLE001 - one line out for each line in, whatever happens
        return {"refused": "internal-error", "detail": f"The gateway failed on it: {type(exc).__name__}."}


def describe(call: Call) -> dict[str, Any]:
    """`call` as plain JSON."""
    return {
        "service": call.service,
        "operation": call.operation,
        "candidates": [list(pair) for pair in call.candidates],
        "protocol": call.protocol,
        "region": call.region,
        "partition": call.partition,
        "account": call.account,
        "auth": call.auth,
        "parameters": to_json(call.parameters),
        "payload": to_json(call.payload),
        "needs": _pairs(call.needs),
        "undetermined": _pairs(need for need in call.needs if not need.determined),
    }


def _pairs(needs: Iterable[Need]) -> list[list[str]]:
    """Each pair once: twins on the wire need the same of IAM."""
    return [list(pair) for pair in dict.fromkeys((need.action, need.resource) for need in needs)]


def _print(said: Mapping[str, Any], pretty: bool) -> None:
    if pretty:
        console().print_json(json.dumps(said))
        return
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
