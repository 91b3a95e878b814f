"""A held call in mitmweb: an intercepted flow with a comment, whose Resume is a verdict only where that is
configured.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mitmproxy import http

from callgate.approvals import Person
from callgate.call import Refusal
from callgate.hooks import annotate
from callgate.hooks.exchange import Exchange
from callgate.hooks.gateway import Gateway

log = logging.getLogger(__name__)


@asynccontextmanager
async def shown_as_held(gateway: Gateway, exchange: Exchange, flow: http.HTTPFlow) -> AsyncIterator[None]:
    """Within it, the flow stands intercepted; afterwards it goes on."""
    annotate.show(flow, exchange)
    watching = asyncio.create_task(_watch(gateway, exchange, flow))
    try:
        yield
    finally:
        watching.cancel()
        flow.resume()


async def _watch(gateway: Gateway, exchange: Exchange, flow: http.HTTPFlow) -> None:
    while flow.error is None:
        flow.intercept()
        await gateway.show(flow)
        await flow.wait_for_resume()
        if flow.error is None:
            await _resumed(gateway, exchange)


async def _resumed(gateway: Gateway, exchange: Exchange) -> None:
    """Somebody pressed Resume: mitmweb does not say who."""
    groups = frozenset(gateway.terms.resume_groups)
    hold_id = gateway.holds.hold_of(exchange.call_id)
    if not groups or hold_id is None:
        return
    try:
        person = Person("mitmweb", groups, "mitmweb")
        await gateway.holds.decide(hold_id, person, "approve", "resumed in mitmweb")
    except Refusal as refusal:
        log.warning("callgate: Resume of %s counts for nothing: %s", exchange.call_id, refusal)
