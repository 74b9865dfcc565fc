"""Other instruments over the same scenes: their bands, pixels and noise.

A band is a weighted sum of Sentinel-2 bands: a spectrum is taken as straight lines between
eleven of them (B09 and B10, where water vapour absorbs, left out), and averaged over the
band's response. The weights below were worked out once, at 1 nm steps, from measured
responses where there are any:

- PlanetScope: SuperDove responses (Planet, Superdove.csv), bands Blue, Green, Red and NIR.
- Pleiades: 1A responses (Airbus DS), multispectral bands and panchromatic.
- Landsat 8 OLI: responses of NASA GSFC (Barsi et al. 2014, Remote Sens. 6, 10232), without the
  cirrus band, which Sentinel-2's B10 stands for.
- Proba-V, and its cubesat companion PV-CC: Gaussians of the centres and widths that ESA gives.
- Phi-Sat-2: bands like Sentinel-2's B02 .. B07 and B08, and a panchromatic one, 0.50 to 0.80 um.

Signal-to-noise ratios at the stated radiance (W m-2 sr-1 um-1). Specified: Landsat 8 (Irons et al.
2012, Remote Sens. Environ. 122, 11), Proba-V (Dierckx et al. 2014, Int. J. Remote Sensing 35,
2565), Pleiades (at least 90; CNES); entered without the documents at hand, so check them before a
figure hangs on it. Assumed for want of a published figure at such a radiance: PlanetScope 80 (over water,
which is darker, 26 to 98 in the visible and 8 at 0.865 um: Kabir et al. 2025, Front. Remote Sens. 6,
1624783), Phi-Sat-2 90.

Limit: scenes have 10 m pixels; an instrument that sees finer ones is simulated at 10 m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from payload.types import F32, Grid
from tools.simulate.bands import BANDS, of_grid
from tools.simulate.instrument import REFERENCE_RADIANCE, SIGNAL_TO_NOISE, SOLAR_IRRADIANCE

KNOTS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12)
"""Places in BANDS of the bands between which spectra are straight."""


@dataclass(frozen=True, slots=True)
class SensorBand:
    """One band.

    Attributes:
        centre_um, width_um: mean wavelength and full width at half maximum.
        weights: shares of KNOTS.
        radiance, signal_to_noise: where the ratio is specified (W m-2 sr-1 um-1), and the ratio.
    """

    name: str
    centre_um: float
    width_um: float
    weights: tuple[float, ...]
    radiance: float
    signal_to_noise: float

    def mean_of(self, values: F32) -> float:
        """The band's value of a quantity known for the 13 bands."""
        return float(np.dot(self.weights, values[list(KNOTS)]) / sum(self.weights))


@dataclass(frozen=True, slots=True)
class Sensor:
    """An instrument: its bands, all with one pixel of ``pixel_m`` on a scene of 10 m pixels."""

    name: str
    pixel_m: float
    bands: tuple[SensorBand, ...]

    @property
    def pitch(self) -> int:
        """Pixels of 10 m along the side of one of its own, at least 1."""
        return max(1, round(self.pixel_m / 10.0))


def _sentinel2(place: int) -> SensorBand:
    weights = tuple(1.0 if knot == place else 0.0 for knot in KNOTS)
    widths = (0.020, 0.065, 0.035, 0.030, 0.014, 0.014, 0.019, 0.105, 0.021, 0.019, 0.029, 0.090, 0.174)
    centres = (0.443, 0.492, 0.560, 0.665, 0.704, 0.741, 0.783, 0.833, 0.865, 0.945, 1.374, 1.614, 2.202)
    return SensorBand(
        BANDS[place].value,
        centres[place],
        widths[place],
        weights,
        REFERENCE_RADIANCE[place],
        SIGNAL_TO_NOISE[place],
    )


_PLANETSCOPE_SNR, _PLEIADES_SNR, _PHISAT2_SNR = 80.0, 90.0, 90.0

