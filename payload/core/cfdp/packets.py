"""A PDU in a space packet of its own APID (CCSDS 133.0-B-2): primary header, PDU, tag, CRC-16.

No secondary header. The CRC-16 over all of it is that of telemetry (ECSS-E-ST-70-41C, annex B),
so that one scan finds both kinds of packet in a damaged stream. What goes up has, unless that is
switched off, the tag of `core.guard` before its CRC-16, and no counter: CFDP itself knows what it
has heard before.
"""

from __future__ import annotations

import binascii
import struct

from payload.core.guard import TAG_BYTES, tag_of

_HEADER = struct.Struct(">HHH")
_TELECOMMAND = 0x1000
_UNSEGMENTED = 0xC000
_CRC_START = 0xFFFF
_CRC_BYTES = 2


def pack_file_packet(apid: int, is_ground: bool, count: int, pdu: bytes, key: bytes | None = None) -> bytes:
    """``pdu`` in a packet: a telecommand packet if it goes up; ``count`` modulo 14 bits.

    With a ``key`` it has a tag.
    """
    packet_id = (_TELECOMMAND if is_ground else 0) | apid
    tag_bytes = TAG_BYTES if key else 0
    size = len(pdu) + tag_bytes + _CRC_BYTES
    packet = _HEADER.pack(packet_id, _UNSEGMENTED | count & 0x3FFF, size - 1) + pdu
    packet += tag_of(key, packet) if key else b""
    return packet + binascii.crc_hqx(packet, _CRC_START).to_bytes(_CRC_BYTES, "big")


def pdu_of(packet: bytes, is_tagged: bool) -> bytes:
    """What a whole packet carries."""
    return packet[_HEADER.size : -(TAG_BYTES if is_tagged else 0) - _CRC_BYTES]


def file_packet_id(apid: int, is_ground: bool) -> bytes:
    """The first two bytes of such packets."""
    return ((_TELECOMMAND if is_ground else 0) | apid).to_bytes(2, "big")
