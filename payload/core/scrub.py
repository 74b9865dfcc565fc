"""Block checks over weights: what is damaged, and its repair from a second copy.

A sealed file is its content, one CRC-32 for each block of 4096 bytes, and a footer:

    content | CRC-32 of block 0, 1, ... (big-endian) | magic (8) | content_bytes (8) | CRC-32 (4)

whose CRC is over the table and the footer's first 16 bytes.

Rules:
1. A block is whole when its CRC-32 is the table's; a table is whole when the footer's is.
2. A damaged block is taken from the other copy where that is whole by either table. One
   damaged in both cannot be repaired, and that is said.
3. CRC-32 (IEEE 802.3) sees every burst of up to 32 bits and every 1 to 3 flipped bits of a block
   (Koopman 2002: Hamming distance 4 up to 91,607 bits); anything else slips through with 2^-32.
   Where a file is loaded its SHA-256 is checked as well.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

from payload.errors import TrustError

BLOCK_BYTES = 4096
MAGIC = b"SKYSEAL\n"

_FOOTER = struct.Struct(">8sQI")
_CHECK = struct.Struct(">I")


def block_checks(blocks: Iterable[bytes]) -> list[int]:
    """The CRC-32 of each block of 4096 bytes of what ``blocks`` hold, whatever their own sizes."""
    return [zlib.crc32(block) for block in reblocked(blocks)]


def reblocked(blocks: Iterable[bytes], size_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The same bytes in blocks of ``size_bytes``, the last one shorter."""
    rest = bytearray()
    for block in blocks:
        rest += block
        whole = len(rest) - len(rest) % size_bytes
        for start in range(0, whole, size_bytes):
            yield bytes(rest[start : start + size_bytes])
        del rest[:whole]
    if rest:
        yield bytes(rest)


def sealed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The sealed file of what ``blocks`` hold, in blocks."""
    checks, content_bytes = [], 0
    for block in reblocked(blocks):
        checks.append(zlib.crc32(block))
        content_bytes += len(block)
        yield block
    yield seal(checks, content_bytes)


def seal(checks: Iterable[int], content_bytes: int) -> bytes:
    """Table and footer of a sealed file."""
    table = b"".join(map(_CHECK.pack, checks))
    first = table + MAGIC + struct.pack(">Q", content_bytes)
    return first + _CHECK.pack(zlib.crc32(first))


def seal_bytes(content_bytes: int) -> int:
    """How long table and footer are."""
    return _FOOTER.size + _CHECK.size * -(-content_bytes // BLOCK_BYTES)


def read_seal(end: bytes, content_bytes: int) -> list[int] | None:
    """The table in the last `seal_bytes` of a sealed file; None where it is damaged."""
    if len(end) != seal_bytes(content_bytes):
        return None
    magic, size_bytes, check = _FOOTER.unpack_from(end, len(end) - _FOOTER.size)
    if magic != MAGIC or size_bytes != content_bytes or zlib.crc32(end[:-4]) != check:
        return None
    return [check for (check,) in _CHECK.iter_unpack(end[: -_FOOTER.size])]


def mended(
    first: Iterable[bytes], second: Iterable[bytes], checks: list[int]
) -> Iterator[tuple[bytes, bool]]:
    """Every block of the content, from ``first`` or else ``second``, and whether first was whole.

    Args:
        first, second: the blocks of two copies, 4096 bytes each, the last one shorter.

    Raises:
        TrustError: a block is damaged in both.
    """
    ours, theirs = iter(first), iter(second)
    for number, check in enumerate(checks):
        block, other = next(ours, b""), next(theirs, b"")
        if zlib.crc32(block) == check:
            yield block, True
        elif zlib.crc32(other) == check:
            yield other, False
        else:
            raise TrustError(f"block {number} of {len(checks)} is damaged in both copies")
