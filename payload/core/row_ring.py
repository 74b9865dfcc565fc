"""The rows of the strip that one row of tiles reads.

    columns ->
    +----------------------------+
    | halo above                 |  codes alone: networks read it, nothing else does
    +----------------------------+
    | inners                     |  counts: networks read their codes, products are made of them
    +----------------------------+
    | halo below                 |  counts: the next row of tiles makes products of them
    +----------------------------+

Rules:
1. Rows come in their order; those before the halo above are dropped.
2. A row turns into codes for the halo above when the inners that it belongs to are finished;
   where those were done in an earlier run, when it comes.
3. Rows that never came, and all columns outside the strip, are no data.
4. Bands that are missing have no counts, and likely codes (`missing_bands`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from payload.core.missing_bands import darken, fill_codes
from payload.core.radiometry import DnScale
from payload.core.tiling import Tiling
from payload.ports import Arithmetic
from payload.types import BANDS_OF_GRID, U8, U16, Band, Grid, Window


class RowRing:
    """Holds a fixed number of rows, across the strip and a halo on either side."""

    def __init__(
        self,
        tiling: Tiling,
        scale: DnScale,
        arithmetic: Arithmetic,
        tile_row: int = 0,
        missing: Collection[Band] = (),
    ) -> None:
        """Stands at a row of tiles, without a row of the strip."""
        self._tiling = tiling
        self._scale = scale
        self._arithmetic = arithmetic
        self._missing = missing
        self._halo_px = tiling.grid.halo_px
        self._inner_px = tiling.grid.inner_rows_px
        self._first_row = tile_row * self._inner_px  # of the inners
        self._above = {grid: np.zeros(_above_shape(tiling, grid), np.uint8) for grid in Grid}
        self._counts = {grid: np.zeros(_counts_shape(tiling, grid), np.uint16) for grid in Grid}

    @property
    def top(self) -> int:
        """First row that is held or wanted; negative for the first row of tiles."""
        return self._first_row - self._halo_px

    def put(self, row: int, dn: Mapping[Grid, U16]) -> None:
        """Take the rows that begin at ``row``, the next one, per grid (band, row, col)."""
        rows_px = dn[Grid.R60M].shape[1] * Grid.R60M
        passed_px = max(0, self.top - row)
        above_px = min(max(0, self._first_row - row), rows_px)
        for grid, samples in dn.items():
            upper = samples[:, passed_px // grid : above_px // grid]
            if upper.shape[1]:  # room for counts is free: what comes later has not come yet
                start = (row + passed_px - self.top) // grid
                self._put_counts(grid, 0, upper)
                encoded = slice(start, start + upper.shape[1])
                self._encode(grid, slice(0, upper.shape[1]), encoded)
            lower = samples[:, above_px // grid :]
            if lower.shape[1]:
                self._put_counts(grid, (row + above_px - self._first_row) // grid, lower)

    def _put_counts(self, grid: Grid, start: int, dn: U16) -> None:
        column = self._halo_px // grid
        target = self._counts[grid][:, start : start + dn.shape[1], column : column + dn.shape[2]]
        self._scale.to_counts(dn, grid, target)
        darken(target, grid, self._missing)

    def _encode(self, grid: Grid, rows: slice, above: slice) -> None:
        self._arithmetic.encode(self._counts[grid][:, rows], self._above[grid][:, above])

    def end(self, row: int) -> None:
        """Rows from ``row`` on never come."""
        for grid in Grid:
            self._above[grid][:, max(0, -(-(row - self.top) // grid)) :] = 0
            self._counts[grid][:, max(0, -(-(row - self._first_row) // grid)) :] = 0

    def advance(self) -> None:
        """To the next row of tiles; what it reads of the rows that are here stays."""
        for grid in Grid:
            step, halo = self._inner_px // grid, self._halo_px // grid
            kept = max(0, halo - step)
            _slide(self._above[grid], kept, step)
            self._encode(grid, slice(step - (halo - kept), step), slice(kept, halo))
            _slide(self._counts[grid], halo, step)
        self._first_row += self._inner_px

    def counts(self, window: Window, grid: Grid) -> U16:
        """Counts of ``window``, not above the inners: (band, row, col), a view until `advance`."""
        row = (window.row - self._first_row) // grid
        return self._counts[grid][:, row : row - (-window.rows // grid), self._columns(window, grid)]

    def copy_codes(self, window: Window, out: Mapping[Grid, U8]) -> None:
        """Write the codes of a tile's whole ``window``, per grid (1, band, row, col)."""
        assert window.row == self.top, (window.row, self.top)
        for grid, codes in out.items():
            halo, columns = self._halo_px // grid, self._columns(window, grid)
            codes[0, :, :halo] = self._above[grid][:, :, columns]
            self._arithmetic.encode(self._counts[grid][:, :, columns], codes[0, :, halo:])
        fill_codes({grid: codes[0] for grid, codes in out.items()}, self._missing)

    def _columns(self, window: Window, grid: Grid) -> slice:
        col = (window.col + self._halo_px) // grid
        return slice(col, col - (-window.cols // grid))


def row_ring_bytes(tiling: Tiling) -> int:
    """What a `RowRing` holds, without making it."""
    counts = sum(2 * int(np.prod(_counts_shape(tiling, grid))) for grid in Grid)
    return counts + sum(int(np.prod(_above_shape(tiling, grid))) for grid in Grid)


def _above_shape(tiling: Tiling, grid: Grid) -> tuple[int, int, int]:
    return len(BANDS_OF_GRID[grid]), tiling.grid.halo_px // grid, tiling.padded_columns_px // grid


def _counts_shape(tiling: Tiling, grid: Grid) -> tuple[int, int, int]:
    rows_px = tiling.grid.inner_rows_px + tiling.grid.halo_px
    return len(BANDS_OF_GRID[grid]), rows_px // grid, tiling.padded_columns_px // grid


def _slide(planes: U8 | U16, keep: int, step: int) -> None:
    """The first ``keep`` rows become those ``step`` further down."""
    for start in range(0, keep, step):  # so that source and target never overlap
        stop = min(start + step, keep)
        planes[:, start:stop] = planes[:, start + step : stop + step]
