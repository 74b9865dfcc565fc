"""CFDP, class 1 and 2, both ways (CCSDS 727.0-B-5): an engine that is told the time and does no I/O.

`entity` is the whole of it for one peer; `sending` and `receiving` are one transaction each,
`pdus` the bytes, `extents` the gap map, `records` what it is set up with and what it asks for.
"""

from payload.core.cfdp.closed import first_sequence_at
from payload.core.cfdp.entity import CfdpEntity
from payload.core.cfdp.pdus import NAME_MAX_BYTES, SEGMENT_OVERHEAD_BYTES, PduError, TransactionId
from payload.core.cfdp.records import (
    CfdpCounters,
    CfdpParameters,
    Close,
    Effect,
    OutgoingFile,
    ReceiveSnapshot,
    Remember,
    SegmentRequest,
    SendEnded,
    SendSnapshot,
    StoreSegment,
    VerifyFile,
)

__all__ = [
    "NAME_MAX_BYTES",
    "SEGMENT_OVERHEAD_BYTES",
    "CfdpCounters",
    "CfdpEntity",
    "CfdpParameters",
    "Close",
    "Effect",
    "OutgoingFile",
    "PduError",
    "ReceiveSnapshot",
    "Remember",
    "SegmentRequest",
    "SendEnded",
    "SendSnapshot",
    "StoreSegment",
    "TransactionId",
    "VerifyFile",
    "first_sequence_at",
]
