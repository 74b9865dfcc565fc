"""Sensors with fewer bands, each band as the nearest of Sentinel-2's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from payload.types import BANDS_OF_GRID, Band, Grid
from tools.material import Patch

FULL = "sentinel2"
PROFILES: dict[str, tuple[Band, ...]] = {
    FULL: tuple(Band),
    "probav": (Band.B02, Band.B04, Band.B08, Band.B11),
    "planetscope": (Band.B02, Band.B03, Band.B04, Band.B08),
    "phisat2": (Band.B02, Band.B03, Band.B04, Band.B05, Band.B06, Band.B07, Band.B08),
}
"""Full Sentinel-2; Proba-V and its cubesat companion; PlanetScope; Phi-Sat-2 without its PAN."""


def hide(planes: Mapping[Grid, NDArray[Any]], profile: str) -> None:
    """Put 0, no data, into every band (band, row, col) that a sensor lacks, in place."""
    for grid, bands in BANDS_OF_GRID.items():
        planes[grid][[band not in PROFILES[profile] for band in bands]] = 0


def seen_by(patch: Patch, profile: str) -> Patch:
    """The patch without the bands that a sensor lacks."""
    if profile == FULL:
        return patch
    grids = {grid: plane.copy() for grid, plane in patch.grids.items()}
    hide(grids, profile)
    return replace(patch, grids=grids)
