"""A package told by what changed: new files out of files that are on board already.

    0   8  magic
    8   2  format, big-endian like all that follows
   10   2  files of the package, in its order
   12   4  head_bytes: length of the package's head (header, signatures, document)
   16   4  packed_bytes: length of the packed head
   20   8  total_bytes of the delta
   28   4  CRC-32 of everything else
   32  32  SHA-256 of the canonical model document that is the head's dictionary; 0 for none
   64      packed head
           table: per file kind (1), base SHA-256 (32), size (4), lengths of three streams (3 x 4)
           the streams, back to back

Kinds of file:

    WHOLE   one deflate stream
    SAME    the base, byte for byte
    SPARSE  the base with single bytes changed, as INT8 weights with frozen scales are: distances
            between changed bytes (a byte each, 255 goes on without a change; Huffman alone),
            signs (a bit each) and magnitudes less 1 of the changes (deflate)
    NEAR    one deflate stream whose dictionary is the end of the base

Rules:
1. A delta is believed in nothing: what it gives is a package, and that is verified as one, so
   whoever can make a delta can at most make a package that is refused.
2. No stream gives more bytes than the table says, and nothing is held but a few blocks.
3. A base is named by its SHA-256 and comes from whatever slot or folder has it.

Distances of changes at random places are geometric, for which a Huffman code is within 3 % of the
entropy (Gallager and Van Voorhis 1975): 2 % of 1.5 million weights cost 30 kB of the 30.3 kB that
positions and signs hold.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from payload.core.refusals import Refusal, refuse
from payload.core.signed import HEAD_MAX_BYTES, PACKAGE_MAGIC, read_header

DELTA_MAGIC = b"SKYDLT\r\n"
FORMAT = 1
HEADER = struct.Struct(">8sHHIIQI")
NAME_BYTES = 32
ENTRY = struct.Struct(">B32sIIII")
FILES_MAX = 64
DICTIONARY_BYTES = 32 << 10
"""What deflate can look back on."""

RAW_DEFLATE = -15
ESCAPE = 255
"""A distance byte that goes on without a change."""

_PIECE_BYTES = 16 << 10
_CHECKED_BYTES = HEADER.size - 4

ReadBytes = Callable[[int, int], bytes]
"""Bytes from a start on, fewer only at the end."""


@unique
class Kind(IntEnum):
    WHOLE = 0
    SAME = 1
    SPARSE = 2
    NEAR = 3


@dataclass(frozen=True, slots=True)
class BaseFile:
    """A file on board that a delta may build on."""

    size_bytes: int
    read: ReadBytes


class BaseFiles(Protocol):
    """Finds files on board by their SHA-256 (hexadecimal)."""

    def __call__(self, sha256: str) -> BaseFile | None: ...


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: Kind
    base: str
    size_bytes: int
    streams: tuple[tuple[int, int], ...]
    """Start and length of each."""


class DeltaSource:
    """A package that is made anew whenever it is read (`payload.install.PackageSource`)."""

    def __init__(self, read: ReadBytes, size_bytes: int, bases: BaseFiles, limit_bytes: int) -> None:
        """Look at header and table; ``read`` gives the delta's bytes.

        Raises:
            InstallError: damaged, too large, or a base is not on board.
        """
        self._read, self._bases = read, bases
        first = read(0, HEADER.size + NAME_BYTES)
        if len(first) < HEADER.size + NAME_BYTES:
            raise refuse(Refusal.WRONG_LENGTH, f"{size_bytes} bytes, shorter than a delta's header")
        magic, form, count, head_bytes, packed_bytes, total_bytes, crc = HEADER.unpack_from(first)
        if magic != DELTA_MAGIC or form != FORMAT:
            raise refuse(Refusal.NOT_A_PACKAGE, f"it begins with {magic!r}, format {form}")
        if total_bytes != size_bytes:
            raise refuse(Refusal.WRONG_LENGTH, f"{size_bytes} bytes, the delta says {total_bytes}")
        if _check_of(read, size_bytes) != crc:
            raise refuse(Refusal.DAMAGED, "the CRC-32 of the delta is wrong")
        if count > FILES_MAX or head_bytes > HEAD_MAX_BYTES or packed_bytes > size_bytes:
            raise refuse(Refusal.WRONG_DELTA, "the delta's header is impossible")
        rest = read(len(first), packed_bytes + count * ENTRY.size)
        if len(rest) != packed_bytes + count * ENTRY.size:
            raise refuse(Refusal.WRONG_DELTA, f"{count} files, and no table of so many")
        self._entries = _entries(rest[packed_bytes:], len(first) + len(rest), size_bytes)
        self._head = self._unpacked_head(first[HEADER.size :].hex(), rest[:packed_bytes], head_bytes)
        self.size_bytes = len(self._head) + sum(entry.size_bytes for entry in self._entries)
        if self.size_bytes > limit_bytes:
            raise refuse(
                Refusal.TOO_LARGE, f"it makes {self.size_bytes} bytes, at most {limit_bytes} are taken"
            )
        # A delta that promises more than its package says ends here, before a stream is opened.
        read_header(self._head, PACKAGE_MAGIC, self.size_bytes)
        for entry in self._entries:
            if entry.kind is not Kind.WHOLE:
                self._base(entry.base)

    def blocks(self) -> Iterator[bytes]:
        """The package, in pieces of at most 16 KiB.

        Raises:
            InstallError: the delta does not give what it says.
        """
        yield self._head
        for entry in self._entries:
            made = 0
            for block in self._file(entry):
                made += len(block)
                yield block
            if made != entry.size_bytes:
                raise refuse(Refusal.WRONG_DELTA, f"a file of {made} bytes instead of {entry.size_bytes}")

    def _file(self, entry: _Entry) -> Iterator[bytes]:
        if entry.kind is Kind.WHOLE:
            return self._inflated(entry, b"")
        base = self._base(entry.base)
        if entry.kind is Kind.NEAR:
            return self._inflated(entry, dictionary_of(base))
        if base.size_bytes != entry.size_bytes:
            raise refuse(Refusal.WRONG_DELTA, f"a base of {base.size_bytes} bytes for {entry.size_bytes}")
        if entry.kind is Kind.SAME:
            return _pieces(base)
        distances, signs, magnitudes = entry.streams
        return _sparse(
            base,
            _Inflating(self._read, *distances),
            _Bits(self._read, *signs),
            _Inflating(self._read, *magnitudes),
        )

    def _inflated(self, entry: _Entry, dictionary: bytes) -> Iterator[bytes]:
        stream, left = _Inflating(self._read, *entry.streams[0], dictionary), entry.size_bytes
        while left and (block := stream.take(min(left, _PIECE_BYTES))):
            left -= len(block)
            yield block

    def _base(self, sha256: str) -> BaseFile:
        base = self._bases(sha256)
        if base is None:
            raise refuse(Refusal.BASE_MISSING, f"it builds on {sha256[:12]}, which is not on board")
        return base

    def _unpacked_head(self, name: str, packed: bytes, head_bytes: int) -> bytes:
        dictionary = dictionary_of(self._base(name)) if int(name, 16) else b""
        stream = _Inflating(lambda start, size: packed[start : start + size], 0, len(packed), dictionary)
        head = stream.take(head_bytes)
        if len(head) != head_bytes:
            raise refuse(Refusal.WRONG_DELTA, f"a head of {len(head)} bytes instead of {head_bytes}")
        return head


def _check_of(read: ReadBytes, size_bytes: int) -> int:
    check = zlib.crc32(read(0, _CHECKED_BYTES))
    for start in range(HEADER.size, size_bytes, _PIECE_BYTES):
        check = zlib.crc32(read(start, min(_PIECE_BYTES, size_bytes - start)), check)
    return check


def dictionary_of(base: BaseFile) -> bytes:
    """The end of a base, as much as deflate can look back on."""
    start = max(0, base.size_bytes - DICTIONARY_BYTES)
    return base.read(start, base.size_bytes - start)


def _entries(table: bytes, start: int, size_bytes: int) -> tuple[_Entry, ...]:
    entries = []
    for number, base, file_bytes, *lengths in ENTRY.iter_unpack(table):
        if number not in set(Kind):
            raise refuse(Refusal.WRONG_DELTA, f"a file of kind {number}")
        streams = []
        for length in lengths:
            streams.append((start, length))
            start += length
        entries.append(_Entry(Kind(number), base.hex(), file_bytes, tuple(streams)))
    if start != size_bytes:
        raise refuse(Refusal.WRONG_LENGTH, f"its streams end at {start}, it has {size_bytes} bytes")
    return tuple(entries)


def _pieces(base: BaseFile) -> Iterator[bytes]:
    for start in range(0, base.size_bytes, _PIECE_BYTES):
        yield base.read(start, min(_PIECE_BYTES, base.size_bytes - start))


def _sparse(base: BaseFile, distances: _Inflating, signs: _Bits, magnitudes: _Inflating) -> Iterator[bytes]:
    """The base with its changes, block by block."""
    last, done = -1, False
    places: NDArray[np.int64] = np.empty(0, np.int64)
    changes: NDArray[np.uint8] = np.empty(0, np.uint8)
    for start in range(0, base.size_bytes, _PIECE_BYTES):
        block = np.frombuffer(base.read(start, _PIECE_BYTES), np.uint8).copy()
        while not done and last < start + block.size:
            steps = np.frombuffer(distances.take(_PIECE_BYTES), np.uint8)
            done = steps.size == 0
            ends = last + np.cumsum(steps.astype(np.int64) + (steps != ESCAPE))
            found = ends[steps != ESCAPE]
            last = int(ends[-1]) if ends.size else last
            places = np.concatenate([places, found])
            changes = np.concatenate([changes, _changes(found.size, signs, magnitudes)])
        here = int(np.searchsorted(places, start + block.size))
        block[places[:here] - start] += changes[:here]
        places, changes = places[here:], changes[here:]
        yield block.tobytes()
    if places.size or last >= base.size_bytes or distances.take(1):
        raise refuse(Refusal.WRONG_DELTA, "changes behind the end of a file")


def _changes(count: int, signs: _Bits, magnitudes: _Inflating) -> NDArray[np.uint8]:
    """What to add to the bytes, modulo 256."""
    sizes = np.frombuffer(magnitudes.take(count), np.uint8)
    if sizes.size != count:
        raise refuse(Refusal.WRONG_DELTA, "fewer changes than places")
    up = sizes + np.uint8(1)
    found: NDArray[np.uint8] = np.where(signs.take(count), np.uint8(0) - up, up).astype(np.uint8)
    return found


class _Inflating:
    """A deflate stream inside the delta, a few bytes at a time."""

    def __init__(self, read: ReadBytes, start: int, size_bytes: int, dictionary: bytes = b"") -> None:
        self._read, self._next, self._end = read, start, start + size_bytes
        self._inflate = (
            zlib.decompressobj(RAW_DEFLATE, zdict=dictionary)
            if dictionary
            else zlib.decompressobj(RAW_DEFLATE)
        )
        self._packed = b""

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer only at the stream's end."""
        parts, left = [], count
        while left and not self._inflate.eof:
            if not self._packed:
                self._packed = self._read(self._next, min(_PIECE_BYTES, self._end - self._next))
                self._next += len(self._packed)
            at_end = not self._packed
            try:
                part = self._inflate.decompress(self._packed, left)
            except zlib.error as error:
                raise refuse(Refusal.WRONG_DELTA, f"a stream is damaged: {error}") from error
            self._packed = self._inflate.unconsumed_tail
            parts.append(part)
            left -= len(part)
            if at_end and not part:
                break
        return b"".join(parts)


class _Bits:
    """Packed bits inside the delta, most significant first."""

    def __init__(self, read: ReadBytes, start: int, size_bytes: int) -> None:
        self._read, self._next, self._end = read, start, start + size_bytes
        self._bits: NDArray[np.uint8] = np.empty(0, np.uint8)

    def take(self, count: int) -> NDArray[np.bool_]:
        """The next ``count`` bits.

        Raises:
            InstallError: there are fewer.
        """
        while self._bits.size < count:
            packed = self._read(self._next, min(_PIECE_BYTES, self._end - self._next))
            if not packed:
                raise refuse(Refusal.WRONG_DELTA, "fewer signs than places")
            self._next += len(packed)
            self._bits = np.concatenate([self._bits, np.unpackbits(np.frombuffer(packed, np.uint8))])
        found, self._bits = self._bits[:count], self._bits[count:]
        return found.astype(np.bool_)
