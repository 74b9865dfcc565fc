"""The protocols through which file transfers meet the disk; a transfer's key is (source, sequence)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

CLOSED_TRANSFERS_MAX = 4096
"""File transfers from the peer that are over and still known, in memory and in the journal: the latest."""

Key = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ClosedTransfer:
    """How a file transfer from the peer ended: ``condition`` is a CFDP condition code, ``eof`` the
    checksum and size in bytes that its EOF said, None if none was heard."""

    condition: int
    eof: tuple[int, int] | None


class TransferJournal(Protocol):
    """Open and closed file transfers, over power cuts."""

    def load(self) -> tuple[list[str], dict[Key, ClosedTransfer], int]:
        """The open transfers as text, the latest of the peer's that are closed, and a sequence number
        that no transfer ever had.

        Raises:
            StoreError: it cannot be read.
        """
        ...

    def commit(
        self,
        opened: Mapping[Key, str],
        closed: Mapping[Key, ClosedTransfer | None],
        next_sequence: int,
    ) -> None:
        """All of this is on the disk, or nothing: the open ones as they are now, the closed ones closed;
        where there is None instead of how it ended, nothing is remembered of it.

        Raises:
            StoreError: nothing changed.
        """
        ...

    def close(self) -> None: ...


class IncomingFiles(Protocol):
    """Files that come in piece by piece, and those that are whole.

    Every function raises a StoreError if the disk refuses.
    """

    def write(self, key: Key, offset: int, content: bytes) -> None:
        """``content`` is at ``offset`` of the part, which is there even if that is empty; on the disk only
        after `sync`."""
        ...

    def sync(self) -> None:
        """All that was written is on the disk."""
        ...

    def chunks(self, key: Key, name: str) -> Iterator[bytes]:
        """The part, or the whole file ``name`` if there is no part, from the beginning."""
        ...

    def deliver(self, key: Key, name: str) -> None:
        """The part is the whole file ``name`` now, on the disk; nothing happens if it is already."""
        ...

    def drop(self, key: Key) -> None:
        """The part is gone, if there was one."""
        ...
