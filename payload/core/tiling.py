"""Where tiles lie.

Rules:
1. Inners partition the strip: every pixel belongs to exactly one.
2. Every window has the same size and the same phase modulo the network's phase, so that a
   network sees a pixel alike whatever tile it is in; what lies outside the strip is no data.
3. Tiles are numbered along a row of tiles first, rows of tiles along track.

        window                 halo  inner (kept)          halo
    +-------------------+     |<-->|<------------------->|<-->|
    |   +-----------+   |
    |   |   inner   |   |     window = inner + 2 halo
    |   +-----------+   |
    +-------------------+
"""

from __future__ import annotations

from dataclasses import dataclass

from payload.types import TileGrid, Window


@dataclass(frozen=True, slots=True)
class Tiling:
    """The tiles of one strip of ``rows`` x ``columns`` 10 m pixels."""

    grid: TileGrid
    rows: int
    columns: int

    @property
    def tile_rows(self) -> int:
        return -(-self.rows // self.grid.inner_rows_px)

    @property
    def tile_columns(self) -> int:
        return -(-self.columns // self.grid.inner_columns_px)

    @property
    def tiles(self) -> int:
        return self.tile_rows * self.tile_columns

    @property
    def padded_columns_px(self) -> int:
        """Columns that the windows of one row of tiles reach over, halo included."""
        return self.tile_columns * self.grid.inner_columns_px + 2 * self.grid.halo_px

    def window_row(self, tile_row: int) -> int:
        """First row of the windows of a row of tiles; negative for the first one."""
        return tile_row * self.grid.inner_rows_px - self.grid.halo_px

    def window(self, index: int) -> Window:
        """What a network reads for tile ``index``; may reach past the strip."""
        tile_row, tile_column = divmod(index, self.tile_columns)
        return Window(
            self.window_row(tile_row),
            tile_column * self.grid.inner_columns_px - self.grid.halo_px,
            self.grid.window_rows_px,
            self.grid.window_columns_px,
        )

    def inner(self, index: int) -> Window:
        """What is kept of tile ``index``, clipped to the strip."""
        tile_row, tile_column = divmod(index, self.tile_columns)
        row = tile_row * self.grid.inner_rows_px
        col = tile_column * self.grid.inner_columns_px
        return Window(
            row,
            col,
            min(self.grid.inner_rows_px, self.rows - row),
            min(self.grid.inner_columns_px, self.columns - col),
        )


def grid_size(size_px: int, pitch: int) -> int:
    """Samples that cover ``size_px`` 10 m pixels on a grid of ``pitch``."""
    return -(-size_px // pitch)
