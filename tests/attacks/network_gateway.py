"""Stands in for addons/gateway.py where a test needs a name service.

CALLGATE_TEST_NAMES maps names to lists of addresses, of which each look-up takes the next list, the last one
again and again. An empty list is a name service that fails, ["slow"] one that takes its time over it.
"""

import json
import os
import socket
import time
from typing import Any

from callgate.serve.service import register

NAMES: dict[str, list[list[str]]] = json.loads(os.environ["CALLGATE_TEST_NAMES"])
_look_up = socket.getaddrinfo


def look_up(host: Any, port: Any, *args: Any, **hints: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if name not in NAMES:
        if name and name[0].isdigit():
            return _look_up(host, port, *args, **hints)
        raise socket.gaierror(socket.EAI_NONAME, "no such name")
    answers = NAMES[name]
    addresses = answers.pop(0) if len(answers) > 1 else answers[0]
    if addresses == ["slow"]:
        time.sleep(3)  # as long as no name server answers
    if not addresses or addresses == ["slow"]:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answers")
    return [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
        if ":" in address
        else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
        for address in addresses
    ]


def load(loader: Any) -> None:
    socket.getaddrinfo = look_up
    register(loader.master)
