"""The gateway's own answers in place of a call's: put on its flow, shown and recorded."""

from __future__ import annotations

from mitmproxy import http

from callgate import aws
from callgate.call import Refusal
from callgate.hooks import annotate, record, respond
from callgate.hooks.exchange import Exchange
from callgate.hooks.gateway import Gateway
from callgate.hooks.guard import bare_answer
from callgate.hooks.stream import ANSWERED


class Answers:
    """Refusals of requests, and of responses."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def annotate(self, flow: http.HTTPFlow, exchange: Exchange, refusal: Refusal | None = None) -> None:
        """Show in mitmweb what became of a call, if anybody looks."""
        if self._gateway.terms.watched != "never":
            annotate.show(flow, exchange, refusal)

    def scrub(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Take secrets off a flow that others than the gateway see."""
        if self._gateway.terms.watched != "never":
            annotate.scrub(flow, exchange, self._gateway.mask_key)

    async def refuse(self, flow: http.HTTPFlow, exchange: Exchange, refusal: Refusal) -> None:
        """Put the refusal on the flow in the request's own protocol, and in the ledger; nothing waits for
        it.
        """
        flow.response = bare_answer(refusal, exchange.call_id)
        flow.metadata[ANSWERED] = True
        self.annotate(flow, exchange, refusal)
        await self.note(exchange, refusal)
        if exchange.request is not None:
            message = self._message(exchange, refusal)
            answer = aws.answer(
                exchange.request, exchange.call, refusal, call_id=exchange.call_id, message=message
            )
            flow.response = http.Response.make(
                answer.status,
                answer.body,
                [(k.encode(), v.encode("latin-1", "replace")) for k, v in answer.headers],
            )
            exchange.request = None
        self.scrub(flow, exchange)

    async def note(self, exchange: Exchange, refusal: Refusal) -> None:
        """The terminal entry of a call that was refused."""
        exchange.ended = True
        await self._gateway.note(record.refused(exchange, refusal, mask_key=self._gateway.mask_key))

    def _message(self, exchange: Exchange, refusal: Refusal) -> str:
        # A denial's detail names its rule; a hold's says what people did.
        holds = sorted(terms.rule for terms in exchange.decision.holds) if exchange.decision else []
        rules = f" (rule {', '.join(holds)})" if holds else ""
        help_text = f" {self._gateway.terms.help}" if self._gateway.terms.help else ""
        return f"Callgate: {refusal.detail} [{refusal.code}]{rules} Call {exchange.call_id}.{help_text}"

    async def withhold(self, flow: http.HTTPFlow, exchange: Exchange, refusal: Refusal) -> None:
        """Nothing of AWS's response goes back: a 502 without a body, or, if its head has gone, a reset."""
        if flow.response is not None and flow.response.stream:
            flow.kill()
        flow.response = bare_answer(Refusal(refusal.code, "", status=502), exchange.call_id)
        flow.response.raw_content = b""
        flow.response.headers["Content-Length"] = "0"
        flow.metadata[ANSWERED] = True
        self.annotate(flow, exchange, refusal)
        await respond.block(self._gateway, exchange, refusal, status=502)
