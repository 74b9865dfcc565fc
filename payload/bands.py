"""Where a band lies in per-grid arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from payload.types import BANDS_OF_GRID, Band, Grid

GRID_OF_BAND: Mapping[Band, Grid] = {band: grid for grid, bands in BANDS_OF_GRID.items() for band in bands}

_Sample = TypeVar("_Sample", bound=np.generic)


def plane_of(planes: Mapping[Grid, NDArray[_Sample]], band: Band) -> NDArray[_Sample]:
    """The plane (row, col) of ``band``, a view, from per-grid arrays (band, row, col)."""
    grid = GRID_OF_BAND[band]
    plane: NDArray[_Sample] = planes[grid][BANDS_OF_GRID[grid].index(band)]
    return plane
