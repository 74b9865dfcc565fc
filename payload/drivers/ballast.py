"""Room on the disk that is still there when nothing else is: a file that is given up then.

What makes products fills the disk up to its last byte if it is allowed to; what sends them
needs some of it to say what has left. So the maker makes nothing without ballast beside the
queue, and the sender throws it out where the disk is full, whoever filled it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from payload.errors import StoreError


class Ballast:
    """A file of ``size_bytes`` that really takes them."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def take(self) -> None:
        """The file is there, whole.

        Raises:
            StoreError: the disk has no room for it.
        """
        if self.is_there():
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)
        except OSError as error:
            self.drop()
            raise StoreError(
                f"{self._path}: no room for the {self._size_bytes >> 20} MiB without which a full disk could "
                f"not be sent empty ({error.strerror}); what was queued is still there: free some disk space "
                "and run again; nothing changed"
            ) from error

    def is_there(self) -> bool:
        """Whether the file is there, whole."""
        try:
            return self._path.stat().st_size >= self._size_bytes
        except OSError:
            return False

    def has_room(self) -> bool:
        """Whether the file is there, or could be."""
        return self.is_there() or not self._is_disk_full()

    def drop_if_full(self) -> None:
        """The file is gone if the disk has less room than it took."""
        if self._is_disk_full():
            self.drop()

    def drop(self) -> None:
        """The file is gone."""
        with suppress(OSError):
            self._path.unlink()

    def _is_disk_full(self) -> bool:
        """Whether the disk has less room than the file takes; False where nobody can tell."""
        with suppress(OSError):
            disk = os.statvfs(self._path.parent)
            return disk.f_bavail * disk.f_frsize < self._size_bytes
        return False
