"""Rows to tiles inside the plan.

Rules:
1. Rows are asked for (`rows_wanted`) only while there is room for them; 0 means wait.
   That number is the whole back-pressure.
2. The rows of one row of tiles are held (`row_ring`), and never more.
3. A tile is cut only when all rows of its window have come (or the strip has ended), and
   only while a tile slot is free; None means wait.
4. Every tile of the strip is handed out exactly once, except those that were done before.
5. A tile without one valid pixel is handed out without codes: it never reaches a network.
6. Rows that never came, and everything outside the strip, are no data.
7. A row of tiles makes room for the next when its last tile has been finished.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping

import numpy as np

from payload.core.radiometry import DnScale, geometry_input, valid_mask
from payload.core.row_ring import RowRing
from payload.core.tiling import Tiling
from payload.ports import Arithmetic
from payload.types import BANDS_OF_GRID, U8, U16, Band, Grid, RowBlock, StripInfo, Tile, TileGrid

_SMALL_BYTES = 256 << 10
"""Arrays of a few kilobytes, and what the allocator rounds all of them up to."""


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
        missing: Collection[Band] = (),
    ) -> None:
        """Start before the first row that a tile not in ``done`` needs (`first_row`)."""
        self.tiling = Tiling(grid, strip.rows, strip.columns)
        self._grid = grid
        self._block_rows_px = block_rows_px
        self._done = done
        self._geometry = geometry_input(strip)
        self._free_slots = [tile_slot(grid) for _ in range(slots)]
        self._held: dict[int, dict[Grid, U8]] = {}
        self._tile_row = 0
        while self._tile_row < self.tiling.tile_rows and not self._todo(self._tile_row):
            self._tile_row += 1
        self._pending = self._todo(self._tile_row)
        self._unfinished = len(self._pending)
        scale = DnScale(strip.offset_dn, strip.quantification_dn)
        self._rows = RowRing(self.tiling, scale, arithmetic, self._tile_row, missing)
        self.first_row = max(0, self._rows.top) if self._pending else strip.rows
        self._next_row = self.first_row
        self._ended = False

    def _todo(self, tile_row: int) -> list[int]:
        if tile_row >= self.tiling.tile_rows:
            return []
        first = tile_row * self.tiling.tile_columns
        return [i for i in range(first, first + self.tiling.tile_columns) if i not in self._done]

    @property
    def is_done(self) -> bool:
        """Every tile has been handed out and finished."""
        return self._tile_row >= self.tiling.tile_rows

    @property
    def rows_wanted(self) -> int:
        """How many rows to feed next, a multiple of 6; 0 means not now."""
        if self.is_done or self._ended:
            return 0
        needed_end = min(self.tiling.rows, self._rows.top + self._grid.window_rows_px)
        wanted = min(self._block_rows_px, max(0, needed_end - self._next_row))
        return wanted + (-wanted) % Grid.R60M

    def feed(self, block: RowBlock | None) -> None:
        """Take the rows that were wanted; None says that the strip has ended early."""
        if block is None:
            self._ended = True
            return
        assert block.row == self._next_row, (block.row, self._next_row)
        assert block.rows <= self.rows_wanted
        self._rows.put(block.row, block.dn)
        self._next_row = block.row + block.rows

    def next_tile(self) -> Tile | None:
        """The next tile, or None while rows or slots are wanting."""
        if not self._pending or not self._free_slots or self.rows_wanted:
            return None
        self._rows.end(self._next_row)
        index = self._pending.pop(0)
        inner = self.tiling.inner(index)
        valid = valid_mask({grid: self._rows.counts(inner, grid) for grid in Grid}, inner.rows, inner.cols)
        valid_px = int(np.count_nonzero(valid))
        window = self.tiling.window(index)
        codes: Mapping[Grid, U8] = {}
        if valid_px:
            codes = self._held[index] = self._free_slots.pop()
            self._rows.copy_codes(window, codes)
        return Tile(index, window, inner, codes, self._geometry, valid, valid_px)

    def counts(self, tile: Tile, grid: Grid) -> U16:
        """The tile's inner, uint16 (band, row, col), as a view valid until `finish`."""
        return self._rows.counts(tile.inner, grid)

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
        """To the next row of tiles that has something to do."""
        while True:
            self._tile_row += 1
            if self.is_done:
                return
            self._rows.advance()
            self._pending = self._todo(self._tile_row)
            self._unfinished = len(self._pending)
            if self._pending:
                return


def tile_slot(grid: TileGrid) -> dict[Grid, U8]:
    """Room for the codes of one window: per grid, uint8 (1, band, row, col)."""
    return {
        g: np.zeros((1, len(bands), grid.window_rows_px // g, grid.window_columns_px // g), dtype=np.uint8)
        for g, bands in BANDS_OF_GRID.items()
    }


def tile_slot_bytes(grid: TileGrid) -> int:
    """What one tile in flight holds: its codes, its mask with what making it takes, and small arrays."""
    codes = sum(
        len(bands) * (grid.window_rows_px // g) * (grid.window_columns_px // g)
        for g, bands in BANDS_OF_GRID.items()
    )
    mask = grid.inner_rows_px * grid.inner_columns_px
    return codes + 4 * mask + _SMALL_BYTES
