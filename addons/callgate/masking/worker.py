"""Large responses masked in a process of their own: Python runs one thread at a time, so that beside a thread
that masks megabytes, everybody else's calls would wait.

A frame, in both directions: the lengths of a JSON text and of a body (4 bytes each), then both. The process
is started when it is first needed, and ends when its standard input does, whatever became of the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import json
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any, Final

from callgate.call import Call, HttpResponse, Refusal
from callgate.decision import Mask
from callgate.masking.respond import MaskedResponse, mask_response

# Without the current folder in the path (-P), and with nothing of what it does shown (an exception's text
# could quote a secret).
COMMAND: Final = (sys.executable, "-P", "-c", "from callgate.masking.worker import main; main()")
NICE: Final = 10
"""Others go first."""
PIPE_BYTES: Final = 1024 * 1024
"""What a pipe may hold, where the system lets it: each 64 kB, which it holds by itself, cost a change to the
other process and back.
"""
_sizes = struct.Struct(">II")


class MaskWorker:
    """`mask` is `mask_response` elsewhere, for one response at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = asyncio.Lock()

    async def mask(
        self,
        masks: Sequence[Mask],
        call: Call,
        response: HttpResponse,
        *,
        method: str,
        key: bytes,
        limit: int,
    ) -> MaskedResponse:
        """Refusal as from `mask_response`; ConnectionError if the process ended over it."""
        job = {
            "masks": [dataclasses.asdict(mask) for mask in masks],
            "call": [call.service, call.operation, call.protocol],
            "status": response.status,
            "headers": response.headers,
            "method": method,
            "key": key.hex(),
            "limit": limit,
        }
        async with self._turn:
            try:
                said, body = await asyncio.to_thread(_ask, self._running(), job, response.body)
            except BaseException:
                # Half a frame may be on its way, in either direction, and a thread still at it.
                self.close()
                raise
        if "refused" in said:
            code, detail, status = said["refused"]
            raise Refusal(code, detail, status=status)
        headers = tuple((name, value) for name, value in said["headers"])
        return MaskedResponse(HttpResponse(said["status"], headers, body), tuple(said["masked"]))

    def close(self) -> None:
        """End the process; the next response starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):
                    stream.close()

    def _running(self) -> subprocess.Popen[bytes]:
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            process = self._process = subprocess.Popen(
                COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                if sys.platform == "linux":
                    with contextlib.suppress(OSError):
                        fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        return process


def _ask(process: subprocess.Popen[bytes], job: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    _write(process.stdin, job, body)
    return _read(process.stdout)


def main() -> None:
    """Answer frames until there are no more."""
    os.nice(NICE)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    with contextlib.suppress(ConnectionError, KeyboardInterrupt):
        while True:
            _write(sink, *_answer(*_read(source)))


def _answer(job: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    service, operation, protocol = job["call"]
    call = Call(
        service=service,
        operation=operation,
        candidates=((service, operation),),
        protocol=protocol,
        region=None,
    )
    masks = [
        Mask(**{**mask, "paths": tuple(mask["paths"]), "detect": tuple(mask["detect"])})
        for mask in job["masks"]
    ]
    headers = tuple((name, value) for name, value in job["headers"])
    response = HttpResponse(job["status"], headers, body)
    try:
        done = mask_response(
            masks, call, response, method=job["method"], key=bytes.fromhex(job["key"]), limit=job["limit"]
        )
    except Refusal as refusal:
        return {"refused": [refusal.code, refusal.detail, refusal.status]}, b""
    new = done.response
    return {"status": new.status, "headers": new.headers, "masked": done.masked}, new.body


def _write(stream: IO[bytes], said: dict[str, Any], body: bytes) -> None:
    text = json.dumps(said).encode()
    stream.write(_sizes.pack(len(text), len(body)) + text)
    stream.write(body)
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """A frame. ConnectionError if the stream ends before it does."""
    head = stream.read(_sizes.size)
    if len(head) < _sizes.size:
        raise ConnectionError("the other side ended")
    of_text, of_body = _sizes.unpack(head)
    text, body = stream.read(of_text), stream.read(of_body)
    if len(body) < of_body:
        raise ConnectionError("the other side ended")
    return json.loads(text), body
