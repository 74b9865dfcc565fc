"""What an instrument makes of the light: blur, noise, whole numbers, and what is missing.

MTF at the Nyquist frequency: Sentinel-2A as measured (CNES, public in sensorsio). Noise:
signal-to-noise ratio at the reference radiance as specified (ESA Sentinel-2 MSI technical
guide), half of it read noise, half photons, at that radiance; solar irradiance after Thuillier
as in the product metadata of Sentinel-2A.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from payload.types import COUNTS_OFFSET, F32, U16, Grid
from tools.simulate.bands import BANDS, of_grid

BOX_MTF = 0.637
"""Of averaging over a pixel, at Nyquist: sampling has this already."""
NYQUIST_MTF = dict(
    zip(
        BANDS,
        (0.34, 0.304, 0.276, 0.233, 0.343, 0.336, 0.338, 0.222, 0.325, 0.39, 0.34, 0.21, 0.19),
        strict=True,
    )
)
REFERENCE_RADIANCE = (129, 128, 128, 108, 74.5, 68, 67, 103, 52.5, 9, 6, 4, 1.5)
SIGNAL_TO_NOISE = (129, 154, 168, 142, 117, 89, 105, 174, 72, 114, 50, 100, 100)
SOLAR_IRRADIANCE = (
    *(1884.69, 1959.66, 1823.24, 1512.06, 1424.64, 1287.61, 1162.08),
    *(1041.63, 955.32, 812.92, 367.15, 245.59, 85.25),
)
GAIN_ERROR = 0.01
"""Standard deviation of a band's calibration (3 % absolute is specified, 1 % between bands)."""
STRAY_LIGHT_B10 = 0.0016
"""Clear lowland shows up to this much in B10 beyond what the gases let through."""
SATURATED_REFLECTANCE = 1.6
"""At a sun in the zenith; a lower sun saturates at a higher reflectance."""
QUANTIFICATION_DN = 10000


@dataclass(frozen=True, slots=True)
class Flaws:
    """What an acquisition lacks. All off by default.

    Attributes:
        wedge_tangent, wedge_edge_px: no data beyond a slanted edge (columns that the swath has
            at row 0, and how many fewer per row); None for a full swath.
        dead_columns: columns of the 10 m grid that stay without data in one 10 m band.
        dead_band: which of the 10 m bands.
    """

    wedge_tangent: float = 0.0
    wedge_edge_px: float | None = None
    dead_columns: tuple[int, ...] = ()
    dead_band: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Instrument:
    """One instrument on one day: errors of calibration and stray light (13,), and flaws."""

    gain: F32
    stray: F32
    cos_sun: float
    flaws: Flaws

    def sees(self, top: Mapping[Grid, F32], rng: np.random.Generator) -> dict[Grid, F32]:
        """Reflectance with blur, calibration error, noise and saturation."""
        seen = {}
        for grid, planes in top.items():
            bands = of_grid(grid)
            blurred = np.stack(
                [_blurred(plane, _taps(band)) for plane, band in zip(planes, bands, strict=True)]
            )
            exact = blurred * self.gain[bands][:, None, None] + self.stray[bands][:, None, None]
            noisy = exact + noise_deviation(exact, bands, self.cos_sun) * rng.standard_normal(
                exact.shape, dtype=np.float32
            )
            seen[grid] = np.minimum(noisy, np.float32(SATURATED_REFLECTANCE / self.cos_sun))
        return seen

    def counts(self, seen: Mapping[Grid, F32], row: int, col: int) -> dict[Grid, U16]:
        """Whole numbers, reflectance x 10000 + 1000, 0 where the flaws leave nothing.

        ``row`` and ``col`` say where in the scene the planes begin.
        """
        made = {}
        for grid, planes in seen.items():
            dn = np.clip(np.rint(planes * QUANTIFICATION_DN) + COUNTS_OFFSET, 1, 65535).astype(np.uint16)
            dn *= self._received(grid, planes.shape[1:], row, col)
            if grid is Grid.R10M:
                for column in self.flaws.dead_columns:
                    if col <= column < col + dn.shape[2]:
                        dn[self.flaws.dead_band, :, column - col] = 0
            made[grid] = dn
        return made

    def _received(self, grid: Grid, shape: tuple[int, ...], row: int, col: int) -> np.ndarray:
        """True where the whole pixel lies inside the swath."""
        if self.flaws.wedge_edge_px is None:
            return np.ones(shape, bool)
        last_row = row + (np.arange(shape[0])[:, None] + 1) * int(grid)
        last_col = col + (np.arange(shape[1])[None, :] + 1) * int(grid)
        return np.asarray(last_col <= self.flaws.wedge_edge_px - self.flaws.wedge_tangent * last_row)


def draw_instrument(rng: np.random.Generator, cos_sun: float, flaws: Flaws | None = None) -> Instrument:
    """An instrument with the calibration errors of one day."""
    gain = np.exp(rng.normal(0, GAIN_ERROR, len(BANDS))).astype(np.float32)
    stray = np.zeros(len(BANDS), np.float32)
    stray[10] = rng.uniform(0, STRAY_LIGHT_B10)
    return Instrument(gain, stray, cos_sun, flaws or Flaws())


def noise_deviation(reflectance: F32, bands: list[int], cos_sun: float) -> F32:
    """Standard deviation of the noise at a reflectance (band, rows, cols)."""
    radiance, ratio, sun = (
        np.asarray(row, np.float32)[bands][:, None, None]
        for row in (REFERENCE_RADIANCE, SIGNAL_TO_NOISE, SOLAR_IRRADIANCE)
    )
    reference = radiance * np.float32(np.pi / cos_sun) / sun
    share = 0.5 + 0.5 * np.maximum(reflectance, 0) / reference
    return np.asarray(reference / ratio * np.sqrt(share), np.float32)


def _taps(band: int) -> float:
    """Weight of each neighbour of a three-pixel Gaussian that gives the band its MTF."""
    left = min(NYQUIST_MTF[BANDS[band]] / BOX_MTF, 1.0)
    return (1.0 - left) / 4.0


def _blurred(plane: F32, side: float) -> F32:
    """The plane after a separable (side, 1 - 2 side, side); edge pixels repeat."""
    weight, middle = np.float32(side), np.float32(1 - 2 * side)
    for axis in (0, 1):
        padded = np.pad(plane, [(1, 1) if axis == this else (0, 0) for this in (0, 1)], mode="edge")
        before, after = (padded[:-2], padded[2:]) if axis == 0 else (padded[:, :-2], padded[:, 2:])
        plane = middle * plane + weight * (before + after)
    return plane
