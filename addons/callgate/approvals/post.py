"""One HTTPS POST to a webhook: a connection of its own, never through a proxy, no redirects, bounded in
time.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import h11

_MAX_ANSWER = 64 * 1024
# Answers after which the same message can be taken: too early, too many, or the receiver's trouble.
_TRY_AGAIN = frozenset({408, 425, 429})


class PostError(Exception):
    """The message was not taken. `final`: it never will be. `retry_after`: seconds that the receiver asks
    for.

    The text names the receiver's host alone, since the rest of a URL can be a secret.
    """

    def __init__(self, reason: str, *, final: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.final = final
        self.retry_after = retry_after


async def post(url: str, headers: Mapping[str, str], body: bytes, *, ca: Path | None, timeout: float) -> None:
    """Returns upon a 2xx answer within `timeout` seconds. Raises PostError."""
    host = urlsplit(url).hostname or "?"
    try:
        async with asyncio.timeout(timeout):
            status, retry_after = await _exchange(url, headers, body, ca)
    except TimeoutError:
        raise PostError(f"{host}: no answer within {timeout:g} s") from None
    except (OSError, ValueError, h11.RemoteProtocolError) as error:
        raise PostError(f"{host}: {type(error).__name__}") from None
    if not 200 <= status < 300:
        final = status < 500 and status not in _TRY_AGAIN
        raise PostError(f"{host}: answered {status}", final=final, retry_after=retry_after)


async def _exchange(
    url: str, headers: Mapping[str, str], body: bytes, ca: Path | None
) -> tuple[int, float | None]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    context = await asyncio.to_thread(ssl.create_default_context, cafile=ca) if secure else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
    try:
        connection = h11.Connection(h11.CLIENT)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fixed = {"Host": parts.netloc, "Content-Length": str(len(body)), "Connection": "close"}
        request = h11.Request(method="POST", target=target, headers=[*fixed.items(), *headers.items()])
        for event in (request, h11.Data(data=body), h11.EndOfMessage()):
            writer.write(connection.send(event) or b"")
        await writer.drain()
        return await _answer(connection, reader)
    finally:
        writer.transport.abort()


async def _answer(connection: h11.Connection, reader: asyncio.StreamReader) -> tuple[int, float | None]:
    size = 0
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                data = await reader.read(65536)
                size += len(data)
                if size > _MAX_ANSWER:
                    raise ValueError("the answer is too long")
                connection.receive_data(data)
            case h11.Response(status_code=status, headers=headers):
                found = [value for name, value in headers if name == b"retry-after"]
                return status, float(found[0]) if found and found[0].isdigit() else None
            case h11.ConnectionClosed():
                raise ValueError("the connection was closed")
