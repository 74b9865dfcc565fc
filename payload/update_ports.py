"""The protocols through which the walk of a new model meets files."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol


class ByteFile(Protocol):
    """A file that somebody sent: untrusted bytes."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, start: int, size_bytes: int) -> bytes:
        """Fewer bytes only at the end of the file.

        Raises:
            StoreError: the disk refuses.
        """
        ...


class ModelDisk(Protocol):
    """The files of the model slots, in one folder; every name is a plain file name.

    What `write`, `rename` and `remove` did may be undone or torn by a power cut until `sync`
    (content) and `sync_folder` (names) have returned.

    Every call raises StoreError when the disk refuses.
    """

    def size_bytes(self, name: str) -> int | None:
        """None where there is no such file."""
        ...

    def read(self, name: str, start: int, size_bytes: int) -> bytes:
        """Fewer bytes only at the end of the file; none where there is no file."""
        ...

    def forget_cached(self, name: str) -> None:
        """The next `read` comes from the disk itself, as far as the system can be told so."""
        ...

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        """A file of this content, in place of what was there."""
        ...

    def sync(self, name: str) -> None: ...

    def rename(self, name: str, to: str) -> None: ...

    def remove(self, name: str) -> None: ...

    def sync_folder(self) -> None: ...

    def locked(self) -> AbstractContextManager[None]:
        """Nobody else is inside at the same time; not to be entered twice."""
        ...

    def free_bytes(self) -> int: ...
