"""What a Myriad blob says of itself, and the budget that it must keep.

The header follows the compiled file's first line and 52 bytes of ELF; 32-bit little-endian
words, as the 2021.4 compiler writes them (blob version 6.0).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = 9709
VERSION = (6, 0)
_ELF_BYTES = 52
_WORDS = struct.Struct("<16I")

STAGES_MAX = 200
SCRATCH_MAX_BYTES = 128 << 20
"""Device DDR is 512 MiB (it reports 507,510,776 B); a quarter is plenty for one network."""
IO_MAX_BYTES = 32 << 20
SHAVES_MAX = 16


class BlobError(Exception):
    """Not a blob of the known version, or one beyond the budget."""


@dataclass(frozen=True, slots=True)
class BlobHeader:
    """Stages, bytes of DDR scratch and of inputs and outputs, and what a stream takes of the chip."""

    file_bytes: int
    stages: int
    input_bytes: int
    output_bytes: int
    scratch_bytes: int
    cmx_slices: int
    shaves: int

    @property
    def line(self) -> str:
        """All of it, for a person."""
        return (
            f"{self.stages} stages, scratch {self.scratch_bytes / 2**20:.1f} MiB, in "
            f"{self.input_bytes / 2**20:.1f} MiB, out {self.output_bytes / 2**20:.1f} MiB, "
            f"{self.cmx_slices} CMX slices, {self.shaves} SHAVEs, file {self.file_bytes / 2**10:.0f} KiB"
        )


def read_header(blob: bytes) -> BlobHeader:
    """The header of ``blob``, which begins with its ELF mark.

    Raises:
        BlobError: it is none, or cut short.
    """
    if len(blob) < _ELF_BYTES + _WORDS.size or blob[1:4].lower() != b"elf":
        raise BlobError("not a Myriad blob")
    words = _WORDS.unpack_from(blob, _ELF_BYTES)
    if words[0] != MAGIC or words[2:4] != VERSION or words[1] != len(blob):
        raise BlobError(f"not a blob of version 6.0, or cut short: {words[:4]}, {len(blob)} bytes")
    return BlobHeader(words[1], words[6], words[7], words[8], words[10], words[11], words[12])


def strip_first_line(cached: bytes) -> bytes:
    """The blob in a file of the runtime's cache, which has one line of XML before it."""
    return cached[cached.index(b"\n") + 1 :]


def check_budget(header: BlobHeader) -> None:
    """Returns if the device can hold the network beside others.

    Raises:
        BlobError: one figure is above its limit.
    """
    for what, found, most in (
        ("stages", header.stages, STAGES_MAX),
        ("bytes of DDR scratch", header.scratch_bytes, SCRATCH_MAX_BYTES),
        ("bytes of input and output", header.input_bytes + header.output_bytes, IO_MAX_BYTES),
        ("SHAVEs", header.shaves, SHAVES_MAX),
    ):
        if found > most:
            raise BlobError(f"{found} {what}; at most {most}")
