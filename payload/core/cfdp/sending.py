"""The sender's half of one transaction.

           Metadata, segments               EOF             ACK(EOF)            Finished
    SENDING ---------------> (all sent) -> EOF_SENT -----------> ACKED -----------> over
       ^ restart: from the last window        | no answer: again    | NAK: again what is asked for

Rules:
1. What was asked for again goes before what was never sent, lowest offset first.
2. A range is asked for as often as the peer likes and waits once; what went again less than
   the shortest round trip ago does not go again.
3. An EOF without answer is repeated up to the limit; then the transaction rests.
4. Whatever a NAK asks for, nothing outside what was sent is sent because of it.
5. A silent peer that has acknowledged the EOF is told the EOF again: it may have restarted.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, unique

from spacepackets.cfdp.defs import ConditionCode

from payload.core.cfdp.checksums import CRC_32
from payload.core.cfdp.extents import ExtentSet
from payload.core.cfdp.pdus import Eof, Head, Metadata, Nak, TransactionId
from payload.core.cfdp.records import CfdpParameters, OutgoingFile, SegmentRequest, SendSnapshot

SILENCE_TIMEOUTS = 3
"""So many time-outs without a word after the EOF was acknowledged, and it is sent again."""


@unique
class _Phase(Enum):
    SENDING = "sending"
    EOF_SENT = "eof_sent"
    ACKED = "acked"


class SendTransaction:
    """One file on its way out."""

    def __init__(self, parameters: CfdpParameters, transaction: TransactionId, file: OutgoingFile) -> None:
        self.transaction = transaction
        self.file = file
        self.priority = file.priority
        self.head = Head(transaction, parameters.peer_id, file.is_acknowledged)
        self.is_over = False
        self.is_resting = False
        self._parameters = parameters
        self._phase = _Phase.SENDING
        self.is_cancelled = False
        self._is_metadata_due = True
        self._is_eof_due = False
        self._progress = 0
        self._asked = ExtentSet()
        self._sent_again: deque[tuple[int, int, int]] = deque()
        self._metadata_sent_ns: int | None = None
        self._answer_at_ns: int | None = None
        self._repeats = 0

    @classmethod
    def restored(cls, parameters: CfdpParameters, snapshot: SendSnapshot) -> SendTransaction:
        """As it was when the snapshot was taken; waits for `wake`."""
        made = cls(parameters, snapshot.transaction, snapshot.file)
        made._progress = snapshot.progress
        made._is_metadata_due = snapshot.progress == 0
        made.is_cancelled = snapshot.is_cancelled
        if snapshot.progress == snapshot.file.size_bytes or snapshot.is_cancelled:
            made._phase = _Phase.ACKED if snapshot.is_eof_acknowledged else _Phase.EOF_SENT
        return made

    def snapshot(self) -> SendSnapshot:
        """What must be remembered of it now."""
        return SendSnapshot(
            self.transaction, self.file, self._progress, self._phase is _Phase.ACKED, self.is_cancelled
        )

    @property
    def unsent_bytes(self) -> int:
        """Bytes of the file that wait to be sent, or to be sent again."""
        if self.is_cancelled:
            return 0
        return self.file.size_bytes - self._progress + self._asked.size_bytes

    @property
    def is_end_sent(self) -> bool:
        """Whether the peer can know the whole file, since the last restart at least."""
        return self._phase is not _Phase.SENDING

    def next(self, now_ns: int) -> Metadata | Eof | SegmentRequest | None:
        """What goes next, now, or None while it waits for the peer."""
        if self.is_over or self.is_resting:
            return None
        if self.is_cancelled:
            return self._next_eof(now_ns) if self._is_eof_due else None
        if self._is_metadata_due:
            self._is_metadata_due = False
            self._metadata_sent_ns = now_ns
            name = self.file.name
            return Metadata(self.head, self.file.size_bytes, CRC_32, name, name)
        asked = self._asked.first()
        if asked is not None:
            return self._again(*asked, now_ns)
        if self._progress < self.file.size_bytes:
            start = self._progress
            self._progress = min(start + self._parameters.segment_bytes, self.file.size_bytes)
            return SegmentRequest(self.head, self.file.name, start, self._progress - start, is_again=False)
        if self._phase is _Phase.SENDING or self._is_eof_due:
            return self._next_eof(now_ns)
        return None

    def _again(self, start: int, end: int, now_ns: int) -> SegmentRequest:
        end = min(end, start + self._parameters.segment_bytes)
        self._asked.remove(start, end)
        self._sent_again.append((now_ns, start, end))
        self._answer_at_ns = now_ns + SILENCE_TIMEOUTS * self._parameters.timeout_ns
        return SegmentRequest(self.head, self.file.name, start, end - start, is_again=True)

    def _next_eof(self, now_ns: int) -> Eof:
        self._is_eof_due = False
        if self._phase is _Phase.SENDING:
            self._phase = _Phase.EOF_SENT
        self._answer_at_ns = now_ns + self._parameters.timeout_ns
        self.is_over = not self.file.is_acknowledged
        condition = ConditionCode.CANCEL_REQUEST_RECEIVED if self.is_cancelled else ConditionCode.NO_ERROR
        return Eof(self.head, int(condition), self.file.checksum, self.file.size_bytes)

    def cancel(self) -> None:
        """Nothing more of the file goes; the peer is told."""
        self.is_cancelled = True
        self._is_eof_due = True
        self._repeats = 0
        self._asked = ExtentSet()

    def hear_eof_acknowledged(self, now_ns: int) -> bool:
        """The peer has the EOF; True if that is new."""
        if self.is_cancelled:
            self.is_over = True
            return False
        is_new = self._phase is _Phase.EOF_SENT
        if is_new:
            self._phase = _Phase.ACKED
            self._is_eof_due = False
        self._hear(now_ns)
        return is_new

    def hear_nak(self, nak: Nak, now_ns: int) -> None:
        """The peer lacks ranges: those that were sent go again."""
        self._hear(now_ns)
        if self.is_cancelled:
            return
        while self._sent_again and self._sent_again[0][0] <= now_ns - self._parameters.guard_ns:
            self._sent_again.popleft()
        for start, end in nak.requests:
            if (start, end) == (0, 0):
                sent_ns = self._metadata_sent_ns
                if sent_ns is None or now_ns - sent_ns >= self._parameters.guard_ns:
                    self._is_metadata_due = True
            else:
                self._asked.add(start, min(end, self._progress))
        for _, start, end in self._sent_again:
            self._asked.remove(start, end)

    def _hear(self, now_ns: int) -> None:
        self._repeats = 0
        self._answer_at_ns = now_ns + SILENCE_TIMEOUTS * self._parameters.timeout_ns

    def tick(self, now_ns: int) -> None:
        """Time has passed."""
        if self.is_over or self.is_resting or self._answer_at_ns is None or now_ns < self._answer_at_ns:
            return
        if self.unsent_bytes:
            self._answer_at_ns = now_ns + self._parameters.timeout_ns
            return
        self._repeats += 1
        self._answer_at_ns = None
        if self._repeats > self._parameters.answer_limit:
            self.is_over = self.is_cancelled
            self.is_resting = True
        else:
            self._is_eof_due = True

    def wake(self, now_ns: int) -> None:
        """The peer may be there again: repeats start anew."""
        self.is_resting = False
        self._repeats = 0
        if self.is_cancelled or self._phase is _Phase.EOF_SENT:
            self._is_eof_due = True
        elif self._phase is _Phase.ACKED:
            self._answer_at_ns = now_ns + SILENCE_TIMEOUTS * self._parameters.timeout_ns
