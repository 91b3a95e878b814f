"""Single values: from text (URLs, headers, XML, forms) or from what JSON and CBOR hold, as the model's type
says.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import re
from typing import Any

from botocore.model import Shape

from callgate.call import Refusal

_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,18})", re.A)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d{1,4})?", re.A)
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00|-00:00|([+-]\d\d):?(\d\d))",
    re.A,
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
_HTTP_DATE = re.compile(
    rf"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) ({'|'.join(_MONTHS)}) (\d{{4}})"
    r" (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? GMT",
    re.A,
)
_NO_NUMBERS = {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity", "nan": "NaN"}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LAST_SECOND = 253_402_300_799
"""That of the year 9999."""
_INTEGERS = frozenset(("integer", "long"))
_FLOATS = frozenset(("float", "double"))


def wrong(where: str, wanted: str) -> Refusal:
    """The refusal of a parameter that is not what its model says. Never carries the value."""
    return Refusal("malformed-parameter", f"The parameter {where or 'body'} is not {wanted}.")


def unknown(where: str) -> Refusal:
    """The refusal of a parameter that the model does not have: nobody knows what it would do."""
    return Refusal("unknown-parameter", f"The operation has no parameter {where}.")


def twice(where: str) -> Refusal:
    """The refusal of a parameter that stands more than once, which readers resolve differently."""
    return Refusal("duplicate-parameter", f"The parameter {where} stands more than once.")


def from_text(shape: Shape, text: str, where: str, timestamps: str) -> Any:
    """A scalar of `shape` from text; `timestamps` is the format where the model names none."""
    kind = shape.type_name
    if kind == "string":
        return text
    if kind in _INTEGERS:
        if not _INTEGER.fullmatch(text):
            raise wrong(where, "an integer")
        return integer(int(text), where)
    if kind == "boolean":
        if text not in ("true", "false"):
            raise wrong(where, "true or false")
        return text == "true"
    if kind in _FLOATS:
        return number_text(text, where)
    if kind == "timestamp":
        return timestamp(text, shape.serialization.get("timestampFormat", timestamps), where)
    if kind == "blob":
        return blob(text, where)
    raise wrong(where, "a single value")


def integer(value: int, where: str) -> int:
    """`value` if 64 bits hold it; beyond that servers wrap, clamp or refuse."""
    if not -(1 << 63) <= value < 1 << 64:
        raise wrong(where, "an integer of 64 bits")
    return value


def number_text(text: str, where: str) -> decimal.Decimal:
    """A float as an exact decimal."""
    if text in _NO_NUMBERS:
        return decimal.Decimal(_NO_NUMBERS[text])
    text = text.removesuffix(".") if text.endswith(".") else text
    if not _NUMBER.fullmatch(text):
        raise wrong(where, "a number")
    return decimal.Decimal(text)


def blob(text: str, where: str) -> bytes:
    """Base64 in the canonical alphabet, padded."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise wrong(where, "base64") from None
    if len(text) % 4:
        raise wrong(where, "base64")
    return data


def timestamp(text: str, kind: str, where: str) -> datetime.datetime:
    """An aware time in UTC from text in the format `kind` (iso8601, rfc822 or unixtimestamp)."""
    kind = kind.lower()
    try:
        if kind == "iso8601" and (found := _ISO.fullmatch(text)):
            year, month, day, hour, minute, second, fraction, zone_hour, zone_minute = found.groups()
            zone: datetime.tzinfo = datetime.UTC
            if zone_hour is not None:
                offset = datetime.timedelta(hours=int(zone_hour), minutes=int(zone_hour[0] + zone_minute))
                zone = datetime.timezone(offset)
            local = datetime.datetime(
                int(year), int(month), int(day), int(hour), int(minute), int(second), _micros(fraction), zone
            )
            return local.astimezone(datetime.UTC)
        if kind == "rfc822" and (found := _HTTP_DATE.fullmatch(text)):
            day, name, year, hour, minute, second, fraction = found.groups()
            month = _MONTHS.index(name) + 1
            return datetime.datetime(
                int(year),
                month,
                int(day),
                int(hour),
                int(minute),
                int(second),
                _micros(fraction),
                datetime.UTC,
            )
        if kind == "unixtimestamp":
            return epoch(number_text(text, where), where)
    except (ValueError, OverflowError):
        pass
    raise wrong(where, "a time in the format that the operation takes")


def _micros(fraction: str | None) -> int:
    return int((fraction or "0").ljust(6, "0")[:6])


def epoch(value: int | decimal.Decimal, where: str) -> datetime.datetime:
    """An aware time from seconds since the epoch, to the microsecond."""
    # Compared first: to work with a number like 1e999999 takes half a minute.
    finite = isinstance(value, int) or value.is_finite()
    if not finite or not -_LAST_SECOND <= value <= _LAST_SECOND:
        raise wrong(where, "a time")
    micros = int((decimal.Decimal(value) * 1_000_000).to_integral_value())
    try:
        return _EPOCH + datetime.timedelta(microseconds=micros)
    except OverflowError:
        raise wrong(where, "a time") from None


def wire_members(shape: Shape) -> dict[str, tuple[str, Shape]]:
    """Wire name to (member, shape) of a structure. Kept on the shape, as botocore keeps its members."""
    found: dict[str, tuple[str, Shape]] | None = shape.__dict__.get("_callgate_wire")
    if found is None:
        found = {
            member.serialization.get("name", name): (name, member) for name, member in shape.members.items()
        }
        shape.__dict__["_callgate_wire"] = found
    return found
