"""Files that come in piece by piece: parts in a folder of their own, whole files in another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from payload.errors import StoreError
from payload.transfer_ports import Key

_CHUNK_BYTES = 1 << 18
_PART_SUFFIX = ".part"
_NAME_MAX_CHARS = 240


class FolderOfFiles:
    """Implements `transfer_ports.IncomingFiles`."""

    def __init__(self, parts: Path, folder: Path, suffix: str = "") -> None:
        """Whole files go to ``folder`` with ``suffix`` at their names' end; both are made.

        Raises:
            StoreError: a folder cannot be made.
        """
        self._parts = parts
        self._folder = folder
        self._suffix = suffix
        self._open: dict[Key, int] = {}
        self._unsynced: set[Key] = set()
        with self._storing(folder):
            parts.mkdir(parents=True, exist_ok=True)
            folder.mkdir(parents=True, exist_ok=True)

    def path_of(self, name: str) -> Path:
        """Where the whole file ``name`` lies; escaped so that no name leaves the folder, and one that
        would be too long for the disk has a hash at its end instead."""
        escaped = quote(name, safe="") or "%"
        if len(escaped) > _NAME_MAX_CHARS:
            digest = hashlib.sha256(name.encode()).hexdigest()[:32]
            escaped = f"{escaped[: _NAME_MAX_CHARS - 33]}~{digest}"
        return self._folder / (
            (escaped if escaped.strip(".") else escaped.replace(".", "%2E")) + self._suffix
        )

    def write(self, key: Key, offset: int, content: bytes) -> None:
        """``content`` is at ``offset`` of the part."""
        with self._storing(self._part(key)):
            if key not in self._open:
                self._open[key] = os.open(self._part(key), os.O_RDWR | os.O_CREAT, 0o644)
            while content:
                written = os.pwrite(self._open[key], content, offset)
                offset, content = offset + written, content[written:]
            self._unsynced.add(key)

    def sync(self) -> None:
        """All that was written is on the disk."""
        with self._storing(self._parts):
            for key in self._unsynced:
                os.fdatasync(self._open[key])
            self._unsynced.clear()

    def chunks(self, key: Key, name: str) -> Iterator[bytes]:
        """The part, or the whole file ``name`` if there is no part; nothing if there is neither."""
        path = self._part(key) if self._part(key).exists() else self.path_of(name)
        with self._storing(path):
            if not path.exists():
                return
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk

    def deliver(self, key: Key, name: str) -> None:
        """The part is the whole file ``name`` now, on the disk."""
        self._close(key)
        part, whole = self._part(key), self.path_of(name)
        with self._storing(whole):
            if part.exists():  # or it is there already
                part.replace(whole)
            for folder in (self._folder, self._parts):
                descriptor = os.open(folder, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def drop(self, key: Key) -> None:
        """The part is gone."""
        self._close(key)
        with self._storing(self._part(key)):
            self._part(key).unlink(missing_ok=True)

    def close(self) -> None:
        """No part is open."""
        for key in list(self._open):
            self._close(key)

    def _close(self, key: Key) -> None:
        self._unsynced.discard(key)
        if key in self._open:
            with suppress(OSError):
                os.close(self._open.pop(key))

    def _part(self, key: Key) -> Path:
        return self._parts / f"{key[0]}_{key[1]}{_PART_SUFFIX}"

    @contextmanager
    def _storing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{path}: {error.strerror}; free some disk space or use another folder"
            ) from error
