"""Rules of `payload.core.surface`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from payload.core.arithmetic import NumpyArithmetic
from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.core.surface import CELL_PX, sigma_counts, surface_counts, without_cloud
from payload.drivers.arithmetic_openvino import OpenVinoArithmetic
from payload.ports import Arithmetic
from payload.types import BANDS_OF_GRID, SURFACE_BANDS_OF_GRID, Grid, SceneClass, TileGrid, Window

WIDEST_PX = 432
TILES = TileGrid(inner_rows_px=96, inner_columns_px=144, halo_px=72)
PLANES = {Grid.R10M: slice(0, 4), Grid.R20M: slice(4, 10), Grid.R60M: slice(10, 12)}


@pytest.fixture(params=["numpy", "compiled"], scope="module")
def arithmetic(request: pytest.FixtureRequest) -> Arithmetic:
    if request.param == "numpy":
        return NumpyArithmetic()
    return OpenVinoArithmetic({CELL_PX // grid: WIDEST_PX // grid for grid in Grid}, FULL_SCALE_REFLECTANCE)


def atmosphere(tiles: TileGrid, path: float, gain: float, albedo: float) -> np.ndarray:
    cells = (tiles.window_rows_px // CELL_PX, tiles.window_columns_px // CELL_PX)
    return np.broadcast_to(
        np.array([path, gain, albedo, 0.01], dtype=np.float32)[:, None, None, None], (4, 12, *cells)
    ).copy()


@given(st.floats(0, 0.3), st.floats(0.2, 1), st.floats(0, 0.4), st.sampled_from(list(Grid)))
@settings(max_examples=40, deadline=None)
def test_the_surface_that_was_put_in_comes_out(
    arithmetic: Arithmetic, path: float, gain: float, albedo: float, grid: Grid
) -> None:
    rng = np.random.default_rng(3)
    rows, columns = 96 // grid, 144 // grid
    bands = len(SURFACE_BANDS_OF_GRID[grid])
    surface = rng.uniform(0, 1, (bands, rows, columns))
    toa = path + gain * surface / (1 - albedo * surface)
    counts = np.rint(np.clip(toa * 10000 + 1000, 1, 65535)).astype(np.uint16)
    if grid is Grid.R60M:
        counts = np.concatenate([counts, counts[:1]])  # B10, which has no surface
    found = surface_counts(counts, atmosphere(TILES, path, gain, albedo), grid, TILES, arithmetic)
    assert found.shape == surface.shape
    np.testing.assert_allclose(found, surface * 10000 + 1000, atol=1.0 / gain + 0.6)


def test_no_data_stays_no_data_and_data_is_at_least_one_count(arithmetic: Arithmetic) -> None:
    counts = np.array([[[0, 1, 1000], [65535, 0, 1500]]] * 4, dtype=np.uint16)
    found = surface_counts(counts, atmosphere(TILES, 0.3, 0.5, 0.1), Grid.R10M, TILES, arithmetic)
    np.testing.assert_array_equal(found == 0, counts == 0)


def test_an_atmosphere_that_changes_linearly_is_interpolated_exactly(arithmetic: Arithmetic) -> None:
    air = atmosphere(TILES, 0.0, 1.0, 0.0)
    rows, columns = np.indices(air.shape[2:], dtype=np.float32)
    air[0] = 0.01 * rows + 0.002 * columns
    counts = np.full((4, 96, 144), 9000, dtype=np.uint16)
    found = surface_counts(counts, air, Grid.R10M, TILES, arithmetic)
    row, col = np.indices((96, 144))
    place = (row + 72 + 0.5) / CELL_PX - 0.5, (col + 72 + 0.5) / CELL_PX - 0.5
    expected = 9000 - 10000 * (0.01 * place[0] + 0.002 * place[1])
    assert np.abs(found[0] - expected).max() < 0.6


@pytest.mark.parametrize("grid", list(Grid))
def test_a_pixel_comes_out_the_same_in_whatever_tile_it_lies(arithmetic: Arithmetic, grid: Grid) -> None:
    rng = np.random.default_rng(4)
    rows, columns = 288, WIDEST_PX
    whole = TileGrid(rows, columns, 72)
    cells = (whole.window_rows_px // CELL_PX, whole.window_columns_px // CELL_PX)
    air = rng.uniform(0.05, 0.4, (4, 12, *cells)).astype(np.float32)
    counts = rng.integers(0, 12000, (len(BANDS_OF_GRID[grid]), rows // grid, columns // grid)).astype(
        np.uint16
    )
    untiled = surface_counts(counts, air, grid, whole, arithmetic)
    for row in range(0, rows, 96):
        for col in range(0, columns, 144):
            part = air[:, :, row // CELL_PX :, col // CELL_PX :][:, :, : 240 // CELL_PX, : 288 // CELL_PX]
            place = slice(row // grid, (row + 96) // grid), slice(col // grid, (col + 144) // grid)
            tiled = surface_counts(counts[:, place[0], place[1]], part, grid, TILES, arithmetic)
            np.testing.assert_array_equal(tiled, untiled[:, place[0], place[1]])


def test_a_clipped_inner_comes_out_as_in_a_full_one(arithmetic: Arithmetic) -> None:
    rng = np.random.default_rng(5)
    air = rng.uniform(0.05, 0.4, (4, 12, 10, 12)).astype(np.float32)
    counts = rng.integers(0, 12000, (4, 96, 144)).astype(np.uint16)
    full = surface_counts(counts, air, Grid.R10M, TILES, arithmetic)
    for rows, columns in ((1, 1), (13, 95), (37, 144), (96, 7)):
        clipped = surface_counts(counts[:, :rows, :columns], air, Grid.R10M, TILES, arithmetic)
        np.testing.assert_array_equal(clipped, full[:, :rows, :columns])


def test_sigma_is_in_counts_on_the_cells_of_the_inner() -> None:
    air = atmosphere(TILES, 0.1, 0.9, 0.1)
    air[3, PLANES[Grid.R20M]] = 0.02
    sigma = sigma_counts(air, Grid.R20M, TILES, Window(0, 0, 90, 100))
    assert sigma.shape == (6, 4, 5)
    np.testing.assert_allclose(sigma, 200)


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(list(Grid)), st.integers(0, 99))
def test_where_thick_cloud_is_all_over_a_sample_there_is_no_surface(
    rows: int, columns: int, grid: Grid, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    classes = rng.choice([0, 1, 1, 1, 2, 3, 255], (rows, columns)).astype(np.uint8)
    down, across = -(-rows // grid), -(-columns // grid)
    reflectance = rng.integers(1, 9000, (2, down, across)).astype(np.uint16)
    before = reflectance.copy()
    without_cloud(reflectance, classes, grid)
    for row in range(down):
        for col in range(across):
            square = classes[row * grid : (row + 1) * grid, col * grid : (col + 1) * grid]
            hidden = (square == SceneClass.THICK_CLOUD).all()
            expected = 0 if hidden else before[:, row, col]
            np.testing.assert_array_equal(reflectance[:, row, col], expected)
