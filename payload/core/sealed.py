"""A product's last four bytes: the CRC-32 of all before them, big-endian.

Apart from the codecs, for those who only pass products on.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

_SEAL = struct.Struct(">I")
SEAL_BYTES = _SEAL.size


def sealed(parts: Sequence[bytes]) -> bytes:
    """``parts`` in a row, and their seal."""
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return b"".join([*parts, _SEAL.pack(crc)])


def seals_of(body: bytes) -> tuple[int, int]:
    """The CRC-32 that ``body`` has and the one that it ends in."""
    return zlib.crc32(memoryview(body)[:-SEAL_BYTES]), _SEAL.unpack_from(body, len(body) - SEAL_BYTES)[0]


def is_sealed(body: bytes) -> bool:
    """Whether ``body`` is what was sealed."""
    if len(body) < SEAL_BYTES:
        return False
    found, sealed_as = seals_of(body)
    return found == sealed_as
