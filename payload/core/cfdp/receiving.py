"""The receiver's half of one transaction.

                  EOF, gaps              all there            judged            ACK(Finished)
    RECEIVING ------------> RECEIVING ------------> VERIFYING ------> FINISHED -------------> over
                  NAK, again until whole                               Finished, again

Rules:
1. Gaps are asked for when the EOF came, when the last range asked for has come, and when
   nothing came for a time-out; never while what was asked for may still be on its way.
2. One round asks for at most NAKS_PER_ROUND PDUs of ranges, the lowest offsets first.
3. The gap map has at most EXTENTS_MAX ranges; a segment that would exceed it is dropped and
   asked for again.
4. Metadata that never came is asked for as the range (0, 0).
5. A file is delivered when it is whole and its checksum is right, and never twice.
6. Class 1 asks for nothing: what is not whole after the limit of time-outs is dropped. It is
   told the end once, where it asked for that (closure).
7. Metadata or an EOF of another file than before: the peer uses the number again, and this is over.
8. While the file is being checked nothing that is heard ends it, a cancellation neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from spacepackets.cfdp.defs import ConditionCode

from payload.core.cfdp.extents import Extent, ExtentSet
from payload.core.cfdp.pdus import REQUESTS_MAX, Eof, Finished, Head, Metadata, Nak, Pdu, Segment
from payload.core.cfdp.records import CfdpParameters, ReceiveSnapshot, VerifyFile

NAKS_PER_ROUND = 4
EXTENTS_MAX = 4096

_METADATA: Extent = (0, 0)


class ReceiveTransaction:
    """One file on its way in."""

    def __init__(self, parameters: CfdpParameters, head: Head) -> None:
        self.head = head
        self.transaction = head.transaction
        self.is_over = False
        self.is_resting = False
        self.is_verifying = False
        self.condition: int | None = None
        self.eof: tuple[int, int] | None = None
        """Checksum and size in bytes, once the EOF said them."""
        self.naks_due = False
        self.finished_due = False
        self._parameters = parameters
        self._metadata: Metadata | None = None
        self._received = ExtentSet()
        self._asked_end: int | None = None
        self._answer_at_ns: int | None = None
        self._repeats = 0
        self.heard_ns = 0
        """When the peer last said something of it, or was there again."""

    @classmethod
    def restored(cls, parameters: CfdpParameters, snapshot: ReceiveSnapshot) -> ReceiveTransaction:
        """As it was when the snapshot was taken; waits for `wake`."""
        made = cls(parameters, snapshot.head)
        if snapshot.name is not None:
            assert snapshot.size_bytes is not None
            assert snapshot.checksum_kind is not None
            name = snapshot.name
            made._metadata = Metadata(
                snapshot.head, snapshot.size_bytes, snapshot.checksum_kind, name, name, snapshot.wants_closure
            )
        made.eof = snapshot.eof
        made._received = ExtentSet(snapshot.extents)
        if snapshot.condition is not None:
            made.judge(snapshot.condition)
        return made

    def snapshot(self) -> ReceiveSnapshot:
        """What must be remembered of it now."""
        known = self._metadata
        return ReceiveSnapshot(
            self.head,
            known.destination_name if known else None,
            known.size_bytes if known else None,
            known.checksum_type if known else None,
            known.wants_closure if known else False,
            self.eof,
            tuple(self._received),
            self.condition,
        )

    @property
    def received_bytes(self) -> int:
        """Of the file, each byte once."""
        return self._received.size_bytes

    def is_denied_by(self, pdu: Pdu) -> bool:
        """Whether ``pdu`` is of another file than what was heard before (rule 7)."""
        if self.is_verifying:
            return False
        if isinstance(pdu, Metadata) and self._metadata is not None:
            known = self._metadata.size_bytes, self._metadata.destination_name
            return known != (pdu.size_bytes, pdu.destination_name)
        if isinstance(pdu, Eof) and pdu.condition == ConditionCode.NO_ERROR and self.eof is not None:
            return self.eof != (pdu.checksum, pdu.size_bytes)
        return False

    def end(self, condition: int) -> None:
        """Nothing more comes of it; what was judged stays as it was judged."""
        if self.condition is None:
            self.condition = int(condition)

    def hear_metadata(self, metadata: Metadata, now_ns: int) -> bool:
        """The Metadata came; True if that is new."""
        self._hear(now_ns)
        if self._metadata is not None or self.condition is not None:
            return False
        self._metadata = metadata
        if metadata.size_bytes > self._parameters.file_max_bytes:
            self.judge(ConditionCode.FILE_SIZE_ERROR)
        self._ask_if_the_round_is_over(0)
        return True

    def hear_segment(self, segment: Segment, now_ns: int) -> int:
        """A piece came; how many bytes of it are new, so that it must be stored."""
        self._hear(now_ns)
        start, end = segment.offset, segment.offset + len(segment.content)
        if self.condition is not None or self.is_verifying or end > self._end_bytes:
            return 0
        added = self._received.add(start, end)
        if len(self._received) > EXTENTS_MAX:
            self._received.remove(start, end)
            return 0
        self._ask_if_the_round_is_over(end)
        return added

    @property
    def _end_bytes(self) -> int:
        return self.eof[1] if self.eof else self._parameters.file_max_bytes

    def hear_eof(self, eof: Eof, now_ns: int) -> bool:
        """All was sent once; True if that is new."""
        self._hear(now_ns)
        if eof.condition != ConditionCode.NO_ERROR:
            if self.condition is None and not self.is_verifying:
                self.end(eof.condition)
                self.is_over = True
            return False
        if self.eof is not None or self.condition is not None:
            return False
        self.eof = (eof.checksum, eof.size_bytes)
        if eof.size_bytes > self._parameters.file_max_bytes or any(
            end > eof.size_bytes for _, end in self._received
        ):
            self.judge(ConditionCode.FILE_SIZE_ERROR)
        elif self.head.is_acknowledged:
            self.naks_due = True
        return True

    def verification(self) -> VerifyFile | None:
        """What is to be checked, once, when the file is whole."""
        if self.is_verifying or self.condition is not None or not self._is_whole():
            return None
        assert self._metadata is not None
        assert self.eof is not None
        self.is_verifying = True
        self.naks_due = False
        checksum, size_bytes = self.eof
        name, kind = self._metadata.destination_name, self._metadata.checksum_type
        return VerifyFile(self.head.transaction, name, size_bytes, kind, checksum)

    def _is_whole(self) -> bool:
        return self._metadata is not None and self.eof is not None and self._first_gap() is None

    def _first_gap(self) -> Extent | None:
        assert self.eof is not None
        return next(self._received.gaps(0, self.eof[1]), None)

    def judge(self, condition: int) -> None:
        """The file is delivered (NO_ERROR), or refused for good."""
        self.condition = int(condition)
        self.is_verifying = False
        self.naks_due = False
        self._repeats = 0
        wants_closure = self._metadata is not None and self._metadata.wants_closure
        self.finished_due = self.head.is_acknowledged or wants_closure
        self.is_over = not self.head.is_acknowledged

    def finished(self, now_ns: int) -> Finished:
        """The Finished PDU, which goes now."""
        assert self.condition is not None
        self.finished_due = False
        self._answer_at_ns = now_ns + self._parameters.timeout_ns
        is_good = self.condition == ConditionCode.NO_ERROR
        return Finished(self.head, self.condition, is_good, is_good)

    def naks(self, now_ns: int) -> list[Nak]:
        """A round of NAKs for what is missing, which go now."""
        self.naks_due = False
        self._answer_at_ns = now_ns + self._parameters.timeout_ns
        requests = list(islice(self._missing(), NAKS_PER_ROUND * REQUESTS_MAX))
        if not requests:
            return []
        self._asked_end = requests[-1][1]
        made, scope_start = [], 0
        for first in range(0, len(requests), REQUESTS_MAX):
            some = tuple(requests[first : first + REQUESTS_MAX])
            is_last = first + REQUESTS_MAX >= len(requests)
            scope_end = max(some[-1][1], self.eof[1] if is_last and self.eof else 0)
            made.append(Nak(self.head, (scope_start, scope_end), some))
            scope_start = some[-1][1]
        return made

    def _missing(self) -> Iterator[Extent]:
        if self._metadata is None:
            yield _METADATA
        if self.eof is not None:
            yield from self._received.gaps(0, self.eof[1])

    def _ask_if_the_round_is_over(self, end: int) -> None:
        """The last range that was asked for has come: ask for what is missing still."""
        if self._asked_end is not None and end >= self._asked_end:
            self._asked_end = None
            self.naks_due = self.head.is_acknowledged and self.condition is None

    def _hear(self, now_ns: int) -> None:
        self._repeats = 0
        self.heard_ns = now_ns
        is_short = self._metadata is None or self.eof is not None or not self.head.is_acknowledged
        if self._answer_at_ns is not None or is_short:
            self._answer_at_ns = now_ns + self._parameters.timeout_ns

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        if self.is_over or self.is_resting or self.is_verifying:
            return
        if self._answer_at_ns is None or now_ns < self._answer_at_ns:
            return
        self._answer_at_ns = now_ns + self._parameters.timeout_ns
        self._repeats += 1
        if self._repeats > self._parameters.answer_limit:
            self._give_in()
        elif self.condition is not None:
            self.finished_due = True
        elif self.head.is_acknowledged:
            self.naks_due = self.eof is not None or self._metadata is None

    def _give_in(self) -> None:
        if self.head.is_acknowledged:
            self.is_resting = True
        else:
            self.judge(ConditionCode.CHECK_LIMIT_REACHED)

    def wake(self, now_ns: int) -> None:
        """The peer may be there again: repeats start anew."""
        self.is_resting = False
        self._repeats = 0
        self.heard_ns = now_ns
        self._answer_at_ns = now_ns + self._parameters.timeout_ns
        if self.condition is not None:
            self.finished_due |= self.head.is_acknowledged
        elif self.head.is_acknowledged:
            self.naks_due = self.eof is not None or self._metadata is None
