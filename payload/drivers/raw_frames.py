"""The raw line stream: its frames, and a reader that survives what happens to them.

A frame is six rows of the 10 m grid and what lies under them on the other grids; all numbers
are little-endian::

    offset  size  field
    0       4     sync word 1A CF FC 1D, in this order (the marker of CCSDS 131.0-B)
    4       4     counter: number of the frame in the strip, from 0
    8       4     CRC-32 (zlib's) of counter, length and payload, or 0 if the header says none
    12      4     length of the payload in bytes
    16      ..    6 rows x 4 bands x C      of the 10 m grid   uint16, (row, band, col)
            ..    3 rows x 6 bands x C / 2  of the 20 m grid   (sizes rounded up)
            ..    1 row  x 3 bands x C / 6  of the 60 m grid

The last frame of a strip is filled up with zeros.

Rules:
    a frame that does not match its CRC is never delivered, and costs no frame but itself
    after lost bytes the stream goes on at the next sync word with a sound header
    a frame that came before, or too late, is dropped
    no more than a strip's length of useless bytes is passed over
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Mapping

import numpy as np

from payload.drivers.strip_header import FrameCheck
from payload.errors import StripError
from payload.types import BANDS_OF_GRID, U16, Grid

SYNC = bytes.fromhex("1ACFFC1D")
HEADER = struct.Struct("<4sIII")
FRAME_ROWS = 6

_CHECKED = struct.Struct("<II")
_SAMPLE = np.dtype("<u2")


class FrameLayout:
    """Where the samples lie in the frames of a strip that is ``columns`` wide."""

    def __init__(self, columns: int) -> None:
        self._shapes = {
            grid: (FRAME_ROWS // grid, len(bands), -(-columns // grid))
            for grid, bands in BANDS_OF_GRID.items()
        }
        self.payload_bytes = sum(
            rows * bands * cols * _SAMPLE.itemsize for rows, bands, cols in self._shapes.values()
        )
        self.frame_bytes = HEADER.size + self.payload_bytes

    def views(self, frame: bytearray) -> dict[Grid, U16]:
        """The samples of ``frame`` where they are: per grid, (row, band, col)."""
        views: dict[Grid, U16] = {}
        offset = HEADER.size
        for grid, shape in self._shapes.items():
            views[grid] = np.ndarray(shape, _SAMPLE, frame, offset)
            offset += views[grid].nbytes
        return views

    def pack(self, counter: int, dn: Mapping[Grid, U16], check: FrameCheck) -> bytearray:
        """Frame ``counter`` with ``dn``, per grid (band, row, col) of at most six 10 m rows."""
        frame = bytearray(self.frame_bytes)
        for grid, view in self.views(frame).items():
            view[: dn[grid].shape[1]] = dn[grid].transpose(1, 0, 2)
        crc = frame_crc(counter, memoryview(frame)) if check is FrameCheck.CRC32 else 0
        HEADER.pack_into(frame, 0, SYNC, counter, crc, self.payload_bytes)
        return frame


def frame_crc(counter: int, frame: memoryview) -> int:
    """CRC-32 of a frame: its counter and length, then its payload."""
    payload = frame[HEADER.size :]
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(counter, len(payload))))


class FrameReader:
    """Sound frames of a stream, in order."""

    def __init__(self, stream: io.FileIO, layout: FrameLayout, frames: int, check: FrameCheck) -> None:
        """Reads a strip of ``frames`` frames from ``stream``."""
        self.faults: list[str] = []
        """What happened to the stream since somebody last cleared this list."""
        self._stream = stream
        self._layout = layout
        self._frames = frames
        self._check = check
        self._frame = bytearray(layout.frame_bytes)
        self._view = memoryview(self._frame)
        self._samples = layout.views(self._frame)
        self._filled_bytes = 0
        self._searched_bytes = 0
        self._useless_bytes = 0
        status = os.fstat(stream.fileno())
        self._file_bytes = status.st_size if stat.S_ISREG(status.st_mode) else None

    @property
    def samples(self) -> Mapping[Grid, U16]:
        """Of the frame found by `advance`: per grid (row, band, col), until `release`."""
        return self._samples

    def advance(self, expected: int) -> int | None:
        """The number, ``expected`` or higher, of the next sound frame, or None at the end.

        Raises:
            StripError: the stream cannot be read.
        """
        while self._useless_bytes <= self._frames * self._layout.frame_bytes and self._fill(len(self._frame)):
            sync, counter, crc, length = HEADER.unpack_from(self._frame)
            if sync != SYNC or length != self._layout.payload_bytes or counter >= self._frames:
                self._search(1)
                continue
            self._report_search()
            if self._check is FrameCheck.CRC32 and crc != frame_crc(counter, self._view):
                self.faults.append(f"a frame that says it is number {counter} does not match its CRC-32")
                self._search(len(SYNC), is_reported=False)
            elif counter < expected:
                self.faults.append(f"frame {counter} came twice or too late and was dropped")
                self._useless_bytes += self._filled_bytes
                self._filled_bytes = 0
            else:
                return int(counter)
        self._report_search()
        return None

    def release(self) -> None:
        """The frame found by `advance` is no longer needed."""
        self._filled_bytes = 0

    def pass_over(self, expected: int) -> bool:
        """Whether frame ``expected`` was next and has been passed over unread."""
        if self._file_bytes is None or self._filled_bytes or not self._fill(HEADER.size):
            return False
        end = self._stream.tell() + self._layout.payload_bytes
        sync, counter, _, length = HEADER.unpack_from(self._frame)
        if (sync, counter, length) != (SYNC, expected, self._layout.payload_bytes) or end > self._file_bytes:
            return False
        self._stream.seek(end)
        self._filled_bytes = 0
        return True

    def _fill(self, count: int) -> bool:
        """Whether the first ``count`` bytes of the frame are there, waiting for them."""
        try:
            while self._filled_bytes < count:
                received = self._stream.readinto(self._view[self._filled_bytes : count])
                if not received:
                    return False
                self._filled_bytes += received
        except OSError as error:
            raise StripError(f"the stream cannot be read: {error.strerror}") from error
        return True

    def _search(self, start: int, is_reported: bool = True) -> None:
        """Drops what lies before the next sync word at or after ``start``."""
        found = self._frame.find(SYNC, start, self._filled_bytes)
        if found < 0:
            found = max(self._filled_bytes - self._begun_sync_bytes(), start)
        left = self._filled_bytes - found
        self._view[:left] = self._view[found : self._filled_bytes]
        self._filled_bytes = left
        self._useless_bytes += found
        self._searched_bytes += found if is_reported else 0

    def _begun_sync_bytes(self) -> int:
        """How many of the last bytes may be the beginning of a sync word."""
        for count in range(len(SYNC) - 1, 0, -1):
            if self._frame.endswith(SYNC[:count], 0, self._filled_bytes):
                return count
        return 0

    def _report_search(self) -> None:
        if self._searched_bytes:
            self.faults.append(f"lost sync: {self._searched_bytes} bytes passed over up to the next frame")
            self._searched_bytes = 0
