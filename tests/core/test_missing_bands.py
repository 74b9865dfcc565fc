"""Rules of `payload.core.missing_bands`, alone and inside the scheduler."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.bands import plane_of
from payload.core.arithmetic import NumpyArithmetic
from payload.core.missing_bands import LIKELY, fill_codes
from payload.core.scheduler import Scheduler
from payload.types import BANDS_OF_GRID, U8, Band, Grid, TileGrid
from tests.core.strip_in_memory import ArraySource, random_dn, strip_info

lost = st.frozensets(st.sampled_from(Band), min_size=1, max_size=3)


def random_codes(seed: int, side_px: int = 96) -> dict[Grid, U8]:
    rng = np.random.default_rng(seed)
    shapes = {grid: (len(bands), side_px // grid, side_px // grid) for grid, bands in BANDS_OF_GRID.items()}
    return {grid: rng.integers(1, 256, shape, np.uint8) for grid, shape in shapes.items()}


def without(codes: dict[Grid, U8], missing: Collection[Band]) -> dict[Grid, U8]:
    left = {grid: part.copy() for grid, part in codes.items()}
    for band in missing:
        plane_of(left, band)[...] = 0
    return left


@given(lost, st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_only_missing_bands_are_written_and_only_where_others_tell_of_them(
    missing: frozenset[Band], seed: int
) -> None:
    codes = without(random_codes(seed), missing)
    filled = without(codes, ())
    fill_codes(filled, missing)
    for band in Band:
        if band not in missing:
            np.testing.assert_array_equal(plane_of(filled, band), plane_of(codes, band))
        elif missing & LIKELY[band].factors.keys():
            assert not plane_of(filled, band).any(), "it stays dark"
        else:
            assert plane_of(filled, band).all()


@given(lost, st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_part_is_filled_as_it_is_in_the_whole(missing: frozenset[Band], seed: int) -> None:
    whole = without(random_codes(seed), missing)
    part = {grid: codes[:, 48 // grid :, 24 // grid : 72 // grid].copy() for grid, codes in whole.items()}
    fill_codes(whole, missing)
    fill_codes(part, missing)
    for grid, codes in part.items():
        np.testing.assert_array_equal(codes, whole[grid][:, 48 // grid :, 24 // grid : 72 // grid])


@pytest.mark.parametrize("band", list(Band))
def test_over_even_ground_a_band_is_the_sum_that_the_table_says(band: Band) -> None:
    reflectance = {one: 0.1 + 0.02 * place for place, one in enumerate(Band)}
    codes = {
        grid: np.zeros((len(bands), 48 // grid, 48 // grid), np.uint8)
        for grid, bands in BANDS_OF_GRID.items()
    }
    for one, value in reflectance.items():
        plane_of(codes, one)[...] = round(255 * (value / 1.6) ** 0.5)
    codes = without(codes, {band})
    fill_codes(codes, {band})
    likely = sum(factor * reflectance[one] for one, factor in LIKELY[band].factors.items())
    expected = 255 * (max(likely + LIKELY[band].constant, 0) / 1.6) ** 0.5
    assert np.abs(plane_of(codes, band).astype(float) - expected).max() < 2


def test_what_has_no_data_stays_without() -> None:
    codes = without(random_codes(1), {Band.B11})
    codes[Grid.R20M][:, :10, 5:] = 0
    fill_codes(codes, {Band.B11})
    np.testing.assert_array_equal(plane_of(codes, Band.B11) == 0, plane_of(codes, Band.B12) == 0)


def test_what_a_lost_band_sends_is_never_seen() -> None:
    """Two strips that differ in nothing but the noise of a lost band are cut into the same tiles."""
    grid, info = TileGrid(48, 96, 24), strip_info(96, 192)
    cut = []
    for noise in (0, 40_000):
        dn = random_dn(96, 192, 3)
        dn[Grid.R20M][BANDS_OF_GRID[Grid.R20M].index(Band.B11)] = noise
        source = ArraySource(info, dn)
        scheduler = Scheduler(info, grid, 2, 48, NumpyArithmetic(), missing=[Band.B11])
        while rows := scheduler.rows_wanted:
            scheduler.feed(source.read(rows))
        tile = scheduler.next_tile()
        assert tile is not None
        cut.append((tile.codes[Grid.R20M].copy(), scheduler.counts(tile, Grid.R20M).copy()))
    for first, second in zip(*cut, strict=True):
        np.testing.assert_array_equal(first, second)
    codes, counts = cut[0]
    lost_plane = BANDS_OF_GRID[Grid.R20M].index(Band.B11)
    assert not counts[lost_plane].any(), "no data in its products"
    assert codes[0, lost_plane, 12:, 12:].all(), "likely codes for the networks"
