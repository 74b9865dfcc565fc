"""A ground station that is a folder: for benches, and wherever a folder is synchronised down."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from payload.errors import LinkError
from payload.types import Contact

PRODUCT_SUFFIX = ".skp"
_PART_SUFFIX = ".part"


class FolderLink:
    """Implements `ports.Link`: a product is a file, whole and on the disk, or not there.

    A product that is sent twice (the acknowledgement was lost) is the same file again; another
    product of that name, as another board makes of the same strip, is not written over.
    """

    def __init__(self, folder: Path, contact: Contact) -> None:
        """Products go to ``folder``, which is made if need be, at most as many as fit the contact.

        Raises:
            LinkError: the folder cannot be made.
        """
        self._folder = folder
        self._room_bytes = contact.capacity_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LinkError(f"{folder}: cannot be made: {error.strerror}") from error

    def send(self, name: str, body: bytes) -> bool:
        """True once ``body`` lies under ``name`` for certain; False if the contact is too short.

        Raises:
            LinkError: the folder takes no more.
        """
        if len(body) > self._room_bytes:
            return False
        # Escaped so that no name leaves the folder, and no two names meet in one file.
        whole = self._folder / (quote(name, safe="") + PRODUCT_SUFFIX)
        part = whole.with_name(whole.name + _PART_SUFFIX)
        try:
            if whole.exists() and whole.read_bytes() != body:
                raise LinkError(f"{whole}: holds another product of that name; use another folder")
            _write(part, body)
            part.replace(whole)
            _sync(self._folder)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise LinkError(f"{whole}: cannot be written: {error.strerror}") from error
        self._room_bytes -= len(body)
        return True


def _write(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """The folder's own entries are on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
