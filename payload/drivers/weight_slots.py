"""The files of the model slots: written, synced, renamed and read back, in one folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from payload.errors import StoreError

LOCK = "lock"


class SlotFolder:
    """Implements `payload.update_ports.ModelDisk` on a folder."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when something is first written to it."""
        self._folder = folder

    def size_bytes(self, name: str) -> int | None:
        """None where there is no such file."""
        with _storing(self._folder / name):
            try:
                return (self._folder / name).stat().st_size
            except FileNotFoundError:
                return None

    def read(self, name: str, start: int, size_bytes: int) -> bytes:
        """Fewer bytes only at the end of the file; none where there is no file."""
        with _storing(self._folder / name):
            try:
                with (self._folder / name).open("rb") as file:
                    file.seek(start)
                    return file.read(size_bytes)
            except FileNotFoundError:
                return b""

    def forget_cached(self, name: str) -> None:
        """The kernel drops its copy of the file's pages, where it may."""
        with _storing(self._folder / name), (self._folder / name).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def write(self, name: str, blocks: Iterable[bytes]) -> None:
        """A file of this content, in place of what was there."""
        with _storing(self._folder / name):
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / name).open("wb") as file:
                for block in blocks:
                    file.write(block)

    def sync(self, name: str) -> None:
        """The file's content is on the disk."""
        with _storing(self._folder / name), (self._folder / name).open("rb") as file:
            os.fsync(file.fileno())

    def rename(self, name: str, to: str) -> None:
        """``to`` is the file that ``name`` was, at one instant."""
        with _storing(self._folder / to):
            (self._folder / name).replace(self._folder / to)

    def remove(self, name: str) -> None:
        """There is no file ``name``."""
        with _storing(self._folder / name):
            (self._folder / name).unlink(missing_ok=True)

    def sync_folder(self) -> None:
        """The names are on the disk."""
        with _storing(self._folder):
            descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process is inside at the same time; waits for the one that is."""
        with _storing(self._folder / LOCK):
            descriptor = self._lock_file()
        try:
            with _storing(self._folder / LOCK):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _lock_file(self) -> int:
        """What is locked: the file made for it, on a disk that cannot be written as it is, or the folder."""
        path = self._folder / LOCK
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            place = path if path.is_file() else self._folder
            return os.open(place, os.O_RDONLY | os.O_CLOEXEC)

    def free_bytes(self) -> int:
        """What the disk still takes from this user."""
        with _storing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            found = os.statvfs(self._folder)
            return found.f_bavail * found.f_frsize


@contextmanager
def _storing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}; free or change the disk of updates.slots") from error
