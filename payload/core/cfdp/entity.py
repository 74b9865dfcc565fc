"""One CFDP entity, CCSDS 727.0-B-5, for one peer: files out and files in, many at once.

    driver: receive(bytes) -> take_effects(), perform -> next_outgoing() -> bytes to the link

Rules:
1. Told the time, and told what was read; does nothing itself. What must be on the disk is an
   effect, and effects are performed before the next PDU is asked for: so nothing is
   acknowledged that a power cut could undo.
2. Answers go first; then the file with the highest priority that has anything to send, what
   is asked for again included; equal priorities in the order in which they were put.
3. Frozen, it sends nothing and its timers stand still; thawed, every repeat starts anew.
4. A transaction of the peer that is closed is remembered and answered as before, but never opened
   again; one that comes with another file than before is closed (`closed`).
5. A PDU that is not for this entity, or of no transaction that it can open, is counted and
   changes nothing.
6. Memory is bounded: open transactions, their ranges, remembered ones, and one waiting answer
   of each kind for each.
7. If too many are coming in, one that is judged makes room: it is answered all the same (rule 4).
   If none is, the one silent longest is forgotten, not refused: at the peer's next word it begins anew.
8. What moved since the last snapshots is less than a window, of all transactions together.
9. While the driver checks a file, nothing that is heard ends its transaction. That all of it is
   there is remembered before, so that a restart checks again and asks for nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from spacepackets.cfdp.defs import ConditionCode

from payload.core.cfdp.closed import ClosedTransactions
from payload.core.cfdp.pdus import (
    NAME_MAX_BYTES,
    Acknowledgement,
    Eof,
    Finished,
    Metadata,
    Nak,
    Pdu,
    PduError,
    Segment,
    TransactionId,
    decode,
    encode,
    is_for_the_sender,
)
from payload.core.cfdp.receiving import ReceiveTransaction
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
)
from payload.core.cfdp.sending import SILENCE_TIMEOUTS, SendTransaction
from payload.transfer_ports import ClosedTransfer

_NO_ERROR = int(ConditionCode.NO_ERROR)


class CfdpEntity:
    """All transactions with the one peer."""

    def __init__(self, parameters: CfdpParameters, next_sequence: int) -> None:
        """Frozen, without transactions; ``next_sequence`` was never used before."""
        self.parameters = parameters
        self.counters = CfdpCounters()
        self.is_frozen = True
        self._is_any_resting = False
        self._next_sequence = next_sequence
        self._sends: dict[TransactionId, SendTransaction] = {}
        self._order: list[SendTransaction] = []
        self._receives: dict[TransactionId, ReceiveTransaction] = {}
        self._closed = ClosedTransactions()
        self._answers: OrderedDict[tuple[TransactionId, str], Pdu] = OrderedDict()
        self._effects: list[Effect] = []
        self._unremembered: dict[TransactionId, int] = {}

    def restore(
        self,
        snapshots: Iterable[SendSnapshot | ReceiveSnapshot],
        closed: Mapping[TransactionId, ClosedTransfer],
    ) -> None:
        """Goes on where the snapshots were taken; still frozen.

        Args:
            closed: the peer's transactions that are over, the latest last.
        """
        for transaction, ending in closed.items():
            self._closed.add(transaction, ending)
        for snapshot in snapshots:
            if isinstance(snapshot, SendSnapshot):
                sending = SendTransaction.restored(self.parameters, snapshot)
                self._sends[snapshot.transaction] = sending
            else:
                receiving = ReceiveTransaction.restored(self.parameters, snapshot)
                self._receives[receiving.transaction] = receiving
        self._sort()

    @property
    def has_room(self) -> bool:
        """Whether another file may be put."""
        return len(self._sends) < self.parameters.open_limit

    @property
    def unsent_bytes(self) -> int:
        """Of all open files: what waits to be sent, or to be sent again."""
        return sum(sending.unsent_bytes for sending in self._order)

    def sending(self) -> Mapping[str, SendTransaction]:
        """The files that are on their way out, by name."""
        return {sending.file.name: sending for sending in self._order}

    def receiving(self) -> int:
        """How many files are on their way in."""
        return len(self._receives)

    def put(self, file: OutgoingFile) -> TransactionId:
        """``file`` is on its way."""
        assert self.has_room
        assert len(file.name.encode()) <= NAME_MAX_BYTES, file.name
        transaction = TransactionId(self.parameters.entity_id, self._next_sequence & 0xFFFFFFFF)
        self._next_sequence += 1
        sending = SendTransaction(self.parameters, transaction, file)
        self._sends[transaction] = sending
        self._sort()
        self._remember(sending)
        return transaction

    def cancel(self, name: str) -> None:
        """The file ``name`` goes no further; nothing happens if it is not on its way."""
        sending = self.sending().get(name)
        if sending is not None:
            sending.cancel()
            self._remember(sending)

    def prioritise(self, priorities: Mapping[str, float]) -> None:
        """The files on their way have new priorities; those not named keep theirs."""
        for name, sending in self.sending().items():
            sending.priority = priorities.get(name, sending.priority)
        self._sort()

    def next_outgoing(self, now_ns: int) -> bytes | SegmentRequest | None:
        """What goes down the link next, now; None if nothing does."""
        if self.is_frozen:
            return None
        if not self._answers:
            self._answer_receives(now_ns)
        if self._answers:
            _, answer = self._answers.popitem(last=False)
            self.counters.naks_out += isinstance(answer, Nak)
            return self._counted(encode(answer))
        for sending in self._order:
            found = sending.next(now_ns)
            if found is None:
                continue
            if isinstance(found, SegmentRequest) and not found.is_again:
                self._move_on(sending.transaction, found.length)
            if sending.is_over:
                self._close_send(sending)
            return found if isinstance(found, SegmentRequest) else self._counted(encode(found))
        return None

    def segment(self, request: SegmentRequest, content: bytes) -> bytes:
        """The PDU that ``request`` asked for."""
        raw = self._counted(encode(request.filled(content)))
        self.counters.bytes_again += len(raw) if request.is_again else 0
        return raw

    def _counted(self, raw: bytes) -> bytes:
        self.counters.bytes_out += len(raw)
        return raw

    def _answer_receives(self, now_ns: int) -> None:
        for transaction, receiving in self._receives.items():
            if receiving.finished_due:
                self._answers[transaction, "finished"] = receiving.finished(now_ns)
            if receiving.naks_due:
                for number, nak in enumerate(receiving.naks(now_ns)):
                    self._answers[transaction, f"nak {number}"] = nak
        self._close_receives()

    def _close_receives(self) -> None:
        for receiving in [found for found in self._receives.values() if found.is_over]:
            if not receiving.finished_due:
                self._close_receive(receiving)

    def receive(self, raw: bytes, now_ns: int) -> None:
        """The bytes came from the peer; damaged or strange ones change nothing."""
        try:
            pdu = decode(raw)
        except PduError:
            self.counters.pdus_rejected += 1
            return
        self.counters.pdus_in += 1
        ours, peer = self.parameters.entity_id, self.parameters.peer_id
        ends = (pdu.head.transaction.source, pdu.head.destination)
        if ends == (ours, peer) and is_for_the_sender(pdu):
            self._hear_as_sender(pdu, now_ns)
        elif ends == (peer, ours) and not is_for_the_sender(pdu):
            self._hear_as_receiver(pdu, now_ns)
        else:
            self.counters.pdus_strange += 1

    def _hear_as_sender(self, pdu: Pdu, now_ns: int) -> None:
        self._wake_the_resting(now_ns)
        transaction = pdu.head.transaction
        sending = self._sends.get(transaction)
        if isinstance(pdu, Finished):
            if sending is not None and not self._end_send(sending, pdu):
                return
            acknowledgement = Acknowledgement(pdu.head, True, pdu.condition)
            self._answers[transaction, "finished acknowledged"] = acknowledgement
        elif sending is None:
            self.counters.pdus_strange += 1
        elif isinstance(pdu, Nak):
            self.counters.naks_in += 1
            sending.hear_nak(pdu, now_ns)
        elif sending.hear_eof_acknowledged(now_ns):
            self._remember(sending)
        elif sending.is_over:
            self._close_send(sending)

    def _end_send(self, sending: SendTransaction, pdu: Finished) -> bool:
        """The file has ended; False if that cannot be true (rule 5): its end was never sent."""
        is_delivered = pdu.condition == _NO_ERROR and pdu.is_complete and pdu.is_retained
        if is_delivered and not sending.is_end_sent:
            self.counters.pdus_strange += 1
            return False
        self.counters.files_delivered += is_delivered
        self.counters.files_failed += not is_delivered
        name = sending.file.name
        self._effects.append(SendEnded(sending.transaction, name, pdu.condition, is_delivered))
        self._close_send(sending)
        return True

    def _hear_as_receiver(self, pdu: Pdu, now_ns: int) -> None:
        self._wake_the_resting(now_ns)
        transaction = pdu.head.transaction
        receiving = self._receives.get(transaction)
        if receiving is not None and receiving.is_denied_by(pdu):
            receiving.end(ConditionCode.FILE_CHECKSUM_FAILURE)
            self._answers.pop((transaction, "finished"), None)
            self._close_receive(receiving)
        if transaction in self._closed:
            for kind, answer in self._closed.answers(pdu).items():
                self._answers[transaction, kind] = answer
            return
        if isinstance(pdu, Acknowledgement):
            if receiving is not None and receiving.condition is not None:
                self._answers.pop((transaction, "finished"), None)
                self._close_receive(receiving)
            return
        receiving = receiving or self._open(pdu, now_ns)
        if receiving is None:
            self.counters.pdus_strange += 1
        else:
            self._feed(receiving, pdu, now_ns)

    def _feed(self, receiving: ReceiveTransaction, pdu: Pdu, now_ns: int) -> None:
        is_news = False
        if isinstance(pdu, Segment):
            new_bytes = receiving.hear_segment(pdu, now_ns)
            if new_bytes:
                self._effects.append(StoreSegment(pdu.head.transaction, pdu.offset, pdu.content))
                self._move_on(pdu.head.transaction, new_bytes)
        elif isinstance(pdu, Metadata):
            is_news = receiving.hear_metadata(pdu, now_ns)
        elif isinstance(pdu, Eof):
            is_news = receiving.hear_eof(pdu, now_ns)
            if pdu.head.is_acknowledged:
                self._answers[pdu.head.transaction, "eof acknowledged"] = Acknowledgement(
                    pdu.head, False, pdu.condition
                )
        if is_news:
            self._remember(receiving)
        self._check_if_whole(receiving)
        self._close_receives()

    def _check_if_whole(self, receiving: ReceiveTransaction) -> None:
        verification = receiving.verification()
        if verification is not None:
            self._remember(receiving)
            self._effects.append(verification)

    def _open(self, pdu: Pdu, now_ns: int) -> ReceiveTransaction | None:
        if Close(pdu.head.transaction, None) in self._effects:  # forgotten just now: its part is still there
            return None
        if len(self._receives) >= self.parameters.open_limit and not self._make_room(now_ns):
            return None
        receiving = ReceiveTransaction(self.parameters, pdu.head)
        self._receives[pdu.head.transaction] = receiving
        return receiving

    def _make_room(self, now_ns: int) -> bool:
        idle = (receiving for receiving in self._receives.values() if not receiving.is_verifying)
        silent = min(idle, key=lambda one: (one.condition is None, one.heard_ns), default=None)
        if silent is None:
            return False
        is_judged = silent.condition is not None
        timeouts = 1 if is_judged else SILENCE_TIMEOUTS + 1  # a peer that waits would have said its EOF again
        if now_ns - silent.heard_ns < timeouts * self.parameters.timeout_ns:
            return False
        if is_judged:
            self._close_receive(silent)
        else:
            self._drop_receive(silent, None)
        return True

    def judge(self, transaction: TransactionId, condition: int) -> None:
        """The driver checked the file: NO_ERROR and in its place, or refused for good."""
        receiving = self._receives[transaction]
        receiving.judge(condition)
        self.counters.files_received += condition == _NO_ERROR
        self._remember(receiving)
        self._close_receives()

    def tick(self, now_ns: int) -> None:
        """Time has passed; a few times a second is enough."""
        if self.is_frozen:
            return
        for sending in list(self._order):
            sending.tick(now_ns)
            self._is_any_resting |= sending.is_resting
            if sending.is_over:
                self._close_send(sending)
        for receiving in self._receives.values():
            receiving.tick(now_ns)
            self._is_any_resting |= receiving.is_resting
        self._close_receives()

    def freeze(self) -> None:
        """Loss of signal: all stands still."""
        self.is_frozen = True

    def thaw(self, now_ns: int) -> None:
        """The peer is there: all goes on."""
        self.is_frozen = False
        for sending in self._order:
            sending.wake(now_ns)
        for receiving in self._receives.values():
            receiving.wake(now_ns)
            self._check_if_whole(receiving)

    def take_effects(self) -> list[Effect]:
        """What the driver must do now, in this order; each is given once."""
        taken, self._effects = self._effects, []
        return taken

    def _wake_the_resting(self, now_ns: int) -> None:
        if not self._is_any_resting:
            return
        self._is_any_resting = False
        for sending in self._order:
            if sending.is_resting:
                sending.wake(now_ns)
        for receiving in self._receives.values():
            if receiving.is_resting:
                receiving.wake(now_ns)

    def _sort(self) -> None:
        self._order = sorted(self._sends.values(), key=lambda one: (-one.priority, one.transaction))

    def _close_send(self, sending: SendTransaction) -> None:
        del self._sends[sending.transaction]
        self._order.remove(sending)
        self._unremembered.pop(sending.transaction, None)
        self._effects.append(Close(sending.transaction, None))

    def _close_receive(self, receiving: ReceiveTransaction) -> None:
        assert receiving.condition is not None
        self.counters.files_failed += receiving.condition != _NO_ERROR
        ending = ClosedTransfer(receiving.condition, receiving.eof)
        self._closed.add(receiving.transaction, ending)
        self._drop_receive(receiving, ending)

    def _drop_receive(self, receiving: ReceiveTransaction, ending: ClosedTransfer | None) -> None:
        del self._receives[receiving.transaction]
        self._unremembered.pop(receiving.transaction, None)
        self._effects.append(Close(receiving.transaction, ending))

    def _move_on(self, transaction: TransactionId, moved_bytes: int) -> None:
        """Journals all that moved, once a window of bytes has (rule 8)."""
        self._unremembered[transaction] = self._unremembered.get(transaction, 0) + moved_bytes
        if sum(self._unremembered.values()) >= self.parameters.window_bytes:
            for moved in list(self._unremembered):
                self._remember(self._sends.get(moved) or self._receives[moved])

    def _remember(self, one: SendTransaction | ReceiveTransaction) -> None:
        self._effects.append(Remember(one.snapshot()))
        self._unremembered.pop(one.transaction, None)
