"""A strip whose bands are tiled images: JPEG 2000 files or a GeoTIFF.

Rules:
    a band on its own grid is delivered as it is; a band on the 10 m grid that is not its own
    is averaged there
    images of one strip agree in size, or the strip is refused
    a step of at most 48 rows is in transit, whatever block size is asked for
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from payload.bands import GRID_OF_BAND, plane_of
from payload.drivers.native_grids import average_blocks, averaging_bytes, empty_dn, rows_of
from payload.drivers.tile_rows import Scratch, TiledImage, TileRows, row_of_tiles_bytes
from payload.errors import StripError
from payload.types import U16, Band, Grid, RowBlock, StripInfo, Window

_STEP_ROWS = 48
_SAMPLE_BYTES = 2
_IMAGE_BYTES = 65536
"""Index and names of one opened image."""


@dataclass(frozen=True, slots=True)
class BandImage:
    """An image and the bands that its planes are; ``name`` is for faults and errors."""

    name: str
    bands: tuple[Band, ...]
    image: TiledImage


def strip_size(images: Sequence[BandImage]) -> tuple[int, int, bool]:
    """Rows and columns on the 10 m grid, and whether every band is on its native grid: as most images say.

    Raises:
        StripError: the sizes fit neither the native grids nor one common grid; it names an image that
            is in the minority.
    """
    layouts = [(_size(entry), False) for entry in images]
    layouts += [(_size(entry), True) for entry in images if GRID_OF_BAND[entry.bands[0]] == Grid.R10M]

    def strangers(layout: tuple[tuple[int, int], bool]) -> list[BandImage]:
        return [entry for entry in images if _size(entry) != _size_in(*layout, entry)]

    (rows, columns), is_native = layout = min(layouts, key=lambda layout: len(strangers(layout)))
    if odd := strangers(layout):
        size, needed = _size(odd[0]), _size_in(*layout, odd[0])
        grids = "native grids" if is_native else "one grid for all"
        raise StripError(
            f"{odd[0].name}: {size[0]} x {size[1]} pixels, but by the other bands the strip has {rows} x "
            f"{columns}: it must have {needed[0]} x {needed[1]} ({grids}); fetch the strip again"
        )
    return rows, columns, is_native


def _size(entry: BandImage) -> tuple[int, int]:
    return entry.image.rows, entry.image.columns


def _size_in(strip_px: tuple[int, int], is_native: bool, entry: BandImage) -> tuple[int, int]:
    """Rows and columns that the image must have in a strip of ``strip_px``."""
    pitch = GRID_OF_BAND[entry.bands[0]] if is_native else Grid.R10M
    return -(-strip_px[0] // pitch), -(-strip_px[1] // pitch)


class TiledStrip:
    """A `StripSource` over tiled images."""

    def __init__(self, info: StripInfo, images: Sequence[BandImage], is_native: bool, scratch: Path) -> None:
        """Reads ``images``, which it closes in the end, through a file in folder ``scratch``.

        Raises:
            StripError: the scratch file cannot be made.
        """
        self._info = info
        self._images = list(images)
        self._is_native = is_native
        self._row = 0
        self._dn = empty_dn(0, info.columns)
        sizes = [row_of_tiles_bytes(entry.image) for entry in images]
        self._scratch = Scratch(scratch, sum(sizes))
        starts = np.cumsum([0, *sizes[:-1]])
        self._rows = [
            TileRows(entry.image, entry.name, self._scratch, int(start))
            for entry, start in zip(images, starts, strict=True)
        ]
        planes = 0 if is_native else max(len(entry.bands) for entry in images)
        self._buffer = np.empty((planes, min(_STEP_ROWS, info.rows), info.columns), np.uint16)

    @property
    def info(self) -> StripInfo:
        return self._info

    @property
    def planned_bytes(self) -> int:
        widest = max(min(entry.image.tile_columns, entry.image.columns) for entry in self._images)
        averaging = 0 if self._is_native else averaging_bytes(_STEP_ROWS, self._info.columns)
        return (
            max(entry.image.decode_bytes for entry in self._images)
            + _STEP_ROWS * widest * _SAMPLE_BYTES
            + self._buffer.nbytes
            + averaging
            + _IMAGE_BYTES * len(self._images)
        )

    @property
    def scratch_bytes(self) -> int:
        """Size of the scratch file: one row of tiles of every band."""
        return self._scratch.size_bytes

    def read(self, rows: int) -> RowBlock | None:
        """See `StripSource.read`."""
        assert rows > 0
        assert rows % Grid.R60M == 0
        row = self._row
        count = min(rows, self._info.rows - row)
        if count <= 0:
            return None
        if count > self._dn[Grid.R10M].shape[1]:
            self._dn = empty_dn(count, self._info.columns)
        faults: list[str] = []
        damaged: set[int] = set()
        for start in range(0, count, _STEP_ROWS):
            end = min(start + _STEP_ROWS, count)
            self._read_step(row + start, rows_of(self._dn, start, end), faults, damaged)
        self._row = row + count
        return RowBlock(row, count, rows_of(self._dn, 0, count), tuple(faults), frozenset(damaged))

    def skip(self, rows: int) -> None:
        """See `StripSource.skip`; tiles that lie in skipped rows alone are never decoded."""
        assert rows % Grid.R60M == 0
        self._row = min(self._row + rows, self._info.rows)

    def close(self) -> None:
        self._scratch.close()
        for entry in self._images:
            entry.image.close()

    def _read_step(self, row: int, dn: dict[Grid, U16], faults: list[str], damaged: set[int]) -> None:
        """At most _STEP_ROWS rows of every band."""
        count = dn[Grid.R10M].shape[1]
        for entry, rows in zip(self._images, self._rows, strict=True):
            grid = GRID_OF_BAND[entry.bands[0]]
            if len(entry.bands) == 1 and (self._is_native or grid == Grid.R10M):
                plane = plane_of(dn, entry.bands[0])
                faults += rows.read(row // grid, plane[np.newaxis])
                continue
            planes = self._buffer[: len(entry.bands), :count]
            faults += rows.read(row, planes)
            for plane, band in zip(planes, entry.bands, strict=True):
                average_blocks(plane, GRID_OF_BAND[band], plane_of(dn, band))
        for entry, rows in zip(self._images, self._rows, strict=True):
            pitch = GRID_OF_BAND[entry.bands[0]] if self._is_native else Grid.R10M
            for part in rows.lost_parts:
                _leave_out(part, pitch, row, dn)
                first, end = part.row * pitch // Grid.R60M, -(-(part.row + part.rows) * pitch // Grid.R60M)
                damaged.update(range(first * Grid.R60M, min(end * Grid.R60M, row + count)))


def _leave_out(part: Window, pitch: int, first_row: int, dn: dict[Grid, U16]) -> None:
    """What one band has lost is no data in every band: networks never see half a pixel.

    Args:
        part: in samples of ``pitch``.
        first_row: 10 m row at which ``dn`` starts.
    """
    row, col = part.row * pitch - first_row, part.col * pitch
    row_end, col_end = row + part.rows * pitch, col + part.cols * pitch
    for grid, samples in dn.items():
        samples[:, max(row, 0) // grid : -(-row_end // grid), col // grid : -(-col_end // grid)] = 0
