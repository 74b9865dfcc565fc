"""Rules of `payload.core.pictures`."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from payload.core.pictures import CLASS_COLOURS, compose, picture_pitch_px, thumbnail, true_colour
from payload.core.scene import no_data_stats
from payload.core.tiling import Tiling
from payload.types import SceneClass, TileGrid, TileRecord


@given(st.integers(1, 50), st.integers(1, 50), st.sampled_from([1, 2, 5, 12]))
def test_a_reduced_pixel_is_the_mean_of_its_square(rows: int, columns: int, pitch: int) -> None:
    counts = np.random.default_rng(rows).integers(1000, 6000, (4, rows, columns)).astype(np.uint16)
    small = true_colour(counts, pitch)
    assert small.shape == (3, -(-rows // pitch), -(-columns // pitch))
    red = counts[2, -(-rows // pitch) * pitch - pitch :, -(-columns // pitch) * pitch - pitch :].mean()
    assert abs(int(small[0, -1, -1]) - 255 * np.sqrt((red - 1000) / 5000)) <= 0.51


def test_brightness_is_fixed_and_no_data_is_black() -> None:
    counts = np.zeros((4, 1, 4), np.uint16)
    counts[:, 0] = [0, 1000, 2250, 9000]
    assert true_colour(counts, 1)[0, 0].tolist() == [0, 0, 128, 255]


def test_a_square_that_is_partly_without_data_shows_what_it_has() -> None:
    counts = np.full((4, 24, 24), 2250, np.uint16)
    counts[:, :11, :12] = 0
    counts[:, 12:, :12] = 0
    assert true_colour(counts, 12)[0].tolist() == [[128, 128], [0, 128]]


def test_the_picture_of_a_strip_is_its_tiles_in_their_places() -> None:
    tiles = TileGrid(48, 96, 24)
    tiling = Tiling(tiles, 100, 200)
    counts = np.random.default_rng(1).integers(1000, 6000, (4, 100, 200)).astype(np.uint16)
    classes = np.random.default_rng(2).integers(0, 4, (100, 200)).astype(np.uint8)
    records = []
    for index in range(tiling.tiles):
        inner = tiling.inner(index)
        place = slice(inner.row, inner.row_end), slice(inner.col, inner.col_end)
        here = counts[:, place[0], place[1]]
        small = thumbnail(true_colour(here, 4), classes[place], here, 4)
        records.append(TileRecord("s", index, inner, no_data_stats(inner), {}, {}, {}, small))
    picture = compose(records, 100, 200, 4)
    assert picture.shape == (25, 3 * 50 + 12, 3)
    np.testing.assert_array_equal(picture[:, :50], true_colour(counts, 4).transpose(1, 2, 0))
    np.testing.assert_array_equal(picture[:, 112:], picture[:, :50])
    colours = np.array([CLASS_COLOURS[SceneClass(c)] for c in range(4)])
    np.testing.assert_array_equal(picture[:, 56:106], colours[classes[::4, ::4]])


@given(st.integers(1, 40000), st.integers(1, 20000))
def test_no_panel_is_longer_than_1000_pixels_unless_the_tiles_forbid_it(rows: int, columns: int) -> None:
    pitch = picture_pitch_px(TileGrid(240, 1104, 72), rows, columns)
    assert 240 % pitch == 0
    assert 1104 % pitch == 0
    if pitch < 48:
        assert max(rows, columns) <= 1000 * pitch
