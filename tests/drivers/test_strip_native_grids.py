"""Averaging to the native grids, judged by the plainest way to say it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from payload.bands import plane_of
from payload.drivers.native_grids import average_blocks, averaging_bytes, empty_dn, rows_of
from payload.types import U16, Band, Grid

PLANES = hnp.arrays(
    np.uint16,
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    elements=st.sampled_from([0, 0, 1, 2, 3, 1000, 1001, 65534, 65535]),
)


def averaged(fine: U16, pitch: int) -> U16:
    out = np.empty((-(-fine.shape[0] // pitch), -(-fine.shape[1] // pitch)), np.uint16)
    average_blocks(fine, pitch, out)
    return out


@given(PLANES, st.sampled_from(list(Grid)))
def test_a_coarse_pixel_is_the_mean_of_the_valid_pixels_of_its_block_halves_rounded_up(
    fine: U16, grid: Grid
) -> None:
    for (row, col), found in np.ndenumerate(averaged(fine, grid)):
        block = fine[row * grid : (row + 1) * grid, col * grid : (col + 1) * grid]
        valid = [int(value) for value in block.flat if value]
        expected = (2 * sum(valid) + len(valid)) // (2 * len(valid)) if valid else 0
        assert found == expected


@given(PLANES, st.sampled_from(list(Grid)))
def test_a_block_without_one_valid_pixel_stays_0_and_a_valid_pixel_never_becomes_0(
    fine: U16, grid: Grid
) -> None:
    for (row, col), found in np.ndenumerate(averaged(fine, grid)):
        block = fine[row * grid : (row + 1) * grid, col * grid : (col + 1) * grid]
        assert (found == 0) == (not block.any())


@pytest.mark.parametrize("grid", list(Grid))
def test_a_block_cut_by_the_edge_averages_what_there_is_of_it(grid: Grid) -> None:
    fine = np.full((grid + 1, grid + 1), 100, np.uint16)
    fine[-1, -1] = 300
    assert averaged(fine, grid)[-1, -1] == 300


def test_memory_for_averaging_is_planned_for_what_numpy_takes() -> None:
    import tracemalloc

    fine = np.full((48, 3000), 1234, np.uint16)
    out = np.empty((24, 1500), np.uint16)
    tracemalloc.start()
    average_blocks(fine, 2, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= averaging_bytes(48, 3000)


def test_rows_and_planes_are_views_of_the_same_samples() -> None:
    dn = empty_dn(15, 13)
    assert [planes.shape for planes in dn.values()] == [(4, 15, 13), (6, 8, 7), (3, 3, 3)]
    for planes in dn.values():
        planes[...] = 0
    plane_of(rows_of(dn, 6, 12), Band.B8A)[...] = 9
    assert (dn[Grid.R20M][3, 3:6] == 9).all()
    assert sum(int(np.count_nonzero(planes)) for planes in dn.values()) == 3 * 7
