"""Rules of `payload.core.scheduler`: rows in, tiles out, nothing lost or doubled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.core.arithmetic import NumpyArithmetic
from payload.core.radiometry import code_table
from payload.core.row_ring import row_ring_bytes
from payload.core.scheduler import Scheduler, tile_slot, tile_slot_bytes
from payload.core.tiling import Tiling
from payload.types import Grid, Tile, TileGrid
from tests.core.strip_in_memory import ArraySource, random_dn, strip_info

GRID = TileGrid(inner_rows_px=48, inner_columns_px=96, halo_px=24)
WIDE_HALO = TileGrid(inner_rows_px=48, inner_columns_px=48, halo_px=72)
grids = st.sampled_from([GRID, WIDE_HALO])
sizes = st.integers(1, 260)


def run(scheduler: Scheduler, source: ArraySource) -> list[tuple[Tile, dict[Grid, np.ndarray]]]:
    """Drive the scheduler as the walk does; what each tile held, copied."""
    if scheduler.first_row:
        source.skip(scheduler.first_row)
    seen = []
    while not scheduler.is_done:
        while rows := scheduler.rows_wanted:
            scheduler.feed(source.read(rows))
        in_flight = []
        while (tile := scheduler.next_tile()) is not None:
            seen.append((tile, {g: c[0].copy() for g, c in tile.codes.items()}))
            in_flight.append(tile)
            if not tile.valid_px:
                scheduler.finish(in_flight.pop().index)
        assert in_flight or scheduler.is_done or scheduler.rows_wanted
        for tile in in_flight:
            scheduler.finish(tile.index)
    return seen


def whole_codes(dn: dict[Grid, np.ndarray]) -> dict[Grid, np.ndarray]:
    """The codes of the strip in a wide margin of no data, without any tiling."""
    margin = 480
    out = {}
    for grid, samples in dn.items():
        padded = np.pad(samples, ((0, 0), (margin // grid,) * 2, (margin // grid,) * 2))
        out[grid] = code_table()[padded]
    return out


@settings(max_examples=60, deadline=None)
@given(
    grids,
    sizes,
    sizes,
    st.integers(0, 9),
    st.sampled_from([6, 24, 48, 96]),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_every_window_is_cut_out_of_the_strip_as_it_lies_there(
    grid: TileGrid, rows: int, columns: int, seed: int, block_rows_px: int, slots: int, holes: int
) -> None:
    dn = random_dn(rows, columns, seed, holes)
    info = strip_info(rows, columns)
    seen = run(Scheduler(info, grid, slots, block_rows_px, NumpyArithmetic()), ArraySource(info, dn))
    codes = whole_codes(dn)
    assert [tile.index for tile, _ in seen] == list(range(Tiling(grid, rows, columns).tiles))
    for tile, cut in seen:
        for pitch, part in cut.items():
            row, col = (tile.window.row + 480) // pitch, (tile.window.col + 480) // pitch
            there = slice(row, row + tile.window.rows // pitch), slice(col, col + tile.window.cols // pitch)
            np.testing.assert_array_equal(part, codes[pitch][(..., *there)])


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(0, 9), st.integers(0, 4))
def test_every_valid_pixel_is_handed_out_exactly_once(rows: int, columns: int, seed: int, holes: int) -> None:
    dn = random_dn(rows, columns, seed, holes)
    info = strip_info(rows, columns)
    times = np.zeros((rows, columns), dtype=int)
    for tile, cut in run(Scheduler(info, GRID, 2, 48, NumpyArithmetic()), ArraySource(info, dn)):
        place = slice(tile.inner.row, tile.inner.row_end), slice(tile.inner.col, tile.inner.col_end)
        times[place] += tile.valid
        assert tile.valid_px == np.count_nonzero(tile.valid)
        assert bool(cut) == bool(tile.valid_px), "a tile without one valid pixel never reaches a network"
    expected = np.ones((rows, columns), dtype=bool)
    for grid, samples in dn.items():
        seen = (samples > 0).any(axis=0)
        expected &= seen.repeat(grid, 0).repeat(grid, 1)[:rows, :columns]
    np.testing.assert_array_equal(times, expected)


@settings(max_examples=40, deadline=None)
@given(grids, sizes, sizes, st.integers(0, 260), st.sampled_from([6, 48, 96]), st.data())
def test_tiles_done_before_are_not_handed_out_again_and_the_rest_is_unchanged(
    grid: TileGrid, rows: int, columns: int, delivered: int, block_rows_px: int, data: st.DataObject
) -> None:
    dn = random_dn(rows, columns, 5)
    info = strip_info(rows, columns)

    def cut_of(block_rows_px: int, done: set[int]) -> dict[int, dict[Grid, np.ndarray]]:
        source = ArraySource(info, dn, rows_delivered=min(rows, delivered) // 6 * 6)
        seen = run(Scheduler(info, grid, 2, block_rows_px, NumpyArithmetic(), done), source)
        return {tile.index: cut for tile, cut in seen}

    everything = cut_of(48, set())
    done = data.draw(st.sets(st.sampled_from(sorted(everything))))
    rest = cut_of(block_rows_px, done)
    assert list(rest) == sorted(everything.keys() - done)
    for index, cut in rest.items():
        assert cut.keys() == everything[index].keys()
        for pitch, part in cut.items():
            np.testing.assert_array_equal(part, everything[index][pitch])


@given(sizes, sizes, st.integers(0, 260))
@settings(max_examples=30, deadline=None)
def test_rows_that_never_came_are_no_data(rows: int, columns: int, delivered: int) -> None:
    delivered = min(rows, delivered) // 6 * 6
    info = strip_info(rows, columns)
    dn = random_dn(rows, columns, 3)
    seen = run(
        Scheduler(info, GRID, 1, 24, NumpyArithmetic()), ArraySource(info, dn, rows_delivered=delivered)
    )
    assert len(seen) == Tiling(GRID, rows, columns).tiles
    assert sum(tile.valid_px for tile, _ in seen) == delivered * columns


def test_no_row_is_wanted_while_a_row_of_tiles_is_unfinished() -> None:
    info = strip_info(200, 200)
    source = ArraySource(info, random_dn(200, 200, 1))
    scheduler = Scheduler(info, GRID, 1, 48, NumpyArithmetic())
    while rows := scheduler.rows_wanted:
        scheduler.feed(source.read(rows))
    assert source.rows_read == 72, "inner and lower halo of the first row of tiles"
    first = scheduler.next_tile()
    assert first is not None
    assert scheduler.next_tile() is None, "the only slot is taken: wait"
    assert scheduler.rows_wanted == 0
    scheduler.finish(first.index)
    second = scheduler.next_tile()
    assert second is not None
    scheduler.finish(second.index)
    scheduler.finish(scheduler.next_tile().index)  # type: ignore[union-attr]
    assert scheduler.rows_wanted == 48


def test_a_tile_cannot_be_finished_twice() -> None:
    info = strip_info(48, 48)
    source = ArraySource(info, random_dn(48, 48, 1))
    scheduler = Scheduler(info, GRID, 1, 48, NumpyArithmetic())
    scheduler.feed(source.read(48))
    tile = scheduler.next_tile()
    assert tile is not None
    scheduler.finish(tile.index)
    with pytest.raises(AssertionError):
        scheduler.finish(tile.index)


@given(sizes, sizes)
def test_the_rows_and_slots_held_are_the_rows_and_slots_planned(rows: int, columns: int) -> None:
    tiling = Tiling(GRID, rows, columns)
    scheduler = Scheduler(strip_info(rows, columns), GRID, 1, 48, NumpyArithmetic())
    held = (*scheduler._rows._counts.values(), *scheduler._rows._above.values())
    assert sum(a.nbytes for a in held) == row_ring_bytes(tiling)
    assert sum(a.nbytes for a in tile_slot(GRID).values()) <= tile_slot_bytes(GRID)