SENSORS: Mapping[str, Sensor] = {
    "planetscope": Sensor(
        "planetscope",
        3.0,
        (
            SensorBand("blue", 0.492, 0.052, (0.15, 0.76, 0.09, *[0] * 8), 128, _PLANETSCOPE_SNR),
            SensorBand("green", 0.566, 0.038, (0, 0.036, 0.883, 0.081, *[0] * 7), 128, _PLANETSCOPE_SNR),
            SensorBand("red", 0.666, 0.032, (0, 0, 0.034, 0.842, 0.124, *[0] * 6), 108, _PLANETSCOPE_SNR),
            SensorBand("nir", 0.866, 0.041, (*[0] * 7, 0.154, 0.838, 0.008, 0), 52, _PLANETSCOPE_SNR),
        ),
    ),
    "pleiades": Sensor(
        "pleiades",
        2.0,
        (
            SensorBand("blue", 0.501, 0.085, (0.226, 0.612, 0.162, *[0] * 8), 128, _PLEIADES_SNR),
            SensorBand("green", 0.561, 0.080, (0, 0.202, 0.726, 0.072, *[0] * 7), 128, _PLEIADES_SNR),
            SensorBand("red", 0.650, 0.079, (0, 0, 0.206, 0.704, 0.09, *[0] * 6), 108, _PLEIADES_SNR),
            SensorBand(
                "nir", 0.835, 0.129, (*[0] * 5, 0.028, 0.282, 0.306, 0.374, 0.01, 0), 103, _PLEIADES_SNR
            ),
            SensorBand(
                "pan", 0.657, 0.328, (0.006, 0.102, 0.235, 0.23, 0.13, 0.13, 0.13, 0.037, 0, 0, 0), 103, 147
            ),
        ),
    ),
    "landsat8": Sensor(
        "landsat8",
        30.0,
        (
            SensorBand("coastal", 0.443, 0.015, (0.955, 0.045, *[0] * 9), 40, 130),
            SensorBand("blue", 0.483, 0.059, (0.266, 0.684, 0.05, *[0] * 8), 40, 100),
            SensorBand("green", 0.561, 0.057, (0, 0.097, 0.826, 0.077, *[0] * 7), 30, 90),
            SensorBand("red", 0.655, 0.037, (0, 0, 0.106, 0.867, 0.027, *[0] * 6), 22, 90),
            SensorBand("nir", 0.865, 0.027, (*[0] * 7, 0.119, 0.876, 0.005, 0), 14, 90),
            SensorBand("swir1", 1.609, 0.084, (*[0] * 8, 0.018, 0.967, 0.015), 4, 100),
            SensorBand("swir2", 2.201, 0.186, (*[0] * 9, 0.042, 0.958), 1.7, 100),
        ),
    ),
    "probav": Sensor(
        "probav",
        100.0,
        (
            SensorBand("blue", 0.460, 0.042, (0.625, 0.371, 0.004, *[0] * 8), 111, 155),
            SensorBand("red", 0.658, 0.082, (0, 0, 0.166, 0.598, 0.198, 0.036, 0.002, *[0] * 4), 110, 430),
            SensorBand("nir", 0.834, 0.121, (*[0] * 4, 0.014, 0.07, 0.227, 0.301, 0.377, 0.011, 0), 106, 529),
            SensorBand("swir", 1.610, 0.089, (*[0] * 8, 0.023, 0.954, 0.023), 20, 380),
        ),
    ),
    "phisat2": Sensor(
        "phisat2",
        4.75,
        (
            *(
                SensorBand(b.name, b.centre_um, b.width_um, b.weights, b.radiance, _PHISAT2_SNR)
                for b in map(_sentinel2, range(1, 8))
            ),
            SensorBand(
                "pan",
                0.65,
                0.30,
                (0, 0.09, 0.285, 0.24, 0.126, 0.131, 0.119, 0.009, 0, 0, 0),
                103,
                _PHISAT2_SNR,
            ),
        ),
    ),
}
"""By name; Sentinel-2 itself is what everything is simulated for."""


def seen_by(
    sensor: Sensor, top: Mapping[Grid, F32], cos_sun: float, rng: np.random.Generator
) -> dict[str, F32]:
    """Reflectance at the top of the atmosphere per band of ``sensor``, with its noise.

    Args:
        top: reflectance without noise on Sentinel-2's native grids (`render.Seen.top`), rows and
            columns multiples of the sensor's pitch; what is left over is cut off.

    Returns:
        float32 (rows / pitch, cols / pitch) for each band.
    """
    knots = [_at_10m(top, knot) for knot in KNOTS]
    pitch = sensor.pitch
    rows, cols = (size // pitch * pitch for size in knots[0].shape)
    seen = {}
    for band in sensor.bands:
        total = sum(band.weights)
        fine = np.zeros(knots[0].shape, np.float32)
        for weight, knot in zip(band.weights, knots, strict=True):
            if weight:
                fine += np.float32(weight / total) * knot
        blocks = fine[:rows, :cols].reshape(rows // pitch, pitch, cols // pitch, pitch)
        own = blocks.mean(axis=(1, 3), dtype=np.float32)
        seen[band.name] = own + _noise(band, own, cos_sun) * rng.standard_normal(own.shape, dtype=np.float32)
    return seen


def _noise(band: SensorBand, reflectance: F32, cos_sun: float) -> F32:
    """Standard deviation: half read noise, half photons at the stated radiance."""
    irradiance = band.mean_of(np.asarray(SOLAR_IRRADIANCE, np.float32))
    reference = np.float32(band.radiance * np.pi / (irradiance * cos_sun))
    share = 0.5 + 0.5 * np.maximum(reflectance, 0) / reference
    return np.asarray(reference / np.float32(band.signal_to_noise) * np.sqrt(share), np.float32)


def _at_10m(top: Mapping[Grid, F32], place: int) -> F32:
    """One Sentinel-2 band on the 10 m grid, coarse pixels repeated."""
    for grid, planes in top.items():
        bands = of_grid(grid)
        if place in bands:
            return planes[bands.index(place)].repeat(int(grid), 0).repeat(int(grid), 1)
    raise KeyError(f"band {place} is on no grid")
