"""Chunks of updates on the disk: data and journal, so that a reset loses at most what came last.

A chunk's bytes are written in their place and synced before the journal says that they are there;
a journal is lines of fixed length, each with its own CRC-32, and a torn one is cut away. When a
transfer is taken up again every chunk of the journal is read back and checked.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from payload.errors import StoreError

_LINE = struct.Struct(">IIII")
"""start, end, CRC-32 of the bytes, CRC-32 of this line's first 12 bytes."""

_READ_BYTES = 64 << 10


class ChunkFile:
    """One file on its way, in a folder."""

    def __init__(self, folder: Path, name: str, total_bytes: int) -> None:
        """Open or make it; ``name`` is a plain file name.

        Raises:
            StoreError: the disk refuses.
        """
        self._part, self._journal = folder / f"{name}.part", folder / f"{name}.journal"
        self._whole = folder / f"{name}.update"
        self._unsynced: list[tuple[int, int, int]] = []
        with _storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._data = os.open(self._part, os.O_RDWR | os.O_CREAT, 0o644)
            os.truncate(self._data, total_bytes)
            self._lines = os.open(self._journal, os.O_RDWR | os.O_CREAT, 0o644)
            _sync_folder(folder)

    def extents(self) -> Iterator[tuple[int, int]]:
        """What the journal says is there, and is.

        Raises:
            StoreError: the disk refuses.
        """
        with _storing(self._journal):
            size = os.fstat(self._lines).st_size
            whole = size - size % _LINE.size
            for place in range(0, whole, _LINE.size):
                line = os.pread(self._lines, _LINE.size, place)
                start, end, crc, check = _LINE.unpack(line)
                if zlib.crc32(line[:12]) != check:
                    os.truncate(self._lines, place)
                    return
                if zlib.crc32(os.pread(self._data, end - start, start)) == crc:
                    yield start, end
            os.truncate(self._lines, whole)

    def put(self, start: int, content: bytes) -> None:
        """The bytes are in their place; on the disk after `sync`."""
        with _storing(self._part):
            os.pwrite(self._data, content, start)
        self._unsynced.append((start, start + len(content), zlib.crc32(content)))

    def sync(self) -> None:
        """All that was put is on the disk, and then in the journal."""
        if not self._unsynced:
            return
        lines = b""
        for entry in self._unsynced:
            first = struct.pack(">III", *entry)
            lines += first + struct.pack(">I", zlib.crc32(first))
        with _storing(self._journal):
            os.fsync(self._data)
            os.pwrite(self._lines, lines, os.fstat(self._lines).st_size)
            os.fsync(self._lines)
        self._unsynced.clear()

    def finish(self, is_whole: Callable[[bytes], bool]) -> Path | None:
        """The path of the file if its SHA-256 is right; else it is forgotten, and None."""
        digest = hashlib.sha256()
        with _storing(self._part):
            while block := os.read(self._data, _READ_BYTES):
                digest.update(block)
            self.close()
            self._journal.unlink()
            if not is_whole(digest.digest()):
                self._part.unlink()
                return None
            self._part.replace(self._whole)
            _sync_folder(self._whole.parent)
        return self._whole

    def close(self) -> None:
        """What was synced stays; a second call does nothing."""
        for descriptor in (self._data, self._lines):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._lines = -1


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; free or change the disk of updates.slots") from error
