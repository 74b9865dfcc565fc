"""The one log: telemetry records as JSON lines, appended to a file that survives a power cut.

A record is whole or absent: what a cut tore off is cut away when the log is opened again, and
an append that fails leaves the file as it was.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from payload.errors import StoreError

_LOOK_BACK_BYTES = 65536
_LINE_END = b"\n"


class TelemetryLog:
    """Appends records to one file, and to a new one when it is full: the last full one stays."""

    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        """Open or make the log; a file of more than ``max_bytes`` is put aside as PATH.1.

        Raises:
            StoreError: it cannot be opened or written.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._open()

    def _open(self) -> None:
        try:
            self._path.touch()
            self._file: BinaryIO = self._path.open("r+b", buffering=0)
            self._file.truncate(_whole_lines_bytes(self._file))
        except OSError as error:
            raise self._failure(error) from error

    def append(self, records: Iterable[Mapping[str, object]]) -> None:
        """All records are in the file, in order, one line each.

        Raises:
            StoreError: none of them is (disk full).
        """
        lines = [json.dumps(record, separators=(",", ":"), allow_nan=False) for record in records]
        unwritten = memoryview("".join(f"{line}\n" for line in lines).encode("ascii"))
        try:
            end = self._file.seek(0, os.SEEK_END)
            if self._max_bytes is not None and 0 < end > self._max_bytes - len(unwritten):
                self._put_aside()
                end = 0
        except OSError as error:
            raise self._failure(error) from error
        try:
            while unwritten:
                unwritten = unwritten[self._file.write(unwritten) :]
        except OSError as error:
            with suppress(OSError):  # else the next start cuts it off
                self._file.truncate(end)
            raise self._failure(error) from error

    def _put_aside(self) -> None:
        """What is full is PATH.1, which it replaces; the log goes on empty.

        The new file is there before the old one is given up: if none can be had, nothing changes.
        """
        os.fsync(self._file.fileno())
        path = self._path.with_name(self._path.name + ".new")
        fresh = path.open("wb", buffering=0)
        try:
            with suppress(FileNotFoundError):  # an earlier attempt came so far and no farther
                self._path.replace(self._path.with_name(self._path.name + ".1"))
            path.replace(self._path)
        except OSError:
            fresh.close()
            raise
        self._file.close()
        self._file = fresh

    def close(self) -> None:
        """What was appended is on the disk.

        Raises:
            StoreError: the disk did not take it.
        """
        try:
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StoreError:
        return StoreError(f"{self._path}: cannot write telemetry: {error.strerror}; free or change the disk")


def _whole_lines_bytes(file: BinaryIO) -> int:
    """The length of the file up to its last line end."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - _LOOK_BACK_BYTES)
        file.seek(start)
        place = file.read(end - start).rfind(_LINE_END)
        if place >= 0:
            return start + place + 1
        end = start
    return 0
