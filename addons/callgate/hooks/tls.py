"""TLS on either side, where mitmproxy's waits too long: for a first message without end, and for an end that
came as an alert; and where it takes too much memory.
"""

from __future__ import annotations

from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers import ClientTLSLayer, ServerTLSLayer
from mitmproxy.proxy.layers.tls import TLSLayer

from callgate.hooks.pressure import nothing

# A ClientHello that is larger is nobody's; mitmproxy would collect without end, and read all of it each time.
HELLO_BYTES = 16 * 1024
_PIECE = 256 * 1024
"""Bytes that are encrypted in one go. OpenSSL's buffer grows to what it is given and stays that large, and to
grow takes longer than to encrypt.
"""


class _Ours(TLSLayer):
    """Says once that the other side has gone, also where it went with a fatal alert (RFC 8446, section 6.2)
    in place of a goodbye, of which mitmproxy's layer says nothing. Encrypts piece by piece.
    """

    _has_ended = False

    def event_to_child(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.ConnectionClosed) and event.connection is self.conn:
            if self._has_ended:
                return nothing()
            self._has_ended = True
        return super().event_to_child(event)

    def receive_close(self) -> layer.CommandGenerator[None]:
        yield from self.event_to_child(events.ConnectionClosed(self.conn))

    def send_data(self, data: bytes) -> layer.CommandGenerator[None]:
        return super().send_data(data) if len(data) <= _PIECE else self._send_in_pieces(data)

    def _send_in_pieces(self, data: bytes) -> layer.CommandGenerator[None]:
        whole = memoryview(data)
        for start in range(0, len(whole), _PIECE):
            yield from super().send_data(whole[start : start + _PIECE])  # type: ignore[arg-type]


class ClientTLS(_Ours, ClientTLSLayer):
    """TLS of a client, whose first message is bounded."""

    def receive_handshake_data(self, data: bytes) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """Whether the handshake is done, and how it failed."""
        if not self.client_hello_parsed and len(self.recv_buffer) + len(data) > HELLO_BYTES:
            self.recv_buffer.clear()
            return False, "the ClientHello is too large"
        return (yield from super().receive_handshake_data(data))


class ServerTLS(_Ours, ServerTLSLayer):
    """TLS of an upstream."""
