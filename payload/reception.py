"""Chunks of updates, from a dropped folder or a link, into whole files."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from payload.core.cfdp.extents import ExtentSet
from payload.core.chunks import Chunk, pack_answer, unpack_chunk
from payload.core.refusals import Refusal, refuse
from payload.core.telemetry import Telemetry
from payload.drivers.chunk_folder import ChunkFile
from payload.errors import InstallError, StoreError

TRANSFERS_MAX = 2
"""Files on their way at once: the disk plan counts each with updates.package_max_bytes."""

SYNC_CHUNKS = 16
"""So many chunks are put before they are synced: what a reset may cost."""

DATAGRAM_BYTES = 65536


class Reception:
    """All transfers of a folder."""

    def __init__(self, folder: Path, limit_bytes: int, telemetry: Telemetry) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._telemetry = telemetry
        self._files: dict[bytes, tuple[ChunkFile, ExtentSet, int]] = {}
        self._since_sync = 0

    def take(self, packed: bytes) -> Path | None:
        """The chunk is there; the path of the file if it was the last one.

        Raises:
            InstallError: the chunk is refused; what is there stays.
            StoreError: the disk refuses.
        """
        chunk = unpack_chunk(packed, self._limit_bytes)
        if self.path_of(chunk).exists():
            return self.path_of(chunk)
        file, extents = self._opened(chunk)
        if chunk.content and extents.add(chunk.start, chunk.end):
            file.put(chunk.start, chunk.content)
            self._since_sync += 1
        if extents.size_bytes < chunk.total_bytes:
            if self._since_sync >= SYNC_CHUNKS:
                self.sync()
            return None
        file.sync()
        del self._files[chunk.transfer]
        path = file.finish(lambda digest: digest.startswith(chunk.transfer))
        if path is None:
            raise refuse(Refusal.WRONG_HASH, "the chunks do not make the file that they name; send it again")
        self._telemetry.event("update_received", path=str(path), size_bytes=chunk.total_bytes)
        return path

    def missing(self, chunk: Chunk) -> list[tuple[int, int]]:
        """What of the chunk's file is not on the disk yet; nothing if it is whole."""
        if self.path_of(chunk).exists():
            return []
        self.sync()
        return list(self._opened(chunk)[1].gaps(0, chunk.total_bytes))

    def path_of(self, chunk: Chunk) -> Path:
        """Where the whole file will be."""
        return self._folder / f"{chunk.transfer.hex()}.update"

    def sync(self) -> None:
        """All chunks taken so far are on the disk."""
        for file, _, _ in self._files.values():
            file.sync()
        self._since_sync = 0

    def close(self) -> None:
        """What was taken is on the disk."""
        self.sync()
        for file, _, _ in self._files.values():
            file.close()
        self._files.clear()

    def _opened(self, chunk: Chunk) -> tuple[ChunkFile, ExtentSet]:
        if chunk.transfer not in self._files:
            on_disk = {path.stem for path in self._folder.glob("*.part")} | {t.hex() for t in self._files}
            if len(on_disk - {chunk.transfer.hex()}) >= TRANSFERS_MAX:
                raise refuse(
                    Refusal.NO_ROOM,
                    f"{TRANSFERS_MAX} other files are on their way; remove one in {self._folder}",
                )
            file = ChunkFile(self._folder, chunk.transfer.hex(), chunk.total_bytes)
            self._files[chunk.transfer] = (file, ExtentSet(file.extents()), chunk.total_bytes)
        file, extents, total_bytes = self._files[chunk.transfer]
        if total_bytes != chunk.total_bytes:
            raise refuse(
                Refusal.CHUNK_FOREIGN, f"a file of {chunk.total_bytes} bytes, it had {total_bytes} before"
            )
        return file, extents


def receive_folder(reception: Reception, drop: Path, telemetry: Telemetry) -> list[Path]:
    """Chunk files of a folder are taken and removed; the files that became whole.

    Raises:
        StoreError: the disk refuses.
    """
    found: list[Path] = []
    for path in sorted(drop.glob("*.skc")):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
        found += _taken(reception, content, telemetry)
        reception.sync()  # a chunk file goes only when its bytes are on the disk
        path.unlink(missing_ok=True)
    return list(dict.fromkeys(found))


def receive_link(
    reception: Reception, address: tuple[str, int], silence_s: float, telemetry: Telemetry
) -> list[Path]:
    """Chunks that come as datagrams, until there was none for ``silence_s``; questions are answered.

    Raises:
        StoreError: the disk refuses.
    """
    found: list[Path] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        try:
            link.bind(address)
        except OSError as error:
            raise StoreError(f"{address[0]}:{address[1]}: cannot listen: {error.strerror}") from error
        until_s = time.monotonic() + silence_s
        while (left_s := until_s - time.monotonic()) > 0:
            if not select.select([link], [], [], left_s)[0]:
                break
            packed, sender = link.recvfrom(DATAGRAM_BYTES)
            until_s = time.monotonic() + silence_s
            found += _taken(reception, packed, telemetry)
            if (answer := _answer(reception, packed)) is not None:
                link.sendto(answer, sender)
    reception.close()
    return list(dict.fromkeys(found))


def _taken(reception: Reception, packed: bytes, telemetry: Telemetry) -> Iterator[Path]:
    try:
        path = reception.take(packed)
    except InstallError as error:
        telemetry.event("chunk_refused", code=error.code, reason=str(error))
        return
    if path is not None:
        yield path


def _answer(reception: Reception, packed: bytes) -> bytes | None:
    try:
        chunk = unpack_chunk(packed, 1 << 32)
        return None if chunk.content else pack_answer(chunk, reception.missing(chunk))
    except InstallError:
        return None
