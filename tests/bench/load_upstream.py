"""A TLS upstream on the loopback that stands in for AWS: `load_upstream.py CERT` prints its port, then
serves.

It answers by the operation: small JSON or XML, a secret, `/download` with as many bytes as `x-bench-size`
says, and whatever is uploaded with an empty 200.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import sys

ITEM = b'{"Item":{"id":{"S":"1"},"name":{"S":"somebody"},"count":{"N":"12345678901234567890"}}}'
SECRET = (
    b'{"ARN":"arn:aws:secretsmanager:us-east-1:123456789012:secret:db-AbCdEf","Name":"db","VersionId":'
    b'"b1946ac9-2492-4f6d-8a0b-1d2f7a1f0c11","SecretString":"correct-horse-battery-staple"}'
)
IDENTITY = (
    b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    b"<Arn>arn:aws:iam::123456789012:user/x</Arn><UserId>AIDAX</UserId><Account>123456789012</Account>"
    b"</GetCallerIdentityResult><ResponseMetadata><RequestId>b1946ac9</RequestId></ResponseMetadata>"
    b"</GetCallerIdentityResponse>"
)
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SIZE = re.compile(rb"\r\nx-bench-size: *(\d+)", re.IGNORECASE)
_BLOCK = bytes(256 * 1024)


def answer(head: bytes) -> bytes:
    """The whole response to a small request."""
    body, kind = b"", b"application/x-amz-json-1.0"
    if b"DynamoDB_" in head:
        body = ITEM
    elif b"secretsmanager" in head:
        body, kind = SECRET, b"application/x-amz-json-1.1"
    elif b"host: sts." in head.lower():
        body, kind = IDENTITY, b"text/xml"
    return (
        b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: b1946ac9-2492-4f6d-8a0b-1d2f7a1f0c11\r\nContent-Type: %s\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (kind, len(body), body)
    )


class Server(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = bytearray()
        self.skip = 0
        self.head = b""
        self.resumed = asyncio.Event()
        self.resumed.set()

    def pause_writing(self) -> None:
        self.resumed.clear()

    def resume_writing(self) -> None:
        self.resumed.set()

    def data_received(self, data: bytes) -> None:
        while data:
            if self.skip:
                taken = min(self.skip, len(data))
                self.skip -= taken
                data = data[taken:]
                if not self.skip:
                    self.reply()
                continue
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.buffer[: end + 2])
            data = bytes(self.buffer[end + 4 :])
            self.buffer.clear()
            length = _LENGTH.search(self.head)
            self.skip = int(length[1]) if length else 0
            if not self.skip:
                self.reply()

    def reply(self) -> None:
        if size := _SIZE.search(self.head):
            self.task = asyncio.ensure_future(self.download(int(size[1])))
        else:
            self.transport.write(answer(self.head))

    async def download(self, size: int) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while size > 0:
            self.transport.write(_BLOCK[: min(size, len(_BLOCK))])
            size -= len(_BLOCK)
            await self.resumed.wait()


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1])
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0, ssl=context, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
