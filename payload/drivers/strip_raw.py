"""A strip as an instrument delivers it: a stream of frames, from a file, a FIFO or stdin.

A YAML header beside it (`strip_header.RawHeader`) says what the frames (`raw_frames`) do not.

Rules:
    rows of a frame that is missing or damaged are 0 and named
    a stream that ends early gives the rows that came, and those it was asked for with them as 0
    a stream is not opened before its first row is wanted: who plans a FIFO takes nothing from it
    a stream without one sound frame of this strip is no strip
"""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

from payload.drivers.native_grids import empty_dn, rows_of
from payload.drivers.raw_frames import FRAME_ROWS, FrameLayout, FrameReader
from payload.drivers.strip_header import RawHeader, read_raw_header
from payload.errors import StripError
from payload.types import U16, Grid, RowBlock, StripInfo

STANDARD_INPUT = "-"

_OVERHEAD_BYTES = 65536


def open_raw(path: Path) -> RawStrip:
    """The strip whose header is ``path``.

    Raises:
        StripError: the header cannot be used, or there is no stream.
    """
    header = read_raw_header(path)
    place = path.parent / header.stream
    if header.stream != STANDARD_INPUT and (place.is_dir() or not place.exists()):
        reason = os.strerror(errno.EISDIR if place.is_dir() else errno.ENOENT)
        raise StripError(f"{path}: stream: '{header.stream}' cannot be opened: {reason}")
    return RawStrip(path, header)


class RawStrip:
    """A `StripSource` over a stream of frames."""

    def __init__(self, path: Path, header: RawHeader) -> None:
        """Reads the strip of ``header``, which came from ``path``."""
        self._path = path
        self._header = header
        self._info = header.info
        self._layout = FrameLayout(header.columns)
        self._opened: tuple[io.FileIO, FrameReader] | None = None
        self._row = 0
        self._held: int | None = None
        self._is_ended = False
        self._has_begun = False
        self._dn = empty_dn(0, header.columns)

    @property
    def info(self) -> StripInfo:
        return self._info

    @property
    def planned_bytes(self) -> int:
        return self._layout.frame_bytes + _OVERHEAD_BYTES

    def read(self, rows: int) -> RowBlock | None:
        """See `StripSource.read`."""
        assert rows > 0
        assert rows % FRAME_ROWS == 0
        row = self._row
        count = min(rows, self._info.rows - row)
        if count <= 0:
            return None
        if count > self._dn[Grid.R10M].shape[1]:
            self._dn = empty_dn(count, self._info.columns)
        reader = self._reader()
        reader.faults.clear()
        missing: list[int] = []
        for start in range(0, count, FRAME_ROWS):
            dn = rows_of(self._dn, start, min(start + FRAME_ROWS, count))
            if self._has_next((row + start) // FRAME_ROWS):
                self._copy(dn)
            else:
                missing.append(row + start)
                for planes in dn.values():
                    planes[...] = 0
        if self._is_ended and len(missing) * FRAME_ROWS >= count and not reader.faults:
            return None
        self._row = row + count
        faults = (*reader.faults, *self._missing_faults(missing))
        lost = frozenset(
            line for start in missing for line in range(start, min(start + FRAME_ROWS, row + count))
        )
        return RowBlock(row, count, rows_of(self._dn, 0, count), faults, lost)

    def skip(self, rows: int) -> None:
        """See `StripSource.skip`; a regular file is not even read."""
        assert rows % FRAME_ROWS == 0
        end = min(self._row + rows, self._info.rows)
        for row in range(self._row, end, FRAME_ROWS):
            frame = row // FRAME_ROWS
            if self._held is None and self._reader().pass_over(frame):
                self._has_begun = True
            elif self._has_next(frame):
                self._release()
        self._row = end

    def close(self) -> None:
        if self._opened is not None:
            self._opened[0].close()

    def _reader(self) -> FrameReader:
        """Waits until a FIFO has a writer, the first time.

        Raises:
            StripError: the stream cannot be opened.
        """
        if self._opened is None:
            name = self._header.stream
            try:
                if name == STANDARD_INPUT:
                    stream = io.FileIO(0, closefd=False)
                else:
                    stream = io.FileIO(self._path.parent / name)
            except OSError as error:
                raise StripError(
                    f"{self._path}: stream: '{name}' cannot be opened: {error.strerror}"
                ) from error
            frames = -(-self._header.rows // FRAME_ROWS)
            self._opened = stream, FrameReader(stream, self._layout, frames, self._header.crc)
        return self._opened[1]

    def _has_next(self, frame: int) -> bool:
        """Whether the reader holds ``frame`` now; a later one waits in it for its turn."""
        if self._held is None and not self._is_ended:
            self._held = self._reader().advance(frame)
            self._is_ended = self._held is None
            if self._is_ended and not self._has_begun:
                raise StripError(
                    f"{self._path}: the stream holds no frame of this strip: check columns and crc, "
                    "and that the stream is not empty"
                )
            self._has_begun = True
        return self._held == frame

    def _copy(self, dn: dict[Grid, U16]) -> None:
        for grid, samples in self._reader().samples.items():
            planes = dn[grid]
            planes[...] = samples[: planes.shape[1]].transpose(1, 0, 2)
        self._release()

    def _release(self) -> None:
        self._reader().release()
        self._held = None

    def _missing_faults(self, missing: list[int]) -> list[str]:
        """One sentence for each run of missing rows; ``missing`` holds their first rows."""
        runs: list[list[int]] = []
        for row in missing:
            end = min(row + FRAME_ROWS, self._info.rows)
            if runs and runs[-1][1] == row:
                runs[-1][1] = end
            else:
                runs.append([row, end])
        ended = "rows short: the stream ended" if self._is_ended else "not received"
        reasons = ["not received"] * (len(runs) - 1) + [ended]
        return [
            f"rows {start} to {end - 1} are 0: {reason}"
            for (start, end), reason in zip(runs, reasons, strict=False)
        ]
