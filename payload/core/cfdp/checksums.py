"""File checksums, CCSDS 727.0-B-5, 4.2.2 and the SANA registry: fed chunk by chunk."""

from __future__ import annotations

import zlib

import numpy as np

from payload.core.cfdp.pdus import PduError

MODULAR, CRC_32, NULL = 0, 3, 15


class FileChecksum:
    """The checksum of a file that is read in order."""

    def __init__(self, kind: int) -> None:
        """Of the type ``kind`` in the registry.

        Raises:
            PduError: not one of modular (0), CRC-32 of IEEE 802.3 (3) and null (15).
        """
        if kind not in (MODULAR, CRC_32, NULL):
            raise PduError(f"checksum type {kind} is not supported")
        self._kind = kind
        self._value = 0
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the file."""
        if self._kind == CRC_32:
            self._value = zlib.crc32(chunk, self._value)
        elif self._kind == MODULAR:
            chunk = self._rest + chunk
            whole = len(chunk) // 4 * 4
            self._rest = chunk[whole:]
            self._add(chunk[:whole])

    def value(self) -> int:
        """32 bits, of all that was fed."""
        if self._kind == MODULAR and self._rest:
            self._add(self._rest.ljust(4, b"\0"))
            self._rest = b""
        return self._value

    def _add(self, words: bytes) -> None:
        self._value = (self._value + int(np.frombuffer(words, ">u4").sum(dtype=np.uint64))) & 0xFFFFFFFF


def crc_32(content: bytes) -> int:
    """CRC-32 of a whole file, as our own EOF PDUs carry it."""
    return zlib.crc32(content)
