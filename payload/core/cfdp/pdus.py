"""CFDP protocol data units, CCSDS 727.0-B-5, section 5: records here, bytes by spacepackets.

Rules:
1. Bytes are a PDU only if version, length and CRC-16 are right: there is always a CRC, and
   nothing of the payload field is looked at before it has been checked.
2. Whatever the bytes, decoding gives a record or a `PduError`, and nothing else.
3. Our own transactions have 2 bytes for an entity id and 4 for a sequence number; what belongs to
   another's transaction has that one's lengths.
4. A NAK asks for at most REQUESTS_MAX ranges.
5. A sequence number is less than SEQUENCE_END: the journal keeps it as a signed number of 64 bits.

Large-file PDUs (64-bit offsets) are refused: no file here comes near 4 GiB.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable
from dataclasses import dataclass

from spacepackets.cfdp.conf import PduConfig
from spacepackets.cfdp.defs import (
    ChecksumType,
    ConditionCode,
    CrcFlag,
    DeliveryCode,
    Direction,
    FileStatus,
    LargeFileFlag,
    TransmissionMode,
    UnsupportedCfdpVersionError,
)
from spacepackets.cfdp.pdu.ack import AckPdu, TransactionStatus
from spacepackets.cfdp.pdu.eof import EofPdu
from spacepackets.cfdp.pdu.file_data import FileDataParams, FileDataPdu
from spacepackets.cfdp.pdu.file_directive import DirectiveType
from spacepackets.cfdp.pdu.finished import FinishedParams, FinishedPdu
from spacepackets.cfdp.pdu.header import PduHeader
from spacepackets.cfdp.pdu.metadata import MetadataParams, MetadataPdu
from spacepackets.cfdp.pdu.nak import NakPdu
from spacepackets.exceptions import BytesTooShortError
from spacepackets.util import ByteFieldGenerator

REQUESTS_MAX = 58
"""Ranges in one NAK: what cFS CF takes, the smallest of the ground systems in use."""

NAME_MAX_BYTES = 255
"""A file name in a Metadata PDU is a length byte and so many bytes of UTF-8."""

SEGMENT_OVERHEAD_BYTES = 4 + 2 + 4 + 2 + 4 + 2
"""Of a file data PDU as we send it: header, ids, sequence number, offset, CRC-16."""

SEQUENCE_END = 1 << 63

_CRC_START = 0xFFFF
_FIXED_BYTES = 4
_HAS_CRC = 0x02  # in the first byte


class PduError(ValueError):
    """Bytes that are no PDU for us; counted and dropped, never an event of its own."""


@dataclass(frozen=True, slots=True, order=True)
class TransactionId:
    """Who sends the file, and the how-manieth of its transactions this is."""

    source: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Head:
    """What every PDU says first."""

    transaction: TransactionId
    destination: int
    is_acknowledged: bool  # class 2; class 1 if not
    id_bytes: int = 2
    sequence_bytes: int = 4


@dataclass(frozen=True, slots=True)
class Metadata:
    """The file that is to come."""

    head: Head
    size_bytes: int
    checksum_type: int
    source_name: str
    destination_name: str
    wants_closure: bool = False


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the file."""

    head: Head
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Eof:
    """All was sent once, or the sender gives up (``condition`` other than NO_ERROR)."""

    head: Head
    condition: int
    checksum: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Finished:
    """What the receiver made of it."""

    head: Head
    condition: int
    is_complete: bool
    is_retained: bool


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An EOF, or a Finished, was heard."""

    head: Head
    of_finished: bool
    condition: int


@dataclass(frozen=True, slots=True)
class Nak:
    """Ranges [start, end) that the receiver lacks; (0, 0) is the Metadata."""

    head: Head
    scope: tuple[int, int]
    requests: tuple[tuple[int, int], ...]


Pdu = Metadata | Segment | Eof | Finished | Acknowledgement | Nak


def is_for_the_sender(pdu: Pdu) -> bool:
    """Whether it is the receiver of the file who says it."""
    return isinstance(pdu, Nak | Finished) or (isinstance(pdu, Acknowledgement) and not pdu.of_finished)


def decode(raw: bytes) -> Pdu:
    """The PDU that ``raw`` is, to the last byte.

    Raises:
        PduError: it is none, or one that this program does not speak.
    """
    if len(raw) < _FIXED_BYTES or not raw[0] & _HAS_CRC:
        raise PduError("no CRC")
    if binascii.crc_hqx(raw, _CRC_START):
        raise PduError("CRC wrong")
    try:
        header = PduHeader.unpack(raw)
        _check_frame(header, raw)
        head = _head_of(header)
        if raw[0] & 0x10:
            segment = FileDataPdu.unpack(raw)
            return Segment(head, segment.offset, segment.file_data)
        kind = raw[header.header_len]
        return _DECODERS[kind](head, raw)
    except PduError:
        raise
    except KeyError as error:
        raise PduError(f"directive {error} is none that is spoken here") from error
    except (
        ValueError,
        IndexError,
        TypeError,
        struct.error,
        BytesTooShortError,
        UnsupportedCfdpVersionError,
    ) as error:
        raise PduError(f"no PDU: {error}") from error


def _check_frame(header: PduHeader, raw: bytes) -> None:
    if header.packet_len != len(raw):
        raise PduError(f"{len(raw)} bytes, the header says {header.packet_len}")
    if header.file_flag != LargeFileFlag.NORMAL:
        raise PduError("a large-file PDU")


def _head_of(header: PduHeader) -> Head:
    if header.transaction_seq_num.value >= SEQUENCE_END:
        raise PduError("a sequence number too large to be kept")
    return Head(
        TransactionId(header.source_entity_id.value, header.transaction_seq_num.value),
        header.dest_entity_id.value,
        header.transmission_mode == TransmissionMode.ACKNOWLEDGED,
        header.source_entity_id.byte_len,
        header.transaction_seq_num.byte_len,
    )


def _metadata(head: Head, raw: bytes) -> Metadata:
    found = MetadataPdu.unpack(raw)
    params = found.params
    return Metadata(
        head,
        params.file_size,
        int(params.checksum_type),
        found.source_file_name or "",
        found.dest_file_name or "",
        params.closure_requested,
    )


def _eof(head: Head, raw: bytes) -> Eof:
    found = EofPdu.unpack(raw)
    # The library (0.32) leaves the condition code in the upper half of its byte.
    condition = int(ConditionCode(raw[found.pdu_header.header_len + 1] >> 4))
    return Eof(head, condition, int.from_bytes(found.file_checksum, "big"), found.file_size)


def _finished(head: Head, raw: bytes) -> Finished:
    found = FinishedPdu.unpack(raw)
    return Finished(
        head,
        int(found.condition_code),
        found.delivery_code == DeliveryCode.DATA_COMPLETE,
        found.file_status == FileStatus.FILE_RETAINED,
    )


def _acknowledgement(head: Head, raw: bytes) -> Acknowledgement:
    found = AckPdu.unpack(raw)
    of_finished = found.directive_code_of_acked_pdu == DirectiveType.FINISHED_PDU
    return Acknowledgement(head, of_finished, int(found.condition_code_of_acked_pdu))


def _nak(head: Head, raw: bytes) -> Nak:
    found = NakPdu.unpack(raw)
    if any(start > end for start, end in found.segment_requests):
        raise PduError("a NAK for less than nothing")
    return Nak(head, (found.start_of_scope, found.end_of_scope), tuple(found.segment_requests))


_DECODERS: dict[int, Callable[[Head, bytes], Pdu]] = {
    int(DirectiveType.METADATA_PDU): _metadata,
    int(DirectiveType.EOF_PDU): _eof,
    int(DirectiveType.FINISHED_PDU): _finished,
    int(DirectiveType.ACK_PDU): _acknowledgement,
    int(DirectiveType.NAK_PDU): _nak,
}


def encode(pdu: Pdu) -> bytes:
    """The bytes of ``pdu``, CRC included."""
    conf = _conf_of(pdu.head)
    if isinstance(pdu, Segment):
        return bytes(FileDataPdu(conf, FileDataParams(pdu.content, pdu.offset)).pack())
    if isinstance(pdu, Metadata):
        params = MetadataParams(
            pdu.wants_closure,
            ChecksumType(pdu.checksum_type),
            pdu.size_bytes,
            pdu.source_name,
            pdu.destination_name,
        )
        return bytes(MetadataPdu(conf, params).pack())
    if isinstance(pdu, Eof):
        condition = ConditionCode(pdu.condition)
        return bytes(EofPdu(conf, pdu.checksum, pdu.size_bytes, condition_code=condition).pack())
    if isinstance(pdu, Nak):
        conf.direction = Direction.TOWARDS_SENDER
        return bytes(NakPdu(conf, *pdu.scope, list(pdu.requests)).pack())
    if isinstance(pdu, Finished):
        return bytes(_finished_pdu(conf, pdu).pack())
    kind = DirectiveType.FINISHED_PDU if pdu.of_finished else DirectiveType.EOF_PDU
    status = TransactionStatus.TERMINATED if pdu.of_finished else TransactionStatus.ACTIVE
    return bytes(AckPdu(conf, kind, ConditionCode(pdu.condition), status).pack())


def _finished_pdu(conf: PduConfig, pdu: Finished) -> FinishedPdu:
    delivery = DeliveryCode.DATA_COMPLETE if pdu.is_complete else DeliveryCode.DATA_INCOMPLETE
    status = FileStatus.FILE_RETAINED if pdu.is_retained else FileStatus.DISCARDED_DELIBERATELY
    return FinishedPdu(conf, FinishedParams(ConditionCode(pdu.condition), delivery, status))


def _conf_of(head: Head) -> PduConfig:
    return PduConfig(
        ByteFieldGenerator.from_int(head.id_bytes, head.transaction.source),
        ByteFieldGenerator.from_int(head.id_bytes, head.destination),
        ByteFieldGenerator.from_int(head.sequence_bytes, head.transaction.sequence),
        TransmissionMode.ACKNOWLEDGED if head.is_acknowledged else TransmissionMode.UNACKNOWLEDGED,
        crc_flag=CrcFlag.WITH_CRC,
    )
