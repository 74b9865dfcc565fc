"""A file that somebody sent, read piece by piece."""

from __future__ import annotations

import stat
from pathlib import Path

from payload.errors import StoreError


class FileBytes:
    """Implements `payload.update_ports.ByteFile`."""

    def __init__(self, path: Path) -> None:
        """Look how long the file is.

        Raises:
            StoreError: it cannot be read, or is no regular file: a FIFO would be waited for.
        """
        self._path = path
        try:
            found = path.stat()
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{path}: no regular file")
        self.size_bytes = found.st_size

    def read(self, start: int, size_bytes: int) -> bytes:
        """Fewer bytes only at the end of the file.

        Raises:
            StoreError: the disk refuses.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                return file.read(size_bytes)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be read: {error.strerror}") from error
