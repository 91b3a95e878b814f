"""One HTTPS GET for an issuer's keys: never through a proxy, no redirects, bounded in size and time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import h11

Fetch = Callable[[str, Path | None, str | None], Awaitable[bytes]]
"""`(url, ca, bearer) -> body`. Raises FetchError."""

MAX_ANSWER = 512 * 1024
TIMEOUT = 4.0
"""Seconds for the whole exchange."""


class FetchError(Exception):
    """Keys could not be fetched; its text says why, in a few words."""


async def fetch(url: str, ca: Path | None = None, bearer: str | None = None) -> bytes:
    """The body of a 200 answer to GET `url`, checked against the PEM file `ca` or the system's authorities.

    Opens its own connection, so that no environment variable can send it through a proxy, least of all this
    gateway.
    """
    try:
        async with asyncio.timeout(TIMEOUT):
            return await _fetch(url, ca, bearer)
    except TimeoutError:
        raise FetchError(f"{url}: no answer within {TIMEOUT:.0f} s") from None
    except (OSError, ValueError, h11.RemoteProtocolError) as error:
        raise FetchError(f"{url}: {type(error).__name__}: {error}") from error


async def _fetch(url: str, ca: Path | None, bearer: str | None) -> bytes:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    context = await asyncio.to_thread(ssl.create_default_context, cafile=ca) if secure else None
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if secure else 80), ssl=context
    )
    try:
        headers = [
            ("Host", parts.netloc),
            ("Accept", "application/json"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
            *([("Authorization", f"Bearer {bearer}")] if bearer else []),
        ]
        connection = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target=parts.path or "/", headers=headers)
        writer.write(connection.send(request) or b"")
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return await _answer(url, connection, reader)
    finally:
        # Not awaited: a peer that never finishes the TLS closure must not hold us.
        writer.transport.abort()


async def _answer(url: str, connection: h11.Connection, reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                connection.receive_data(await reader.read(65536))
            case h11.Response(status_code=status) if status != 200:
                raise FetchError(f"{url}: answered {status}")
            case h11.Data(data=data):
                body += data
                if len(body) > MAX_ANSWER:
                    raise FetchError(f"{url}: answered more than {MAX_ANSWER} bytes")
            case h11.EndOfMessage():
                return bytes(body)
