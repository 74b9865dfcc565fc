"""An update in chunks, for links and passes that break off.

    0   8  magic
    8   8  transfer: the first 8 bytes of the SHA-256 of the whole file
   16   4  total_bytes of the file, big-endian like all numbers
   20   4  start of this chunk in the file
   24   2  its length
   26   4  CRC-32 of everything else
   30      content

The ground asks with a chunk of no content; the answer has the same header, another magic, and
what is missing: pairs of start and end, 4 bytes each, at most MISSING_MAX of them, lowest first.

Rules:
1. A chunk counts when its CRC-32 is right and it agrees with the others on the file's size.
2. A chunk that is there already is taken again without harm, whatever order they come in.
3. The file counts when all of it is there and its SHA-256 begins with the transfer's name; its
   signatures are another question.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from payload.core.refusals import Refusal, refuse

MAGIC = b"SKYCHNK\n"
ANSWER_MAGIC = b"SKYMISS\n"
CHUNK_BYTES = 1024
MISSING_MAX = 58
"""As many ranges as a CFDP NAK of cFS holds: an answer fits every packet size in use."""

_HEADER = struct.Struct(">8s8sIIHI")
_RANGE = struct.Struct(">II")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some bytes of a file; none of them is a question."""

    transfer: bytes
    total_bytes: int
    start: int
    content: bytes

    @property
    def end(self) -> int:
        """Behind its last byte."""
        return self.start + len(self.content)


def transfer_of(content: bytes) -> bytes:
    """The name of the transfer of a whole file."""
    return hashlib.sha256(content).digest()[:8]


def pack_chunk(chunk: Chunk, magic: bytes = MAGIC) -> bytes:
    """The chunk as it goes over the link."""
    first = _HEADER.pack(magic, chunk.transfer, chunk.total_bytes, chunk.start, len(chunk.content), 0)[:-4]
    return first + struct.pack(">I", zlib.crc32(chunk.content, zlib.crc32(first))) + chunk.content


def unpack_chunk(packed: bytes, limit_bytes: int, magic: bytes = MAGIC) -> Chunk:
    """What `pack_chunk` made.

    Raises:
        InstallError: damaged, or of a file that is too large.
    """
    if len(packed) < HEADER_BYTES:
        raise refuse(Refusal.CHUNK_DAMAGED, f"a chunk of {len(packed)} bytes")
    found, transfer, total_bytes, start, length, crc = _HEADER.unpack_from(packed)
    content = packed[HEADER_BYTES:]
    is_whole = zlib.crc32(content, zlib.crc32(packed[: HEADER_BYTES - 4])) == crc
    if found != magic or not is_whole or len(content) != length:
        raise refuse(Refusal.CHUNK_DAMAGED, "a chunk's CRC-32 or layout is wrong")
    if total_bytes > limit_bytes:
        raise refuse(Refusal.TOO_LARGE, f"a file of {total_bytes} bytes, at most {limit_bytes} are taken")
    if magic == MAGIC and start + length > total_bytes:
        raise refuse(Refusal.CHUNK_FOREIGN, "a chunk reaches past its file")
    return Chunk(transfer, total_bytes, start, content)


def chunks_of(content: bytes, missing: Sequence[tuple[int, int]] | None = None) -> Iterator[Chunk]:
    """The chunks of a file, or those of its ``missing`` ranges."""
    transfer, total_bytes = transfer_of(content), len(content)
    for low, high in missing if missing is not None else [(0, total_bytes)]:
        for start in range(low, high, CHUNK_BYTES):
            yield Chunk(transfer, total_bytes, start, content[start : min(start + CHUNK_BYTES, high)])


def pack_answer(question: Chunk, missing: Sequence[tuple[int, int]]) -> bytes:
    """What is missing, lowest first; nothing is missing in an empty answer."""
    ranges = b"".join(_RANGE.pack(*extent) for extent in missing[:MISSING_MAX])
    return pack_chunk(Chunk(question.transfer, question.total_bytes, 0, ranges), ANSWER_MAGIC)


def unpack_answer(packed: bytes, limit_bytes: int) -> list[tuple[int, int]]:
    """The ranges of an answer.

    Raises:
        InstallError: damaged.
    """
    return list(_RANGE.iter_unpack(unpack_chunk(packed, limit_bytes, ANSWER_MAGIC).content))
