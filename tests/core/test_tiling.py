"""Rules of `payload.core.tiling`."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from payload.core.tiling import Tiling
from payload.types import TileGrid

sizes = st.integers(1, 700)
grids = st.builds(
    TileGrid,
    inner_rows_px=st.sampled_from([48, 96, 240]),
    inner_columns_px=st.sampled_from([48, 144, 480]),
    halo_px=st.sampled_from([0, 24, 72]),
)


@given(sizes, sizes, grids)
def test_inners_partition_the_strip(rows: int, columns: int, grid: TileGrid) -> None:
    tiling = Tiling(grid, rows, columns)
    times = np.zeros((rows, columns), dtype=int)
    for index in range(tiling.tiles):
        inner = tiling.inner(index)
        assert inner.row_end <= rows
        assert inner.col_end <= columns
        times[inner.row : inner.row_end, inner.col : inner.col_end] += 1
    assert (times == 1).all()


@given(sizes, sizes, grids)
def test_every_window_has_the_same_size_and_phase(rows: int, columns: int, grid: TileGrid) -> None:
    tiling = Tiling(grid, rows, columns)
    windows = [tiling.window(index) for index in range(tiling.tiles)]
    assert {(w.rows, w.cols) for w in windows} == {(grid.window_rows_px, grid.window_columns_px)}
    assert {(w.row + grid.halo_px) % 48 for w in windows} == {0}
    assert {(w.col + grid.halo_px) % 48 for w in windows} == {0}
    for index, window in enumerate(windows):
        inner = tiling.inner(index)
        assert (window.row + grid.halo_px, window.col + grid.halo_px) == (inner.row, inner.col)


@given(sizes, sizes, grids)
def test_tiles_are_numbered_along_a_row_of_tiles_first(rows: int, columns: int, grid: TileGrid) -> None:
    tiling = Tiling(grid, rows, columns)
    places = [(tiling.inner(i).row, tiling.inner(i).col) for i in range(tiling.tiles)]
    assert places == sorted(places)
    assert tiling.tiles == tiling.tile_rows * tiling.tile_columns
