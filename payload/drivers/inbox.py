"""Where strips appear: a folder that somebody fills, or a FIFO that is told their paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from payload.errors import StoreError
from payload.ports import Candidate, Inbox

_LINE_MAX_BYTES = 4096
_CHUNK_BYTES = 65536
_STRIP_SUFFIXES = {".yaml", ".yml", ".tif", ".tiff", ".xml"}


class FolderInbox(Inbox):
    """Strips are the header files, GeoTIFFs and folders that lie in ``folder`` itself.

    A raw header's stream counts as part of it: the stamp is of everything with the same stem.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder if it is not there.

        Raises:
            StoreError: it cannot be made.
        """
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{folder}: cannot make the inbox: {error.strerror}") from error

    def listing(self) -> list[Candidate]:
        """What is there, the oldest first; what vanishes while we look is left out."""
        found = []
        with suppress(OSError):  # the folder itself may vanish, too
            for path in self._folder.iterdir():
                is_strip = path.is_dir() or path.suffix.lower() in _STRIP_SUFFIXES
                if is_strip and not path.name.startswith("."):
                    with suppress(OSError):
                        found.append((path.stat().st_mtime_ns, str(path), _stamp_of(path)))
        return [Candidate(path, stamp) for _, path, stamp in sorted(found)]

    def close(self) -> None:
        """Nothing is open."""


class FifoInbox(Inbox):
    """Each line that is written to the FIFO is the path of a strip that is all there.

    The kernel forgets what nobody has read when both ends are closed, and a line that was read is
    the reader's: until `strip_queued` is told, a `kill -9` may cost it. A folder loses nothing.
    """

    def __init__(self, path: Path) -> None:
        """Opens the FIFO, for writing too: so it never ends when a writer goes.

        Raises:
            StoreError: it cannot be opened.
        """
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            raise StoreError(f"{path}: cannot read the inbox: {error.strerror}") from error
        self._rest = b""

    def listing(self) -> list[Candidate]:
        """The lines since the last call."""
        with suppress(BlockingIOError):
            self._rest += os.read(self._descriptor, _CHUNK_BYTES)
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest if len(rest) <= _LINE_MAX_BYTES else b""
        texts = [line.decode("utf-8", "replace").strip() for line in lines]
        return [Candidate(text, "") for text in texts if text]

    def close(self) -> None:
        """The FIFO is closed."""
        os.close(self._descriptor)


def open_inbox(path: Path) -> Inbox:
    """The inbox at ``path``: a FIFO if there is one, else a folder.

    Raises:
        StoreError: neither can be had.
    """
    with suppress(OSError):
        if stat.S_ISFIFO(path.stat().st_mode):
            return FifoInbox(path)
    return FolderInbox(path)


def _stamp_of(path: Path) -> str:
    """Changes as long as anything of the strip is being written."""
    count, size_bytes, newest_ns = 0, 0, 0
    for part in _parts_of(path):
        found = part.stat()
        count += 1
        size_bytes += found.st_size
        newest_ns = max(newest_ns, found.st_mtime_ns)
    return f"{count}:{size_bytes}:{newest_ns}"


def _parts_of(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (part for part in path.rglob("*") if part.is_file())
    else:
        yield from (part for part in path.parent.iterdir() if part.is_file() and part.stem == path.stem)
