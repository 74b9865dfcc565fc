"""Copies of the files on their way up: a station that is started again goes on with them."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from payload.core.cfdp import OutgoingFile
from payload.core.cfdp.checksums import crc_32
from payload.drivers.incoming_files import FolderOfFiles
from payload.errors import StoreError

COPY_SUFFIX = ".up"
_NO_SEQUENCE = 0  # one copy is made at a time


class FilesUp:
    """One copy for each name, whole or not there."""

    def __init__(self, parts: Path, folder: Path, entity_id: int) -> None:
        """In ``folder``; while one is made it lies in ``parts``.

        Raises:
            StoreError: a folder cannot be made.
        """
        self._folder = folder
        self._files = FolderOfFiles(parts, folder, COPY_SUFFIX)
        self._key = (entity_id, _NO_SEQUENCE)

    def keep(self, name: str, body: bytes) -> None:
        """The copy of ``name`` is on the disk.

        Raises:
            StoreError: it is not.
        """
        self._files.drop(self._key)
        self._files.write(self._key, 0, body)
        self._files.sync()
        self._files.deliver(self._key, name)

    def is_kept(self, file: OutgoingFile) -> bool:
        """Whether the copy is there and is this file."""
        try:
            body = self._files.path_of(file.name).read_bytes()
        except OSError:
            return False
        return (len(body), crc_32(body)) == (file.size_bytes, file.checksum)

    def piece(self, name: str, offset: int, length: int) -> bytes:
        """Bytes of the copy.

        Raises:
            StoreError: it cannot be read, or has not so many.
        """
        path = self._files.path_of(name)
        try:
            with path.open("rb") as file:
                file.seek(offset)
                found = file.read(length)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}; send the file again") from error
        if len(found) != length:
            raise StoreError(f"{path}: has been cut short; send the file again")
        return found

    def keep_only(self, names: Collection[str]) -> None:
        """Copies of other files than ``names`` are gone, where the disk lets them go."""
        wanted = {self._files.path_of(name) for name in names}
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path not in wanted:
                    path.unlink(missing_ok=True)
