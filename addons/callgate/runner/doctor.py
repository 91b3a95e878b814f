"""`callgate doctor`: what keeps a runner from using the gateway, one line each, with the way
to put it right.
"""

from __future__ import annotations

import base64
import email.utils
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from callgate.runner.context import context_of
from callgate.runner.environment import CA_VARIABLES, without_aws
from callgate.runner.errors import RunnerError
from callgate.runner.gateway import Gateway, GatewayRefused, connect
from callgate.runner.sources import Wanted, find_source

_MAX_SKEW = 30.0
_REMEDY = "unset it, or use `callgate run`"


class Finding(NamedTuple):
    """One line of the report."""

    good: bool
    text: str


def main(wanted: Wanted, url: str | None, ca: str | None, plaintext: bool, environ: Mapping[str, str]) -> int:
    """Print every finding; 0 if all is well, 1 if something is wrong."""
    good = True
    for finding in examine(wanted, url, ca, plaintext, environ):
        good = good and finding.good
        print(f"{'ok  ' if finding.good else 'FAIL'} {finding.text}", file=sys.stdout)
    return 0 if good else 1


def examine(
    wanted: Wanted, url: str | None, ca: str | None, plaintext: bool, environ: Mapping[str, str]
) -> Iterator[Finding]:
    """The findings, in the order in which one depends on another."""
    try:
        gateway = connect(url, ca, plaintext, environ)
        response, _ = gateway.request("GET", "/callgate/health")
        yield Finding(True, f"{gateway.url} answers and is trusted")
        yield _clock(response.getheader("Date"))
    except GatewayRefused as refused:
        yield Finding(False, f"the gateway is not ready: {refused}")
        return
    except RunnerError as error:
        yield Finding(False, str(error))
        return
    yield from _environment(gateway, environ)
    try:
        source = find_source(wanted, environ, gateway)
        token = source.read()
        yield Finding(True, f"a token comes from {source.what}{_shown(token)}")
        handle = gateway.open_session(token, context_of(["callgate", "doctor"], environ))["access_token"]
        gateway.close_session(handle)
        yield Finding(True, "the gateway accepts the token")
    except GatewayRefused as refused:
        yield Finding(False, f"the token does not open a session: {refused}")
    except RunnerError as error:
        yield Finding(False, str(error))


def _clock(date: str | None) -> Finding:
    try:
        gap = time.time() - email.utils.parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):
        return Finding(True, "the gateway tells no time: the clock was not compared")
    if abs(gap) > _MAX_SKEW:
        way = "ahead of" if gap > 0 else "behind"
        return Finding(False, f"the clock is {abs(gap):.0f} s {way} the gateway's: synchronise it (NTP)")
    return Finding(True, "the clock agrees with the gateway's")


def _environment(gateway: Gateway, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What the step's own variables say; `callgate run` puts all of it right for its command."""
    for name in ("NO_PROXY", "no_proxy"):
        if bypassing := without_aws(environ.get(name, ""))[1]:
            yield Finding(False, f"{name} takes {', '.join(bypassing)} around the gateway: {_REMEDY}")
    proxy = environ.get("HTTPS_PROXY") or environ.get("https_proxy")
    if proxy and _place(proxy) != (gateway.host, gateway.port):
        yield Finding(False, f"HTTPS_PROXY names another proxy than the gateway: {_REMEDY}")
    for name in (*CA_VARIABLES, "NODE_EXTRA_CA_CERTS"):
        file = environ.get(name)
        if file and not os.path.isfile(file):
            yield Finding(False, f"{name} names {file}, which is not there: unset it")
        elif file and proxy and not _has_ca(file, gateway):
            yield Finding(False, f"{name} names {file}, which lacks the gateway's CA: {_REMEDY}")


def _has_ca(file: str, gateway: Gateway) -> bool:
    with open(file, encoding="utf-8", errors="replace") as opened:
        bundle = "".join(opened.read().split())
    return "".join(gateway.ca_pem().split()) in bundle


def _place(proxy: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(proxy)
        return parts.hostname, parts.port
    except ValueError:
        return None, None


def _shown(token: str) -> str:
    """Issuer, audience and remaining life of a token, unverified; nothing of a token that is no JWT."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        left = float(claims["exp"]) - time.time()
        text = f"iss {claims['iss']}, aud {claims['aud']}"
    except (IndexError, KeyError, TypeError, ValueError):
        return " (it is no JWT)"
    life = f"{left:.0f} s left" if left > 0 else "EXPIRED: ask for a new one"
    return " (" + "".join(letter for letter in f"{text}, {life}" if letter.isprintable())[:300] + ")"
