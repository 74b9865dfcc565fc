"""Transactions of the peer that are over, and what is still answered to them.

Rules:
1. The latest CLOSED_TRANSFERS_MAX are known; none of them is opened again.
2. NO_ERROR is said of the file that was delivered and of no other: an EOF with another checksum or
   size comes from a peer that counts its transactions anew, and its file is not here. It is
   refused, so that the peer sends it under a number of its own.
"""

from __future__ import annotations

from collections import OrderedDict
from zlib import crc32

from spacepackets.cfdp.defs import ConditionCode

from payload.core.cfdp.pdus import Acknowledgement, Eof, Finished, Pdu, TransactionId
from payload.core.cfdp.records import NS_PER_S
from payload.core.clock import is_time_set
from payload.transfer_ports import CLOSED_TRANSFERS_MAX, ClosedTransfer

_NO_ERROR = int(ConditionCode.NO_ERROR)


def first_sequence_at(utc_ns: int) -> int:
    """The sequence number that a journal made now begins with; the peer may remember those of one
    that was lost, so it must be another than any of them.

    The seconds of UTC: files are fewer than seconds. Of a clock that is not set, which tells the same
    seconds after every start, a number that is scattered by its nanoseconds.
    """
    if is_time_set(utc_ns):
        return utc_ns // NS_PER_S & 0xFFFFFFFF
    return crc32(utc_ns.to_bytes(8, "big"))


class ClosedTransactions:
    """The latest ones, by their ids."""

    def __init__(self) -> None:
        self._known: OrderedDict[TransactionId, ClosedTransfer] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, transaction: TransactionId) -> bool:
        return transaction in self._known

    def add(self, transaction: TransactionId, closed: ClosedTransfer) -> None:
        """The transaction is over; the oldest one may be forgotten for it."""
        self._known[transaction] = closed
        if len(self._known) > CLOSED_TRANSFERS_MAX:
            self._known.popitem(last=False)

    def answers(self, pdu: Pdu) -> dict[str, Pdu]:
        """What goes back for ``pdu`` of a known transaction, by its kind; only an EOF asks for any."""
        if not isinstance(pdu, Eof) or not pdu.head.is_acknowledged:
            return {}
        found: dict[str, Pdu] = {"eof acknowledged": Acknowledgement(pdu.head, False, pdu.condition)}
        if pdu.condition == _NO_ERROR:
            condition = self._condition(pdu)
            is_good = condition == _NO_ERROR
            found["finished"] = Finished(pdu.head, condition, is_good, is_good)
        return found

    def _condition(self, eof: Eof) -> int:
        closed = self._known[eof.head.transaction]
        if closed.condition == _NO_ERROR and closed.eof != (eof.checksum, eof.size_bytes):
            return int(ConditionCode.FILE_CHECKSUM_FAILURE)
        return closed.condition
