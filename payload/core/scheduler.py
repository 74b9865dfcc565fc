"""Rows to tiles inside the plan.

Rules:
1. Rows are asked for (`rows_wanted`) only while there is room for them; 0 means wait.
   That number is the whole back-pressure.
2. The row buffer holds exactly the window of one row of tiles, and never more.
3. A tile is cut only when all rows of its window have come (or the strip has ended), and
   only while a tile slot is free; None means wait.
4. Every tile of the strip is handed out exactly once, except those that were done before.
5. A tile without one valid pixel is handed out without codes: it never reaches a network.
6. Rows that never came, and everything outside the strip, are no data.
7. A row of tiles makes room for the next when its last tile has been finished.

    columns ->                        after the last finish of the row of tiles:
    +----------------------------+
    | halo                       |    rows slide up by one inner; the last two halos
    |  inner | inner | ...       |    stay, because the next windows read them too.
    | halo                       |
    +----------------------------+
"""

from __future__ import annotations

from collections.abc import Container, Mapping

import numpy as np

from payload.core.radiometry import DnScale, geometry_input, valid_mask
from payload.core.tiling import Tiling
from payload.ports import Arithmetic
from payload.types import BANDS_OF_GRID, U8, U16, Grid, RowBlock, StripInfo, Tile, TileGrid, Window


