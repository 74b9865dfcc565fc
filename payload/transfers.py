"""Files over CFDP, either way: the engine's effects on a journal and on files.

    link --> receive --> entity --> effects: parts written, files judged, journal --> settle
    link <-- next_packet <-- entity <-- bodies read piece by piece

Used in flight and on the ground alike. What arrives may be taken many at a time; `settle` must
come before the next `next_packet`, so that nothing is answered that a power cut could undo.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from payload.core.cfdp import (
    CfdpEntity,
    CfdpParameters,
    Close,
    Effect,
    PduError,
    Remember,
    SegmentRequest,
    SendEnded,
    StoreSegment,
    TransactionId,
    VerifyFile,
)
from payload.core.cfdp.checksums import FileChecksum
from payload.core.cfdp.packets import pack_file_packet
from payload.core.cfdp.rows import key_of, snapshot_of, text_of
from payload.transfer_ports import ClosedTransfer, IncomingFiles, Key, TransferJournal

_NO_ERROR, _CHECKSUM_FAILURE, _UNSUPPORTED_CHECKSUM = 0, 5, 11


class FileUser(Protocol):
    """Whose files they are."""

    def piece(self, name: str, offset: int, length: int) -> bytes | None:
        """Bytes of a file on its way out; None where it is damaged and goes no further."""
        ...

    def has_left(self, ended: SendEnded) -> None:
        """The other end's Finished PDU came; called before the transfer is forgotten."""
        ...

    def has_come(self, name: str) -> None:
        """A file came in, whole and on the disk."""
        ...


class Transfers:
    """One entity with its journal and files; frozen until `thaw`."""

    def __init__(
        self,
        parameters: CfdpParameters,
        apid: int,
        is_ground: bool,
        journal: TransferJournal,
        files: IncomingFiles,
        user: FileUser,
        key: bytes | None = None,
    ) -> None:
        """Goes on where the journal left off.

        Args:
            key: what goes out has a tag by it.

        Raises:
            StoreError: the journal cannot be read.
        """
        self._journal = journal
        self._files = files
        self._user = user
        self._apid = apid
        self._is_ground = is_ground
        self._key = key
        self._packets = 0
        texts, closed, self._next_sequence = journal.load()
        self.entity = CfdpEntity(parameters, self._next_sequence)
        known = {TransactionId(*key): ending for key, ending in closed.items()}
        self.entity.restore([snapshot_of(text) for text in texts], known)

    def receive(self, pdu: bytes, now_ns: int) -> None:
        """The content of a whole space packet of our APID came."""
        self.entity.receive(pdu, now_ns)

    def settle(self) -> None:
        """All that the entity wants done is done and on the disk.

        Raises:
            StoreError: some of it is not; the entity and the disk no longer agree, so it must be
                made anew from the journal.
        """
        while effects := self.entity.take_effects():
            opened: dict[Key, str] = {}
            closed: dict[Key, ClosedTransfer | None] = {}
            for effect in effects:
                self._perform(effect, opened, closed)
            self._commit(opened, closed)
            for effect in effects:
                if isinstance(effect, VerifyFile):
                    self._verify(effect)

    def _commit(self, opened: Mapping[Key, str], closed: Mapping[Key, ClosedTransfer | None]) -> None:
        self._files.sync()
        if opened or closed:
            self._journal.commit(opened, closed, self._next_sequence)
            for key in closed:
                self._files.drop(key)

    def _perform(
        self, effect: Effect, opened: dict[Key, str], closed: dict[Key, ClosedTransfer | None]
    ) -> None:
        if isinstance(effect, StoreSegment):
            self._files.write(_key(effect.transaction), effect.offset, effect.content)
        elif isinstance(effect, Remember):
            key = key_of(effect.snapshot)
            opened[key] = text_of(effect.snapshot)
            if key[0] == self.entity.parameters.entity_id:
                self._next_sequence = max(self._next_sequence, key[1] + 1)
        elif isinstance(effect, SendEnded):
            self._user.has_left(effect)
        elif isinstance(effect, Close):
            opened.pop(_key(effect.transaction), None)
            closed[_key(effect.transaction)] = effect.closed

    def _verify(self, effect: VerifyFile) -> None:
        key = _key(effect.transaction)
        if effect.size_bytes == 0:  # no piece of it has made its part
            self._files.write(key, 0, b"")
        condition = self._condition(effect)
        if condition == _NO_ERROR:
            self._files.sync()
            self._files.deliver(key, effect.name)
            self._user.has_come(effect.name)
        self.entity.judge(effect.transaction, condition)

    def _condition(self, effect: VerifyFile) -> int:
        try:
            checksum = FileChecksum(effect.checksum_kind)
        except PduError:
            return _UNSUPPORTED_CHECKSUM
        size_bytes = 0
        for chunk in self._files.chunks(_key(effect.transaction), effect.name):
            checksum.feed(chunk)
            size_bytes += len(chunk)
        is_right = (size_bytes, checksum.value()) == (effect.size_bytes, effect.checksum)
        return _NO_ERROR if is_right else _CHECKSUM_FAILURE

    def next_packet(self, now_ns: int) -> bytes | None:
        """The space packet that goes next, or None while there is nothing to send.

        Raises:
            StoreError: a file on its way out cannot be read.
        """
        found = self.entity.next_outgoing(now_ns)
        while isinstance(found, SegmentRequest):
            content = self._user.piece(found.name, found.offset, found.length)
            if content is None:
                self.entity.cancel(found.name)
                found = self.entity.next_outgoing(now_ns)
            else:
                found = self.entity.segment(found, content)
        self.settle()
        if found is None:
            return None
        self._packets += 1
        return pack_file_packet(self._apid, self._is_ground, self._packets, found, self._key)


def _key(transaction: TransactionId) -> Key:
    return transaction.source, transaction.sequence
