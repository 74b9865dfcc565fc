"""A small file that stands twice on the disk of the model slots: a task's record, the root file.

Rules:
1. A copy is replaced by one rename of a file that is synced, so that either the old or the new
   content stands under its name.
2. A copy that cannot be read is as good as none.
3. A copy that cannot be mended is told, and stops nobody while the other one is whole.
"""

from __future__ import annotations

from contextlib import suppress

from payload.core.telemetry import Telemetry
from payload.errors import StoreError
from payload.update_ports import ModelDisk

COPIES = (0, 1)


class TwinFiles:
    """The copies ``name``.0 and ``name``.1 of one file."""

    def __init__(self, disk: ModelDisk, name: str, limit_bytes: int, telemetry: Telemetry) -> None:
        """Nothing is read; of a copy no more than ``limit_bytes`` ever is."""
        self._disk = disk
        self._name = name
        self._limit_bytes = limit_bytes
        self._telemetry = telemetry

    def read(self) -> list[bytes]:
        """The content of each copy; empty where there is none, or none that can be read."""
        found = [b"" for _ in COPIES]
        for copy in COPIES:
            with suppress(StoreError):
                found[copy] = self._disk.read(self._file(copy), 0, self._limit_bytes)
        return found

    def put(self, copy: int, content: bytes) -> None:
        """``content`` is the copy, on the disk.

        Raises:
            StoreError: the disk refuses; the copy is what it was.
        """
        file = self._file(copy)
        part = file + ".part"
        try:
            self._disk.write(part, [content])
            self._disk.sync(part)
            self._disk.rename(part, file)
        except StoreError:
            with suppress(StoreError):
                self._disk.remove(part)
            raise
        self._disk.sync_folder()

    def mend(self, content: bytes) -> None:
        """Both copies are ``content``, as far as the disk takes it."""
        for copy, found in enumerate(self.read()):
            if found != content:
                try:
                    self.put(copy, content)
                except StoreError as error:
                    self._telemetry.event("copy_not_mended", path=self._file(copy), reason=str(error))

    def _file(self, copy: int) -> str:
        return f"{self._name}.{copy}"