class Scheduler:
    """Feeds rows in, hands tiles out. Told everything; holds the rows and the tile slots."""

    def __init__(
        self,
        strip: StripInfo,
        grid: TileGrid,
        slots: int,
        block_rows_px: int,
        arithmetic: Arithmetic,
        done: Container[int] = (),
    ) -> None:
        """Start before the first row that a tile not in ``done`` needs (`first_row`)."""
        self.tiling = Tiling(grid, strip.rows, strip.columns)
        self._grid = grid
        self._block_rows_px = block_rows_px
        self._done = done
        self._scale = DnScale(strip.offset_dn, strip.quantification_dn)
        self._arithmetic = arithmetic
        self._geometry = geometry_input(strip)
        self._buffer = row_buffer(self.tiling)
        self._free_slots = [tile_slot(grid) for _ in range(slots)]
        self._held: dict[int, dict[Grid, U8]] = {}
        self._tile_row = 0
        while self._tile_row < self.tiling.tile_rows and not self._todo(self._tile_row):
            self._tile_row += 1
        self._pending = self._todo(self._tile_row)
        self._unfinished = len(self._pending)
        self.first_row = max(0, self._top) if self._pending else strip.rows
        self._next_row = self.first_row
        self._ended = False

    def _todo(self, tile_row: int) -> list[int]:
        if tile_row >= self.tiling.tile_rows:
            return []
        first = tile_row * self.tiling.tile_columns
        return [i for i in range(first, first + self.tiling.tile_columns) if i not in self._done]

    @property
    def _top(self) -> int:
        return self.tiling.window_row(self._tile_row)

    @property
    def is_done(self) -> bool:
        """Every tile has been handed out and finished."""
        return self._tile_row >= self.tiling.tile_rows

    @property
    def rows_wanted(self) -> int:
        """How many rows to feed next, a multiple of 6; 0 means not now."""
        if self.is_done or self._ended:
            return 0
        needed_end = min(self.tiling.rows, self._top + self._grid.window_rows_px)
        wanted = min(self._block_rows_px, max(0, needed_end - self._next_row))
        return wanted + (-wanted) % Grid.R60M

    def feed(self, block: RowBlock | None) -> None:
        """Take the rows that were wanted; None says that the strip has ended early."""
        if block is None:
            self._ended = True
            return
        assert block.row == self._next_row, (block.row, self._next_row)
        assert block.rows <= self.rows_wanted
        passed_px = max(0, self._top - block.row)  # rows of tiles that were done before
        for grid, dn in block.dn.items():
            dn = dn[:, passed_px // grid :]
            row = (block.row + passed_px - self._top) // grid
            col = self._grid.halo_px // grid
            target = self._buffer[grid][:, row : row + dn.shape[1], col : col + dn.shape[2]]
            self._scale.to_counts(dn, grid, target)
        self._next_row = block.row + block.rows

    def next_tile(self) -> Tile | None:
        """The next tile, or None while rows or slots are wanting."""
        if not self._pending or not self._free_slots or self.rows_wanted:
            return None
        self._blank_what_never_came()
        index = self._pending.pop(0)
        inner = self.tiling.inner(index)
        valid = valid_mask({grid: self._view(inner, grid) for grid in self._buffer}, inner.rows, inner.cols)
        valid_px = int(np.count_nonzero(valid))
        window = self.tiling.window(index)
        codes: Mapping[Grid, U8] = {}
        if valid_px:
            codes = self._held[index] = self._free_slots.pop()
            for grid, out in codes.items():
                self._arithmetic.encode(self._view(window, grid), out[0])
        return Tile(index, window, inner, codes, self._geometry, valid, valid_px)

    def counts(self, tile: Tile, grid: Grid) -> U16:
        """The tile's inner, uint16 (band, row, col), as a view valid until `finish`."""
        return self._view(tile.inner, grid)

    def _view(self, window: Window, grid: Grid) -> U16:
        row = (window.row - self._top) // grid
        col = (window.col + self._grid.halo_px) // grid
        return self._buffer[grid][:, row : row - (-window.rows // grid), col : col - (-window.cols // grid)]

    def finish(self, index: int) -> None:
        """Nothing more is wanted of the tile: its slot, and in time its rows, are free."""
        slot = self._held.pop(index, None)
        if slot is not None:
            self._free_slots.append(slot)
        self._unfinished -= 1
        assert self._unfinished >= 0, "a tile was finished twice"
        if self._unfinished == 0:
            self._advance()

    def _advance(self) -> None:
        """Slide to the next row of tiles that has something to do."""
        while True:
            self._tile_row += 1
            if self.is_done:
                return
            self._slide()
            self._pending = self._todo(self._tile_row)
            self._unfinished = len(self._pending)
            if self._pending:
                return

    def _slide(self) -> None:
        step_px = self._grid.inner_rows_px
        keep_px = 2 * self._grid.halo_px
        for grid, rows in self._buffer.items():
            step, keep = step_px // grid, keep_px // grid
            for start in range(0, keep, step):  # so that source and target never overlap
                stop = min(start + step, keep)
                rows[:, start:stop] = rows[:, start + step : stop + step]

    def _blank_what_never_came(self) -> None:
        """Rows of the row of tiles before, where the strip has ended, are no data (rule 6)."""
        came_px = self._next_row - self._top
        if came_px < self._grid.window_rows_px:
            for grid, rows in self._buffer.items():
                rows[:, max(0, -(-came_px // grid)) :] = 0


def row_buffer(tiling: Tiling) -> dict[Grid, U16]:
    """Zeroed rows for the windows of one row of tiles: per grid, uint16 (band, row, col)."""
    rows, columns = tiling.grid.window_rows_px, tiling.padded_columns_px
    return {
        grid: np.zeros((len(bands), rows // grid, columns // grid), dtype=np.uint16)
        for grid, bands in BANDS_OF_GRID.items()
    }


def tile_slot(grid: TileGrid) -> dict[Grid, U8]:
    """Room for the codes of one window: per grid, uint8 (1, band, row, col)."""
    return {
        g: np.zeros((1, len(bands), grid.window_rows_px // g, grid.window_columns_px // g), dtype=np.uint8)
        for g, bands in BANDS_OF_GRID.items()
    }


def row_buffer_bytes(tiling: Tiling) -> int:
    """Size of `row_buffer`, without making it."""
    rows, columns = tiling.grid.window_rows_px, tiling.padded_columns_px
    return sum(2 * len(bands) * (rows // g) * (columns // g) for g, bands in BANDS_OF_GRID.items())


def tile_slot_bytes(grid: TileGrid) -> int:
    """What one tile in flight holds: its codes, and its mask with what making it takes."""
    codes = sum(
        len(bands) * (grid.window_rows_px // g) * (grid.window_columns_px // g)
        for g, bands in BANDS_OF_GRID.items()
    )
    mask = grid.inner_rows_px * grid.inner_columns_px
    return codes + 4 * mask
