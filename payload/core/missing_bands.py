"""What networks read where a band of the instrument is missing: what other bands say of it.

Rules:
1. A band that is missing has no sample, whatever its detector sends; its products are no data.
2. Its codes are those of a sum of other bands' reflectance, `LIKELY`, each averaged over the band's own
   pixel or, where it is coarser, as it is there; 0 where the bands of its grid have no data.
3. Where one of those others is missing too, the band stays dark.
4. A sample hangs on no other pixel than its own square of 60 m: it is the same in every tile.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from payload.bands import GRID_OF_BAND, plane_of
from payload.core.radiometry import FULL_SCALE_REFLECTANCE, codes_of
from payload.types import BANDS_OF_GRID, F32, NO_DATA_COUNTS, U8, U16, Band, Grid

_ROWS_PX = 48  # of the 10 m grid, filled at a time: what it takes stays small


@dataclass(frozen=True, slots=True)
class Likely:
    """A sum of factors times reflectance, and a constant."""

    factors: Mapping[Band, float]
    constant: float


LIKELY: Mapping[Band, Likely] = {
    Band.B01: Likely({Band.B02: 0.952}, 0.037),
    Band.B02: Likely({Band.B01: 0.375, Band.B03: 0.646}, -0.001),
    Band.B03: Likely({Band.B02: 0.469, Band.B04: 0.475}, 0.005),
    Band.B04: Likely({Band.B03: 0.768, Band.B05: 0.314}, -0.024),
    Band.B05: Likely({Band.B04: 0.770, Band.B06: 0.227}, -0.003),
    Band.B06: Likely({Band.B05: 0.296, Band.B07: 0.684}, 0.000),
    Band.B07: Likely({Band.B06: 0.402, Band.B8A: 0.602}, 0.002),
    Band.B08: Likely({Band.B07: 0.957}, -0.002),
    Band.B8A: Likely({Band.B07: 1.059}, 0.001),
    Band.B09: Likely({Band.B8A: 0.329}, -0.014),
    Band.B10: Likely({Band.B01: 0.001, Band.B09: 0.036}, 0.000),
    Band.B11: Likely({Band.B12: 0.949, Band.B8A: 0.229}, 0.007),
    Band.B12: Likely({Band.B11: 0.724}, -0.012),
}
"""Least squares on real images of clear and cloudy ground (`python -m tools.networks.missing_bands`)."""

_REFLECTANCE: F32 = (FULL_SCALE_REFLECTANCE * (np.arange(256) / 255.0) ** 2).astype(np.float32)


def fill_codes(codes: Mapping[Grid, U8], missing: Collection[Band]) -> None:
    """Write, in place, the codes of every missing band that others tell of.

    Args:
        codes: per grid, uint8 (band, row, col) of one window, rows and columns whole on every grid.
    """
    for band in missing:
        beside = [one for one in BANDS_OF_GRID[GRID_OF_BAND[band]] if one not in missing]
        if beside and not any(other in missing for other in LIKELY[band].factors):
            _fill(codes, band, beside[0])


def _fill(codes: Mapping[Grid, U8], band: Band, beside: Band) -> None:
    grid = GRID_OF_BAND[band]
    for row_px in range(0, codes[Grid.R10M].shape[1], _ROWS_PX):
        here = slice(row_px // grid, (row_px + _ROWS_PX) // grid)
        total = np.float32(LIKELY[band].constant)
        for other, factor in LIKELY[band].factors.items():
            total = total + np.float32(factor) * _reflectance_on(codes, other, grid, row_px)
        likely = codes_of(np.maximum(total, 0))
        has_data = plane_of(codes, beside)[here] > 0
        plane_of(codes, band)[here] = likely * has_data


def darken(counts: U16, grid: Grid, missing: Collection[Band]) -> None:
    """Rule 1: take away, in place, what the detectors of missing bands sent, uint16 (band, row, col)."""
    for plane, band in zip(counts, BANDS_OF_GRID[grid], strict=True):
        if band in missing:
            plane[...] = NO_DATA_COUNTS


def _reflectance_on(codes: Mapping[Grid, U8], band: Band, grid: Grid, row_px: int) -> F32:
    """Some rows of a band on the pixels of ``grid``."""
    own = GRID_OF_BAND[band]
    plane = _REFLECTANCE[plane_of(codes, band)[row_px // own : (row_px + _ROWS_PX) // own]]
    return on_grid(plane, own, grid)


def on_grid(plane: F32, own: Grid, grid: Grid) -> F32:
    """A plane of grid ``own`` on ``grid``: means of whole squares, or repeated where its own is coarser."""
    if grid < own:
        return plane.repeat(own // grid, axis=0).repeat(own // grid, axis=1)
    side = grid // own
    rows, cols = plane.shape[0] // side, plane.shape[1] // side
    squares = plane[: rows * side, : cols * side].reshape(rows, side, cols, side)
    means: F32 = squares.mean(axis=(1, 3), dtype=np.float32)
    return means
