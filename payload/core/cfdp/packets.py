"""A PDU in a space packet of its own APID (CCSDS 133.0-B-2): primary header, PDU, CRC-16.

No secondary header. The CRC-16 over all of it is that of telemetry (ECSS-E-ST-70-41C, annex B),
so that one scan finds both kinds of packet in a damaged stream.
"""

from __future__ import annotations

import binascii
import struct

FILE_PACKET_OVERHEAD_BYTES = 8
_HEADER = struct.Struct(">HHH")
_TELECOMMAND = 0x1000
_UNSEGMENTED = 0xC000
_CRC_START = 0xFFFF


def pack_file_packet(apid: int, is_ground: bool, count: int, pdu: bytes) -> bytes:
    """``pdu`` in a packet: a telecommand packet if it goes up; ``count`` modulo 14 bits."""
    packet_id = (_TELECOMMAND if is_ground else 0) | apid
    packet = _HEADER.pack(packet_id, _UNSEGMENTED | count & 0x3FFF, len(pdu) + 1) + pdu
    return packet + binascii.crc_hqx(packet, _CRC_START).to_bytes(2, "big")


def pdu_of(packet: bytes) -> bytes:
    """What a whole packet carries."""
    return packet[_HEADER.size : -2]


def file_packet_id(apid: int, is_ground: bool) -> bytes:
    """The first two bytes of such packets."""
    return ((_TELECOMMAND if is_ground else 0) | apid).to_bytes(2, "big")
