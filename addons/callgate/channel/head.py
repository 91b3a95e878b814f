"""Strict reading of a raw HTTP/1.1 request head, before anything interprets it (RFC 9112, RFC 9110).

Whatever two readers could read differently is refused: bare CR or LF, obs-fold, NUL and other controls,
doubled framing headers, both framings at once, codings other than chunked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from callgate.call import Refusal

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# http.client of Python before 3.12 sends CONNECT as HTTP/1.0 and without Host.
_REQUEST_LINE = re.compile(
    rb"(CONNECT(?= \S+ HTTP/1\.0$)|%s(?= \S+ HTTP/1\.1$)) ([\x21-\x7e]+) HTTP/1\.[01]" % _TOKEN
)
# Values may hold obs-text (0x80-0xff), as S3 metadata does in the wild; no control but tab.
_FIELD_LINE = re.compile(rb"(%s):([\t\x20-\x7e\x80-\xff]*)" % _TOKEN)
_ONCE = frozenset(
    (
        b"host connection content-length content-type transfer-encoding content-encoding authorization"
        b" proxy-authorization expect x-amz-target x-amz-date x-amz-security-token x-amz-content-sha256 date"
    ).split()
)
_AUTHORITY = rb"[A-Za-z0-9._~\[\]:-]+"
_CONNECT_TARGET = re.compile(rb"%s:([0-9]{1,5})" % _AUTHORITY)
_TARGET = re.compile(rb"(?:https?://%s)?(?:[/?].*)?" % _AUTHORITY)
# Whoever comes next would drop the headers that Connection names, and read another request than was judged.
_CONNECTION = frozenset((b"", b"close", b"keep-alive"))
# What gateways behind others (CGI, WSGI) take for the header with a dash.
_LOOKALIKE = frozenset((b"transfer_encoding", b"content_length"))
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds on a request head: bytes in all (request line included) and number of header fields."""

    size: int = 65_536
    fields: int = 200


def judge_head(head: bytes, limits: HeadLimits = HeadLimits()) -> None:
    """Judge `head` (from the first byte of the request line to the empty line, inclusive).

    Raises Refusal with status 400 or 431, and a code that names the fault.
    """
    if len(head) > limits.size:
        raise Refusal("head-too-large", f"The request head is larger than {limits.size} bytes.", status=431)
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if len(lines) - 1 > limits.fields:
        raise Refusal("head-too-large", f"The request head has more than {limits.fields} fields.", status=431)
    if not (line := _REQUEST_LINE.fullmatch(lines[0])):
        raise Refusal("malformed-head", "The request line is not METHOD TARGET HTTP/1.1.", status=400)
    _judge_target(line[1], line[2])
    seen: dict[bytes, bytes] = {}
    for raw in lines[1:]:
        if raw[:1] in (b" ", b"\t"):
            raise Refusal("malformed-head", "A header is folded over two lines.", status=400)
        if not (field := _FIELD_LINE.fullmatch(raw)):
            raise Refusal(
                "malformed-head",
                "A header line has a bare CR, LF or control character, or no name.",
                status=400,
            )
        name = field[1].lower()
        if name in seen and name in _ONCE:
            raise Refusal("duplicate-header", f"The header {name.decode()} occurs twice.", status=400)
        if name in _LOOKALIKE:
            raise Refusal("ambiguous-framing", "A framing header is spelled with an underscore.", status=400)
        seen[name] = field[2].strip(b" \t")
    _judge_framing(line[1], seen)


def _judge_target(method: bytes, target: bytes) -> None:
    if b"#" in target:
        raise Refusal("malformed-head", "The request target has a fragment.", status=400)
    if method == b"CONNECT":
        if not (found := _CONNECT_TARGET.fullmatch(target)) or not 0 < int(found[1]) < 65536:
            raise Refusal("malformed-host", "The destination is not HOST:PORT.", status=400)
        return
    if method.upper() in (b"CONNECT", b"TRACE", b"TRACK") or method != method.upper():
        raise Refusal("method-not-allowed", "This method is not passed on.", status=400)
    if not target.startswith((b"/", b"http://", b"https://")) or not _TARGET.fullmatch(target):
        raise Refusal(
            "malformed-head", "The request target has neither origin form nor absolute form.", status=400
        )


def _judge_framing(method: bytes, fields: dict[bytes, bytes]) -> None:
    if b"host" not in fields and method != b"CONNECT":
        raise Refusal("malformed-head", "There is no Host header.", status=400)
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if length is not None and coding is not None:
        raise Refusal("ambiguous-framing", "Content-Length and Transfer-Encoding are both given.", status=400)
    if length is not None and not _LENGTH.fullmatch(length):
        raise Refusal("ambiguous-framing", "The Content-Length is not a plain decimal number.", status=400)
    if coding is not None and coding != b"chunked":
        raise Refusal(
            "ambiguous-framing", "The only transfer coding that is accepted is chunked.", status=400
        )
    if method == b"CONNECT" and (length not in (None, b"0") or coding is not None):
        raise Refusal("ambiguous-framing", "A CONNECT request has no body.", status=400)
    if b"upgrade" in fields or b"http2-settings" in fields:
        raise Refusal("upgrade-refused", "Protocol upgrades are not passed on.", status=400)
    if not {name.strip().lower() for name in fields.get(b"connection", b"").split(b",")} <= _CONNECTION:
        raise Refusal("hop-by-hop-refused", "The Connection header names headers to be dropped.", status=400)
    expect = fields.get(b"expect")
    if expect is not None and expect.lower() != b"100-continue":
        raise Refusal("malformed-head", "The only expectation that is known is 100-continue.", status=400)
