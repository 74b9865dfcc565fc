"""How one value stands in a packet: big-endian numbers, short texts, times, whole packets.

Rules:
1. Everything is big-endian and byte-aligned; a text is a length byte and that many ASCII bytes.
2. A number that does not fit is the nearest that does; what is no ASCII becomes "?".
3. No value is all ones, as a decimal number NaN; whoever may have none stays below that.
4. What is packed and unpacked is the same; what cannot be unpacked is a `WireError`, never a guess.

Times are CDS, short form (CCSDS 301.0-B-4, 3.3): the preamble 0x40, 16 bits of days since
1958-01-01 and 32 bits of milliseconds of the day; so whole milliseconds from 1958 to 2137.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, unique

Value = int | float | str
TEXT_MAX_CHARS = 240
"""Longer texts are cut; with its length byte a text fits every packet."""

CDS_PREAMBLE = 0x40
TIME_BYTES = 7
_CDS = struct.Struct(">BHI")
_DAYS_1958_TO_1970 = 4383
_MS_PER_DAY = 86_400_000
_NS_PER_MS = 1_000_000
_PRIMARY_HEADER_BYTES = 6


class WireError(ValueError):
    """Bytes that are not what they should be; the message says what is missing."""


@unique
class Wire(Enum):
    """What a field is on the wire."""

    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    F64 = "f64"
    TEXT = "text"
    TIME = "time"
    PACKET = "packet"


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a packet; ``labels`` names the numbers of an enumeration."""

    name: str
    wire: Wire
    unit: str = ""
    meaning: str = ""
    labels: Mapping[int, str] = field(default_factory=dict)


_NUMBERS = {
    Wire.U8: struct.Struct(">B"),
    Wire.U16: struct.Struct(">H"),
    Wire.U32: struct.Struct(">I"),
    Wire.U64: struct.Struct(">Q"),
    Wire.F64: struct.Struct(">d"),
}


def bits_of(wire: Wire) -> int:
    """The size of a number or time; a text or packet says its own, so 0."""
    if wire is Wire.TIME:
        return 8 * TIME_BYTES
    return 8 * _NUMBERS[wire].size if wire in _NUMBERS else 0


def ones(wire: Wire) -> int:
    """All ones, as a whole number: its largest, and the mark of no value (rule 3)."""
    return (1 << bits_of(wire)) - 1


def is_nothing(wire: Wire, value: Value | bytes) -> bool:
    """Whether an unpacked number is the mark of no value."""
    if wire is Wire.F64:
        return isinstance(value, float) and math.isnan(value)
    return wire in _NUMBERS and value == ones(wire)


def pack(wire: Wire, value: Value | bytes | None) -> bytes:
    """``value`` as it stands in a packet; None is no value (rule 3)."""
    if wire is Wire.PACKET:
        assert isinstance(value, bytes), value
        return value
    if wire is Wire.TEXT:
        text = "" if value is None else str(value)
        content = text[:TEXT_MAX_CHARS].encode("ascii", "replace")
        return bytes([len(content)]) + content
    assert not isinstance(value, str | bytes), (wire, value)
    if wire is Wire.TIME:
        return pack_time(0 if value is None else int(value))
    if wire is Wire.F64:
        return _NUMBERS[wire].pack(math.nan if value is None else float(value))
    return _NUMBERS[wire].pack(ones(wire) if value is None else min(max(int(value), 0), ones(wire)))


def unpack(wire: Wire, content: bytes, at: int) -> tuple[Value | bytes, int]:
    """The value at ``at`` and the place behind it; see `is_nothing`.

    Raises:
        WireError: the content ends before the value does, or is no value of this kind.
    """
    if wire is Wire.TEXT:
        size, at = _sized(content, at)
        text = content[at : at + size]
        if not text.isascii():
            raise WireError(f"text at byte {at} is no ASCII")
        return text.decode("ascii"), at + size
    if wire is Wire.PACKET:
        return _packet(content, at)
    size = bits_of(wire) // 8
    if at + size > len(content):
        raise WireError(f"{wire.value} at byte {at} is cut short")
    if wire is Wire.TIME:
        return unpack_time(content[at : at + size]), at + size
    (value,) = _NUMBERS[wire].unpack_from(content, at)
    return value, at + size


def pack_fields(fields: Sequence[Field], values: Mapping[str, Value | bytes | None]) -> bytes:
    """The fields one behind the other; every one of them is in ``values``."""
    return b"".join(pack(each.wire, values[each.name]) for each in fields)


def unpack_fields(
    fields: Sequence[Field], content: bytes, at: int = 0
) -> tuple[dict[str, Value | bytes], int]:
    """The values of the fields from ``at`` on, and the place behind them.

    Raises:
        WireError: as `unpack`.
    """
    values: dict[str, Value | bytes] = {}
    for each in fields:
        values[each.name], at = unpack(each.wire, content, at)
    return values, at


def pack_time(utc_ns: int) -> bytes:
    """A CDS time of 7 bytes; instants outside its range become its ends."""
    days, ms = divmod(utc_ns // _NS_PER_MS, _MS_PER_DAY)
    days += _DAYS_1958_TO_1970
    if days < 0:
        days, ms = 0, 0
    elif days > 0xFFFF:
        days, ms = 0xFFFF, _MS_PER_DAY - 1
    return _CDS.pack(CDS_PREAMBLE, days, ms)


def unpack_time(content: bytes) -> int:
    """Nanoseconds since the Unix epoch, of a CDS time of 7 bytes.

    Raises:
        WireError: another time code, or a day of more than 86 400 s.
    """
    preamble, days, ms = _CDS.unpack(content)
    if preamble != CDS_PREAMBLE or ms >= _MS_PER_DAY:
        raise WireError("no time in CDS short form (preamble 0x40)")
    utc_ns: int = ((days - _DAYS_1958_TO_1970) * _MS_PER_DAY + ms) * _NS_PER_MS
    return utc_ns


def _sized(content: bytes, at: int) -> tuple[int, int]:
    if at >= len(content) or at + 1 + content[at] > len(content):
        raise WireError(f"text at byte {at} is cut short")
    return content[at], at + 1


def _packet(content: bytes, at: int) -> tuple[bytes, int]:
    """A whole space packet, as long as its own header says (CCSDS 133.0-B-2, 4.1.3.5.3)."""
    head = content[at : at + _PRIMARY_HEADER_BYTES]
    if len(head) < _PRIMARY_HEADER_BYTES:
        raise WireError(f"packet at byte {at} is cut short")
    end = at + _PRIMARY_HEADER_BYTES + int.from_bytes(head[4:6], "big") + 1
    if end > len(content):
        raise WireError(f"packet at byte {at} is cut short")
    return content[at:end], end
