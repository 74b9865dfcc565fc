"""Watchdogs: a device of the kernel (Documentation/watchdog/watchdog-api.rst), a file, or none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from payload.errors import ConfigError, StoreError
from payload.ports import Watchdog

_MAGIC_CLOSE = b"V"


class FileWatchdog(Watchdog):
    """Writes a byte for every stroke; into a plain file always at its start, so that it stays short.

    Whoever watches a plain file looks at the time of its last change.
    """

    def __init__(self, path: Path) -> None:
        """From now on strokes are expected.

        Raises:
            ConfigError: the device or file cannot be opened.
        """
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError(f"{path}: cannot open the watchdog: {error.strerror}") from error
        self._path = path
        self._is_plain = path.is_file()

    def stroke(self) -> None:
        """The program is alive.

        Raises:
            StoreError: the device or file does not take it.
        """
        try:
            self._write(b"\0")
        except OSError as error:
            raise StoreError(f"{self._path}: cannot stroke the watchdog: {error.strerror}") from error

    def close(self) -> None:
        """The device is disarmed, where it can be."""
        with suppress(OSError):
            self._write(_MAGIC_CLOSE)
        os.close(self._descriptor)

    def _write(self, content: bytes) -> None:
        if self._is_plain:
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, content)


class NoWatchdog(Watchdog):
    """A board without one."""

    def stroke(self) -> None:
        """Nobody waits for it."""

    def close(self) -> None:
        """Nothing is armed."""
