"""What an entity is set up with, what it asks of its driver, and what it must remember."""

from __future__ import annotations

from dataclasses import dataclass

from payload.core.cfdp.extents import Extent
from payload.core.cfdp.pdus import Head, Segment, TransactionId
from payload.transfer_ports import ClosedTransfer

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class CfdpParameters:
    """One entity and the one peer it talks to.

    Attributes:
        segment_bytes: of the file in one PDU.
        window_bytes: progress is journaled this often; what a restart may send or ask for again.
        round_trip_min_s: shorter than any real round trip; what was sent again less than this
            ago is not sent again for a NAK, for that NAK cannot know of it.
        answer_timeout_s: longer than any real round trip; no answer within it, and an EOF, NAK
            or Finished is repeated.
        answer_limit: repeats in a row without one word of the peer; then the transaction rests
            until something is heard, or until `CfdpEntity.thaw`.
        open_limit: transactions open at once, each way.
        file_max_bytes: larger files are refused.
    """

    entity_id: int
    peer_id: int
    segment_bytes: int
    window_bytes: int
    round_trip_min_s: float
    answer_timeout_s: float
    answer_limit: int
    open_limit: int
    file_max_bytes: int

    @property
    def timeout_ns(self) -> int:
        return int(self.answer_timeout_s * NS_PER_S)

    @property
    def guard_ns(self) -> int:
        return int(self.round_trip_min_s * NS_PER_S)


@dataclass(frozen=True, slots=True)
class OutgoingFile:
    """A file to send; ``name`` is what it is called here and there.

    ``checksum`` is the CRC-32 of the whole file. A larger ``priority`` goes first.
    """

    name: str
    size_bytes: int
    checksum: int
    priority: float
    is_acknowledged: bool = True


@dataclass(frozen=True, slots=True)
class SegmentRequest:
    """Bytes [offset, offset + length) of the file ``name`` are to go next."""

    head: Head
    name: str
    offset: int
    length: int
    is_again: bool

    def filled(self, content: bytes) -> Segment:
        """The PDU with these bytes in it."""
        assert len(content) == self.length, (self.name, self.offset, len(content))
        return Segment(self.head, self.offset, content)


@dataclass(frozen=True, slots=True)
class SendSnapshot:
    """What a sender needs after a restart; all before ``progress`` was sent once."""

    transaction: TransactionId
    file: OutgoingFile
    progress: int
    is_eof_acknowledged: bool
    is_cancelled: bool


@dataclass(frozen=True, slots=True)
class ReceiveSnapshot:
    """What a receiver needs after a restart.

    ``size_bytes``, ``checksum_kind`` and ``name`` are of the Metadata, None before it came;
    ``eof`` is (checksum, size) or None. ``condition`` is None until the file was judged.
    """

    head: Head
    name: str | None
    size_bytes: int | None
    checksum_kind: int | None
    wants_closure: bool
    eof: tuple[int, int] | None
    extents: tuple[Extent, ...]
    condition: int | None


@dataclass(frozen=True, slots=True)
class StoreSegment:
    """Write ``content`` at ``offset`` of the part file of ``transaction``."""

    transaction: TransactionId
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class VerifyFile:
    """The part file is whole: check it, move it to ``name``, then call `CfdpEntity.judge`.

    What was to be remembered before is in the journal before the file is moved: from then on there is
    no part to write what a restart asks for again.
    """

    transaction: TransactionId
    name: str
    size_bytes: int
    checksum_kind: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Remember:
    """Journal the snapshot, after what was stored so far is on the disk."""

    snapshot: SendSnapshot | ReceiveSnapshot


@dataclass(frozen=True, slots=True)
class Close:
    """The transaction is over: forget its snapshot, drop its part file if any, journal ``closed``.

    ``closed`` is None for a transaction of our own, whose number is never used again anyway, and for one
    of the peer that made room unfinished: it may begin anew, once this is done.
    """

    transaction: TransactionId
    closed: ClosedTransfer | None


@dataclass(frozen=True, slots=True)
class SendEnded:
    """The peer's Finished PDU came: it has the file ``name`` for good, or it has not."""

    transaction: TransactionId
    name: str
    condition: int
    is_delivered: bool


Effect = StoreSegment | VerifyFile | Remember | Close | SendEnded


@dataclass(slots=True)
class CfdpCounters:
    """Since the entity was made."""

    pdus_in: int = 0
    pdus_rejected: int = 0
    pdus_strange: int = 0
    bytes_out: int = 0
    bytes_again: int = 0
    naks_out: int = 0
    naks_in: int = 0
    files_delivered: int = 0
    files_received: int = 0
    files_failed: int = 0
