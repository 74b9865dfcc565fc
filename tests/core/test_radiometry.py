"""Rules of `payload.core.radiometry`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from payload.core.radiometry import DnScale, code_table, geometry_input, valid_mask
from payload.types import BANDS_OF_GRID, Band, Grid
from tests.core.strip_in_memory import strip_info

every_dn = np.arange(65536, dtype=np.uint16)


def counts_of(offset_dn: int, quantification_dn: int) -> np.ndarray:
    dn = np.broadcast_to(every_dn, (3, 1, 65536)).copy()
    out = np.zeros_like(dn)
    DnScale(dict.fromkeys(Band, offset_dn), quantification_dn).to_counts(dn, Grid.R60M, out)
    assert (out[0] == out[1]).all()
    return out[0, 0]


def test_counts_of_baseline_0400_are_its_own_numbers() -> None:
    np.testing.assert_array_equal(counts_of(-1000, 10000), every_dn)


@given(st.integers(-2000, 2000), st.sampled_from([1000, 5000, 10000, 20000]))
def test_counts_say_the_same_reflectance_whatever_the_source(offset: int, quantification: int) -> None:
    counts = counts_of(offset, quantification)
    reflectance = (every_dn.astype(float) + offset) / quantification
    inside = (counts > 1) & (counts < 65535)
    np.testing.assert_allclose((counts[inside] - 1000.0) / 10000, reflectance[inside], atol=0.51e-4)


@given(st.integers(-2000, 2000), st.sampled_from([1000, 10000, 20000]))
def test_data_never_becomes_no_data_nor_the_reverse(offset: int, quantification: int) -> None:
    np.testing.assert_array_equal(counts_of(offset, quantification) == 0, every_dn == 0)


def test_a_band_that_is_0_where_others_are_not_is_dark_and_not_missing() -> None:
    """Before baseline 04.00 water may be 0 in the short-wave infrared."""
    dn = np.zeros((6, 1, 3), dtype=np.uint16)
    dn[:, 0, 1:] = 300
    dn[5, 0, 2] = 0
    out = np.zeros_like(dn)
    DnScale(dict.fromkeys(Band, 0), 10000).to_counts(dn, Grid.R20M, out)
    assert out[:, 0].T.tolist() == [[0] * 6, [1300] * 6, [1300] * 5 + [1000]]
    assert valid_mask({Grid.R20M: out}, 2, 6).tolist() == [[False] * 2 + [True] * 4] * 2


def test_offsets_are_per_band() -> None:
    dn = np.full((3, 2, 2), 500, dtype=np.uint16)
    offsets = dict.fromkeys(Band, 0) | {BANDS_OF_GRID[Grid.R60M][1]: -100}
    out = np.zeros_like(dn)
    DnScale(offsets, 10000).to_counts(dn, Grid.R60M, out)
    assert out[:, 0, 0].tolist() == [1500, 1400, 1500]


def test_codes_follow_the_square_root_and_keep_0_for_no_data() -> None:
    table = code_table()
    assert table[0] == 0
    assert table[1:].min() == 1
    assert (np.diff(table[1:].astype(int)) >= 0).all()
    for reflectance in (0.01, 0.1, 0.4, 1.0, 1.6):
        code = table[round(reflectance * 10000) + 1000]
        assert abs((code / 255) ** 2 * 1.6 - reflectance) <= 2 * 0.5 / 255 * np.sqrt(1.6 * reflectance) + 1e-4
    assert table[65535] == 255


def test_a_pixel_is_valid_only_where_every_grid_has_data() -> None:
    counts = {g: np.ones((len(b), -(-13 // g), -(-17 // g)), np.uint16) for g, b in BANDS_OF_GRID.items()}
    assert valid_mask(counts, 13, 17).all()
    counts[Grid.R10M][:, 0, 0] = 0
    counts[Grid.R20M][:, 6, 8] = 0
    counts[Grid.R60M][:, 1, 0] = 0
    counts[Grid.R20M][5, 0, 0:3] = 0
    expected = np.ones((13, 17), dtype=bool)
    expected[0, 0] = False
    expected[12:, 16:] = False
    expected[6:12, 0:6] = False
    np.testing.assert_array_equal(valid_mask(counts, 13, 17), expected)


def test_geometry_is_cosines_and_all_zero_where_an_angle_is_unknown() -> None:
    angles = {"sun_zenith_deg": 60.0, "view_zenith_deg": 0.0, "sun_azimuth_deg": 150.0}
    known = geometry_input(strip_info(6, 6, **angles, view_azimuth_deg=90.0))
    assert known.shape == (1, 4, 1, 1)
    assert known.ravel().tolist() == pytest.approx([1, 0.5, 1, 0.5], abs=1e-6)
    assert not geometry_input(strip_info(6, 6, **angles)).any()
