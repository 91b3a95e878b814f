"""Which layer reads a connection: always one of ours, or none."""

from __future__ import annotations

import ipaddress

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import context, layer
from mitmproxy.proxy.layers import ClientTLSLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.tls import HTTP1_ALPNS, parse_client_hello

from callgate.call import Refusal
from callgate.channel import canonical_host
from callgate.hooks.exchange import Connection
from callgate.hooks.gateway import Terms
from callgate.hooks.heads import Close
from callgate.hooks.layers import UNCHECKED, Http
from callgate.hooks.memory import Share
from callgate.hooks.pressure import Tunnel
from callgate.hooks.stream import AtOnce
from callgate.hooks.tls import HELLO_BYTES, ClientTLS, ServerTLS

# TLS extensions: server_name (RFC 6066), encrypted_client_hello (RFC 9849).
_SNI, _ECH = 0, 0xFE0D


def choose_layer(
    nextlayer: layer.NextLayer, known: Connection | None, terms: Terms, at_once: AtOnce, share: Share
) -> None:
    """Replace mitmproxy's choice, made by the address and the look of the bytes, by ours, made by what
    CONNECT proved.
    """
    forget(nextlayer)
    data = nextlayer.data_client()
    if not data:
        return
    try:
        nextlayer.layer = _choose(nextlayer.context, data, known, terms, at_once, share)
    except Refusal as refusal:
        refuse_layer(nextlayer, refusal)


def refuse_layer(nextlayer: layer.NextLayer, refusal: Refusal) -> None:
    """Let the connection end."""
    forget(nextlayer)
    nextlayer.layer = Close(nextlayer.context, refusal)


def forget(nextlayer: layer.NextLayer) -> None:
    """Take a chosen layer, and what it stacked upon itself, off the context (a layer puts itself there when
    made).
    """
    layers = nextlayer.context.layers
    if nextlayer.layer in layers:
        del layers[layers.index(nextlayer.layer) :]
    nextlayer.layer = None


def _choose(
    context: context.Context,
    data: bytes,
    known: Connection | None,
    terms: Terms,
    at_once: AtOnce,
    share: Share,
) -> layer.Layer | None:
    tls = starts_like_tls_record(data)
    inside = [each for each in context.layers if isinstance(each, ClientTLSLayer)]
    tunnelled = any(isinstance(each, Http) for each in context.layers)
    if not tunnelled:
        if tls and not inside:
            return ClientTLS(context)
        if tls:
            raise Refusal("nested-tls", "TLS inside TLS is not read.")
        if not inside and not terms.plaintext and not _is_loopback(context):
            raise Refusal(
                "plaintext-refused", "This proxy port speaks TLS only; use https:// in HTTPS_PROXY."
            )
        return Http(context, HTTPMode.regular, terms.bounds, at_once, share)
    if known is None:
        raise Refusal("not-connected", "There is no tunnel that was let through.")
    after_connect = isinstance(context.layers[-1], ClientTLSLayer) and len(inside) > _outer_tls(context)
    if after_connect:
        if tls:
            raise Refusal("nested-tls", "TLS inside TLS is not read.")
        if context.client.alpn not in (None, b"", *HTTP1_ALPNS):
            raise Refusal("protocol-refused", "Only HTTP/1.1 is spoken here.")
        return Http(context, HTTPMode.transparent, terms.bounds, at_once, share)
    if not tls:
        if len(data) < 3 and b"\x16\x03\x01"[: len(data)] == data:
            return None
        raise Refusal("not-tls", "What came through the tunnel is not TLS.")
    if known.kind == "tunnel":
        return _tunnel(context, data, known)
    server_tls = ServerTLS(context)
    server_tls.child_layer = ClientTLS(context)
    return server_tls


def _tunnel(context: context.Context, data: bytes, known: Connection) -> layer.Layer | None:
    try:
        hello = parse_client_hello(data)
    except ValueError:
        raise Refusal("not-tls", "What came through the tunnel is not TLS.") from None
    if hello is None:
        if len(data) > HELLO_BYTES:
            raise Refusal("not-tls", "The TLS handshake begins with more than a ClientHello has.")
        return None
    kinds = [kind for kind, _ in hello.extensions]
    if _ECH in kinds or kinds.count(_SNI) > 1:
        raise Refusal("destination-mismatch", "The TLS handshake hides or doubles its server name.")
    if hello.sni is None or canonical_host(hello.sni) != known.destination.host:
        raise Refusal("destination-mismatch", "CONNECT target and TLS server name (SNI) differ.")
    context.server.error = UNCHECKED
    return Tunnel(context)


def _outer_tls(context: context.Context) -> int:
    """How many TLS layers lie under the proxy's own HTTP layer (1 where the runner speaks TLS to the proxy
    port).
    """
    count = 0
    for each in context.layers:
        if isinstance(each, Http):
            break
        count += isinstance(each, ClientTLSLayer)
    return count


def _is_loopback(context: context.Context) -> bool:
    sockname = context.client.sockname
    return bool(sockname) and ipaddress.ip_address(str(sockname[0]).partition("%")[0]).is_loopback
