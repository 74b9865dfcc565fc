"""Top-of-atmosphere to surface reflectance, in closed form on the native grids.

Rules:
1. For a uniform Lambertian surface, rho = rho_path + T rho_s / (1 - S rho_s), with the
   path reflectance, the two-way transmittance (gases included) and the spherical albedo of
   the atmosphere (Vermote et al. 1997, 6S). Solved for the surface:
   y = (rho - rho_path) / T,  rho_s = y / (1 + S y).
2. The three quantities come on cells of 240 m. What is interpolated bilinearly between cell
   centres, along columns first, then along rows, is the map they make of counts: its gain
   1 / T, its shift rho_path / T, and S. Weights depend only on a pixel's place in its cell,
   so a pixel comes out the same to the last bit in whatever tile it lies.
3. No data stays no data, and what has data is at least 1 count.
4. Where thick cloud hides the surface there is no surface reflectance: 0, no data. What is
   not sent leaves room for what is seen; the class map says why it is not there.

No halo is needed beyond one cell; the spatial detail is the instrument's own.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from payload.ports import Arithmetic
from payload.types import (
    BANDS_OF_GRID,
    COUNTS_OFFSET,
    COUNTS_PER_REFLECTANCE,
    F32,
    SURFACE_BANDS_OF_GRID,
    U8,
    U16,
    Grid,
    SceneClass,
    TileGrid,
    Window,
)

CELL_PX = 24
"""Pitch of the atmosphere's cells in 10 m pixels; divides every window, whole on every grid."""


def surface_counts(counts: U16, atmosphere: F32, grid: Grid, tiles: TileGrid, arithmetic: Arithmetic) -> U16:
    """Surface reflectance of a tile's inner.

    Args:
        counts: uint16 (band, row, col) of the inner, all bands of ``grid``.
        atmosphere: float32 (4, 12, row, col) on the cells of the window, see `Inference`.
        grid: which native grid.
        tiles: tells how far the window reaches beyond the inner.
        arithmetic: solves the equation.

    Returns:
        uint16 (band, row, col) counts, bands of SURFACE_BANDS_OF_GRID.
    """
    bands = len(SURFACE_BANDS_OF_GRID[grid])
    assert BANDS_OF_GRID[grid][:bands] == SURFACE_BANDS_OF_GRID[grid], "B10 comes last"
    planes = _planes_of(grid)
    _, rows, columns = counts.shape
    margin = tiles.halo_px // CELL_PX
    cell = CELL_PX // grid
    cell_rows, cell_columns = -(-rows // cell), -(-columns // cell)
    around = (
        slice(margin - 1, margin + cell_rows + 1),
        slice(margin - 1, margin + cell_columns + 1),
    )
    path, gain, albedo = atmosphere[:3, planes][:, :, around[0], around[1]]
    # counts -> y is affine: y = (counts - 1000) * scale - shift, with everything in counts.
    scale = np.float32(1) / gain
    shift = (path * np.float32(COUNTS_PER_REFLECTANCE) + np.float32(COUNTS_OFFSET)) * scale
    albedo = albedo / np.float32(COUNTS_PER_REFLECTANCE)
    coefficients = np.empty((3, *scale.shape[:2], columns), dtype=np.float32)
    for quantity, fine in zip((scale, shift, albedo), coefficients, strict=True):
        fine[...] = _across(quantity, cell, columns)
    out = np.empty((bands, rows, columns), dtype=np.uint16)
    arithmetic.invert(counts[:bands], coefficients, cell, out)
    return out


def _planes_of(grid: Grid) -> slice:
    start = 0
    for other, bands in SURFACE_BANDS_OF_GRID.items():
        if other == grid:
            return slice(start, start + len(bands))
        start += len(bands)
    raise AssertionError(grid)


def cell_weights(cell: int) -> F32:
    """How far a sample lies on the way from one cell centre to the next: float32 (cell,)."""
    return ((np.arange(cell) + 0.5) / cell).astype(np.float32)


def _across(cells: F32, cell: int, columns: int) -> F32:
    """Interpolate along columns: (band, cell row, cell col) to (band, cell row, column)."""
    step = cells[:, :, 1:] - cells[:, :, :-1]
    fine = cells[:, :, :-1, None] + step[..., None] * cell_weights(cell)
    fine = fine.reshape(*fine.shape[:2], -1)
    first = cell // 2  # the first cell centre lies half a cell before the inner
    return fine[:, :, first : first + columns]


def sigma_counts(atmosphere: F32, grid: Grid, tiles: TileGrid, inner: Window) -> F32:
    """Standard deviation of the surface reflectance, in counts, on the cells of the inner.

    Returns:
        float32 (band, cell row, cell col), bands of SURFACE_BANDS_OF_GRID[grid].
    """
    margin = tiles.halo_px // CELL_PX
    rows = slice(margin, margin - (-inner.rows // CELL_PX))
    cols = slice(margin, margin - (-inner.cols // CELL_PX))
    sigma: F32 = atmosphere[3, _planes_of(grid), rows, cols] * np.float32(COUNTS_PER_REFLECTANCE)
    return sigma


def without_cloud(reflectance: U16, classes: U8, grid: Grid) -> None:
    """Take away, in place, every sample that is thick cloud all over: no surface is seen there.

    Args:
        reflectance: uint16 counts (band, row, col).
        classes: SceneClass as uint8 (row, col), 10 m.
    """
    seen = classes != SceneClass.THICK_CLOUD
    _, rows, columns = reflectance.shape
    if grid != Grid.R10M:
        padding = ((0, rows * grid - seen.shape[0]), (0, columns * grid - seen.shape[1]))
        if any(after for _, after in padding):
            seen = np.pad(seen, padding)
        down = _any_of(seen[step::grid] for step in range(grid))
        seen = _any_of(down[:, step::grid] for step in range(grid))
    if not seen.all():
        reflectance *= seen.astype(np.uint16)  # cast once, not for every band


def _any_of(planes: Iterable[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Where any plane is true; planes of bytes one by one, not an axis of six."""
    first, *others = planes
    any_of: NDArray[np.bool_] = first.copy()
    for plane in others:
        any_of |= plane
    return any_of
