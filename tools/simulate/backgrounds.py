"""Real ground under made-up skies: clear L1C patches inverted to surface reflectance.

Nobody measured the air over them, so they are inverted with a mild guess; the ground then is
plausible, not exact, which is all that a background must be: what lies above it is simulated,
and known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from payload.types import F32, Grid, Window
from tools import material
from tools.simulate.bands import BANDS, gas_transmittance, of_grid
from tools.simulate.geometry import Geometry
from tools.simulate.landscape import MAX_REFLECTANCE, MIN_REFLECTANCE
from tools.simulate.lookup import AirState, air

GUESSED_GEOMETRY = Geometry(38.0, 150.0, 4.0, 105.0)
GUESSED_STATE = AirState("continental", 0.05, 1.5, 0.32)
LEAST_PX = 252


@dataclass(frozen=True, slots=True, eq=False)
class RealGround:
    """A clear patch as ground. Beyond its edges it goes on as its mirror image.

    Attributes:
        grids: surface reflectance per native grid, bands in the order of BANDS_OF_GRID.
    """

    name: str
    grids: Mapping[Grid, F32]

    def native(self, window: Window) -> dict[Grid, F32]:
        """Surface reflectance per native grid; window in multiples of 6 px."""
        return {grid: self._cut(planes, window, int(grid)) for grid, planes in self.grids.items()}

    def _cut(self, planes: F32, window: Window, pitch: int) -> F32:
        row = _mirrored(np.arange(window.row // pitch, window.row_end // pitch), planes.shape[1])
        col = _mirrored(np.arange(window.col // pitch, window.col_end // pitch), planes.shape[2])
        return planes[:, row[:, None], col[None, :]]

    def spaced(self, window: Window, step: int) -> F32:
        """Mean reflectance (13, rows, cols) of blocks of 60 m at every ``step``-th pixel."""
        coarse = np.empty((len(BANDS), *self.grids[Grid.R60M].shape[1:]), np.float32)
        for grid, planes in self.grids.items():
            coarse[of_grid(grid)] = means_to_60m(planes, grid)
        row = _mirrored(np.arange(window.row, window.row_end, step) // 6, coarse.shape[1])
        col = _mirrored(np.arange(window.col, window.col_end, step) // 6, coarse.shape[2])
        return coarse[:, row[:, None], col[None, :]]

    def slope_light(self, window: Window, towards_sun: tuple[float, float], cos_sun: float) -> None:
        """Its slopes are lit in the picture already."""
        del window, towards_sun, cos_sun

    def turned(self, quarters: int, *, flip: bool) -> RealGround:
        """The ground turned by quarters and perhaps mirrored."""
        grids = {}
        for grid, planes in self.grids.items():
            planes = np.rot90(planes, quarters, (1, 2))
            grids[grid] = np.ascontiguousarray(planes[..., ::-1] if flip else planes)
        return RealGround(self.name, grids)


def means_to_60m(planes: F32, grid: Grid) -> F32:
    """Planes of a native grid as means over 60 m."""
    pitch = 6 // int(grid)
    if pitch == 1:
        return planes
    bands, rows, cols = planes.shape
    return planes.reshape(bands, rows // pitch, pitch, cols // pitch, pitch).mean(axis=(2, 4))


def _mirrored(place: np.ndarray, size: int) -> np.ndarray:
    """Places reflected into 0 .. size - 1."""
    place = np.abs(place * 2 + 1) // 2 % (2 * size)
    return np.where(place >= size, 2 * size - 1 - place, place)


def to_ground(patch: material.Patch) -> RealGround:
    """A clear patch inverted to surface. B09 and B10, where water vapour hides the ground, follow
    their neighbours."""
    above = air(GUESSED_STATE, GUESSED_GEOMETRY)
    mass = 1 / GUESSED_GEOMETRY.cos_sun + 1 / GUESSED_GEOMETRY.cos_view
    gas = gas_transmittance(GUESSED_STATE.water_cm, GUESSED_STATE.ozone_cm_atm, 1.0, mass)
    grids = {}
    for grid, planes in patch.grids.items():
        bands = of_grid(grid)
        path, through, sphere = (
            values[bands][:, None, None]
            for values in (above.path * gas, above.down * above.up * gas, above.sphere)
        )
        rows, cols = (size // 6 * 6 // int(grid) for size in patch.grids[Grid.R10M].shape[1:])
        lit = (planes[:, :rows, :cols] - path) / through
        grids[grid] = np.clip(lit / (1 + sphere * lit), MIN_REFLECTANCE, MAX_REFLECTANCE).astype(np.float32)
    b8a, b11 = (means_to_60m(grids[Grid.R20M][place : place + 1], Grid.R20M)[0] for place in (3, 4))
    grids[Grid.R60M][1] = b8a
    grids[Grid.R60M][2] = (b8a + b11) / 2
    return RealGround(patch.name, grids)


def real_backgrounds(shared: Path, split: str = "train") -> list[RealGround]:
    """Grounds from the clear patches of l1c/``split`` ('train' or 'val').

    Raises:
        FileNotFoundError: ``shared`` holds no material.
    """
    grounds = []
    for patch in material.clear_patches(shared, split):
        valid = min(_whole(planes, grid) for grid, planes in patch.grids.items())
        if valid >= LEAST_PX:
            cut = {grid: p[:, : LEAST_PX // grid, : LEAST_PX // grid] for grid, p in patch.grids.items()}
            grounds.append(to_ground(material.Patch(patch.name, patch.group, cut, None)))
    return grounds


def _whole(planes: F32, grid: Grid) -> int:
    """Side in 10 m pixels of the largest square from the upper left that has data throughout."""
    seen = (planes != 0).any(axis=0)
    side = min(planes.shape[1:])
    while side and not seen[:side, :side].all():
        side -= 1
    return side * int(grid)
