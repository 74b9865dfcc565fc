"""Where strips appear: a folder that somebody fills, or a FIFO that is told their paths.

However much lies in the folder, one look at it is short: what it comes to is told when all has been seen.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePath

from payload.errors import StoreError
from payload.ports import Candidate, Inbox

_LINE_MAX_BYTES = 4096
_CHUNK_BYTES = 65536
FILES_AT_ONCE = 2000
"""So many are looked at in one call: some ten milliseconds."""
FOLDER_FILES_MAX = 2000
"""In and below one folder; the largest strip that is a folder has some two hundred."""
_STRIP_SUFFIXES = {".yaml", ".yml", ".tif", ".tiff", ".xml"}


@dataclass(slots=True)
class _Stamp:
    """What all files of a strip are together; changes as long as one of them is being written."""

    count: int = 0
    size_bytes: int = 0
    newest_ns: int = 0

    def add(self, found: os.stat_result) -> None:
        """One more file."""
        self.count += 1
        self.size_bytes += found.st_size
        self.newest_ns = max(self.newest_ns, found.st_mtime_ns)

    def text(self) -> str:
        return f"{self.count}:{self.size_bytes}:{self.newest_ns}"


class FolderInbox(Inbox):
    """Strips are the header files, GeoTIFFs and folders that lie in ``folder`` itself.

    A raw header's stream counts as part of it: the stamp is of everything with the same stem. Each
    may be a link to elsewhere; below a folder no link to a folder is followed.
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
        self._look = self._looked()

    def listing(self) -> list[Candidate] | None:
        """What is there, the oldest first; what vanishes while we look is left out.

        None if the folder itself cannot be read now, or the look has not come to its end: the next
        call goes on with it. Every file is looked at once.
        """
        try:
            for _ in range(FILES_AT_ONCE):
                next(self._look)
        except StopIteration as end:
            self._look = self._looked()
            found: list[Candidate] | None = end.value
            return found
        return None

    def _looked(self) -> Generator[None, None, list[Candidate] | None]:
        """One look at everything, with a pause behind each file."""
        try:
            with os.scandir(self._folder) as entries:
                there = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:
            return None
        stamps: dict[str, _Stamp] = {}
        strips: list[tuple[int, os.DirEntry[str], _Stamp | None]] = []
        for entry in there:
            yield
            with suppress(OSError):
                name = PurePath(entry.name)
                if entry.is_dir():
                    folder_stamp = yield from _stamp_of_folder(entry.path)
                    strips.append((entry.stat().st_mtime_ns, entry, folder_stamp))
                elif entry.is_file():
                    stamp = stamps.setdefault(name.stem, _Stamp())
                    stamp.add(entry.stat())
                    if name.suffix.lower() in _STRIP_SUFFIXES:
                        strips.append((entry.stat().st_mtime_ns, entry, stamp))
        strips.sort(key=lambda strip: (strip[0], strip[1].path))
        return [_of_entry(entry, stamp) for _, entry, stamp in strips]

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
        self._rest = rest[: _LINE_MAX_BYTES + 1]  # one too many: its end is refused, not taken for a line
        return [_of_line(line) for line in lines if line.strip()]

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


def _of_entry(entry: os.DirEntry[str], stamp: _Stamp | None) -> Candidate:
    """A strip of the folder; one whose name is no text can neither be remembered nor told.

    ``stamp`` is None for a folder of more than FOLDER_FILES_MAX files.
    """
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        return Candidate(_shown(os.fsencode(entry.path)), "", "the name is not UTF-8")
    if stamp is None:
        return Candidate(entry.path, "", f"a folder of more than {FOLDER_FILES_MAX} files is no strip")
    return Candidate(entry.path, stamp.text())


def _of_line(line: bytes) -> Candidate:
    """What a line of the FIFO names; what can be no path is refused by name."""
    if len(line) > _LINE_MAX_BYTES:
        return Candidate(_shown(line), "", f"longer than {_LINE_MAX_BYTES} bytes")
    if b"\0" in line:
        return Candidate(_shown(line), "", "a zero byte is in no path")
    try:
        return Candidate(line.decode().strip(), "")
    except UnicodeDecodeError:
        return Candidate(_shown(line), "", "not UTF-8")


def _shown(name: bytes) -> str:
    """For a person: what is no text as its bytes are written."""
    return name.decode("utf-8", "backslashreplace").replace("\0", "\\0").strip()


def _stamp_of_folder(path: str) -> Generator[None, None, _Stamp | None]:
    """Of all files in and below the folder at ``path``, with a pause behind each; None for too many."""
    stamp, unread, seen = _Stamp(), [path], 0
    while unread:
        with os.scandir(unread.pop()) as entries:
            there = list(islice(entries, FOLDER_FILES_MAX + 1 - seen))
        for entry in there:
            yield
            seen += 1
            with suppress(OSError):  # gone meanwhile, or a link to itself
                if entry.is_dir(follow_symlinks=False):
                    unread.append(entry.path)
                elif entry.is_file():
                    stamp.add(entry.stat())
        if seen > FOLDER_FILES_MAX:
            return None
    return stamp
