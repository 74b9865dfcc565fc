"""Telemetry and telecommands as CCSDS space packets with ECSS PUS-C secondary headers.

Rules:
1. A telemetry packet is: primary header (CCSDS 133.0-B-2), PUS-C secondary header with a CDS
   time of 7 bytes, source content, CRC-16 (ECSS-E-ST-70-41C, 7.4.3).
2. A telecommand is: primary header, PUS-C secondary header, content, command counter (64 bits),
   authentication tag (64 bits), CRC-16 (7.4.4); `core.guard` says what the last two are.
3. The acknowledgement bits of a telecommand are, from the lowest: acceptance, start, progress,
   completion of execution, as in ECSS-E-70-41A and ECSS-E-ST-70-41C.
4. Packets are never segmented, and none is longer than TM_MAX_BYTES or TC_MAX_BYTES.
5. What is no telecommand of ours is refused with the first `Failure` that applies: length,
   checksum, APID, type, version. Nothing of a refused packet is used but its request id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique

from fastcrc import crc16
from spacepackets.ccsds.spacepacket import SpacePacketHeader
from spacepackets.ecss.tc import PusTc
from spacepackets.ecss.tm import MiscParams, PusTm

from payload.core.wire import TIME_BYTES, pack_time, unpack_time
from payload.errors import CommandError

TM_MAX_BYTES = 4096
TC_MAX_BYTES = 2048
PRIMARY_HEADER_BYTES = 6
CRC_BYTES = 2
_TC_HEADER_BYTES = 11
_PUS_C = 2
_TYPE_TC_WITH_HEADER = 0x18
_TYPE_TM_WITH_HEADER = 0x08
_APID_BITS = 0x07FF
_UNSEGMENTED = 0xC0
ACKNOWLEDGE_ALL = 0b1111


@unique
class Failure(IntEnum):
    """Why a command was not accepted, not started or not completed (service 1 failure code).

    0 to 5 are those of ECSS-E-70-41A, 6.3.3; the rest is ours.
    """

    ILLEGAL_APID = 0
    BAD_LENGTH = 1
    BAD_CHECKSUM = 2
    UNKNOWN_SERVICE = 3
    UNKNOWN_SUBTYPE = 4
    BAD_ARGUMENTS = 5
    BAD_VERSION = 6
    NOT_AUTHENTIC = 7
    REPLAYED = 8
    UNKNOWN_STRUCTURE = 9
    UNKNOWN_EVENT = 10
    UNKNOWN_FUNCTION = 11
    UNKNOWN_PARAMETER = 12
    OUT_OF_RANGE = 13
    SCHEDULE_FULL = 14
    TIME_PAST = 15
    NOT_SCHEDULED = 16
    STORE_FAILED = 17
    BUSY = 18
    NOT_FOUND = 19
    TEST_FAILED = 20
    INTERRUPTED = 21
    ALREADY_SCHEDULED = 22


@dataclass(frozen=True, slots=True)
class Request:
    """Which command a service 1 report speaks of: the first four bytes of its packet."""

    packet_id: int
    sequence_control: int

    def fields(self) -> dict[str, int]:
        """As the fields of a report."""
        return {"request_packet_id": self.packet_id, "request_sequence": self.sequence_control}


@dataclass(frozen=True, slots=True)
class Telecommand:
    """A whole, undamaged telecommand; ``content`` still has counter and tag at its end.

    ``packet`` is all of it: what the tag covers lies there.
    """

    service: int
    subtype: int
    acknowledge: int
    source_id: int
    request: Request
    content: bytes
    packet: bytes

    @property
    def wants_acceptance(self) -> bool:
        return bool(self.acknowledge & 0b0001)

    @property
    def wants_start(self) -> bool:
        return bool(self.acknowledge & 0b0010)

    @property
    def wants_progress(self) -> bool:
        return bool(self.acknowledge & 0b0100)

    @property
    def wants_completion(self) -> bool:
        return bool(self.acknowledge & 0b1000)


@dataclass(frozen=True, slots=True)
class TelemetryPacket:
    """A whole, undamaged telemetry packet."""

    apid: int
    service: int
    subtype: int
    sequence: int
    message_count: int
    utc_ns: int
    is_time_set: bool
    content: bytes
    destination_id: int


def pack_telemetry(
    apid: int,
    service: int,
    subtype: int,
    sequence: int,
    message_count: int,
    utc_ns: int,
    is_time_set: bool,
    content: bytes,
    destination_id: int = 0,
) -> bytes:
    """One telemetry packet; counts are taken modulo their 14 and 16 bits."""
    packet = PusTm(
        service=service,
        message_subtype=subtype,
        timestamp=pack_time(utc_ns),
        source_data=content,
        apid=apid,
        seq_count=sequence & 0x3FFF,
        message_counter=message_count & 0xFFFF,
        destination_id=destination_id,
        misc_params=MiscParams(spacecraft_time_ref=int(is_time_set)),
    ).pack()
    assert len(packet) <= TM_MAX_BYTES, (service, subtype, len(packet))
    return bytes(packet)


def unpack_telemetry(packet: bytes) -> TelemetryPacket:
    """What is in a telemetry packet that `is_whole`.

    Raises:
        WireError: its time is none.
    """
    found = PusTm.unpack(packet, timestamp_len=TIME_BYTES)
    return TelemetryPacket(
        found.apid,
        found.service,
        found.message_subtype,
        found.seq_count,
        found.pus_tm_sec_header.message_counter,
        unpack_time(bytes(found.timestamp)),
        bool(found.pus_tm_sec_header.spacecraft_time_ref),
        bytes(found.source_data),
        found.pus_tm_sec_header.dest_id,
    )


def pack_telecommand(
    apid: int,
    service: int,
    subtype: int,
    sequence: int,
    content: bytes,
    source_id: int = 0,
    acknowledge: int = ACKNOWLEDGE_ALL,
) -> bytes:
    """One telecommand whose ``content`` has counter and tag already, or needs none."""
    return bytes(
        PusTc(
            service=service,
            message_subtype=subtype,
            apid=apid,
            app_data=content,
            seq_count=sequence & 0x3FFF,
            source_id=source_id,
            ack_flags=acknowledge,
        ).pack()
    )


def unpack_telecommand(packet: bytes, apid: int) -> Telecommand:
    """The telecommand in ``packet``, which is for ``apid``.

    Raises:
        CommandError: it is none; see rule 5.
    """
    if not _TC_HEADER_BYTES + CRC_BYTES <= len(packet) <= TC_MAX_BYTES:
        raise CommandError(f"{len(packet)} bytes", Failure.BAD_LENGTH)
    if packet_bytes(packet) != len(packet):
        raise CommandError(f"{len(packet)} bytes, {packet_bytes(packet)} announced", Failure.BAD_LENGTH)
    if crc16.ibm_3740(packet) != 0:
        raise CommandError("CRC-16 does not fit", Failure.BAD_CHECKSUM)
    header = SpacePacketHeader.unpack(packet)
    if packet[0] & ~0x07 != _TYPE_TC_WITH_HEADER or header.apid != apid:
        raise CommandError(f"packet id {int.from_bytes(packet[:2], 'big'):#06x}", Failure.ILLEGAL_APID)
    if packet[PRIMARY_HEADER_BYTES] >> 4 != _PUS_C or packet[2] & _UNSEGMENTED != _UNSEGMENTED:
        raise CommandError("not PUS-C in one packet", Failure.BAD_VERSION)
    found = PusTc.unpack(packet)
    return Telecommand(
        found.service,
        found.message_subtype,
        found.pus_tc_sec_header.ack_flags,
        found.source_id,
        request_of(packet),
        bytes(found.app_data),
        packet,
    )


def request_of(packet: bytes) -> Request:
    """The request id of a packet, damaged or not."""
    return Request(int.from_bytes(packet[0:2], "big"), int.from_bytes(packet[2:4], "big"))


def apid_of(packet: bytes) -> int:
    """The APID in the primary header."""
    return int.from_bytes(packet[0:2], "big") & _APID_BITS


def packet_bytes(head: bytes, at: int = 0) -> int:
    """How long the packet at ``at`` says that it is, headers and all."""
    return PRIMARY_HEADER_BYTES + int.from_bytes(head[at + 4 : at + 6], "big") + 1


def is_whole(packet: bytes) -> bool:
    """Whether length and CRC-16 fit."""
    return len(packet) >= PRIMARY_HEADER_BYTES + CRC_BYTES and (
        packet_bytes(packet) == len(packet) and crc16.ibm_3740(packet) == 0
    )


def packet_id_of(apid: int, is_command: bool) -> bytes:
    """The first two bytes of every packet of ``apid`` that has a secondary header."""
    kind = _TYPE_TC_WITH_HEADER if is_command else _TYPE_TM_WITH_HEADER
    return (kind << 8 | apid).to_bytes(2, "big")
