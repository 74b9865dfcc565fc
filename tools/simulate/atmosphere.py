"""A plain atmosphere for made-up strips: one homogeneous layer, cloud above it.

Good to a few hundredths of reflectance, which is what a demonstration needs. Rayleigh optical
depths follow Bodhaine et al. (1999) averaged over the Sentinel-2A responses; the aerosol obeys
Angstrom's law; path reflectance is single scattering with the exponential saturation of a
thick layer; transmittances use the two-stream backscatter shares 1/2 (air) and 1/6 (aerosol).
Cloud reflectance is the two-stream formula x / (1 + x) with x = (1 - g) tau / 2 (g = 0.85).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from payload.types import F32
from tools.simulate.geometry import Geometry


def _bands(*values: float) -> F32:
    assert len(values) == 13
    return np.asarray(values, dtype=np.float32)


WAVELENGTH_UM = _bands(
    0.443, 0.492, 0.560, 0.665, 0.704, 0.741, 0.783, 0.833, 0.865, 0.945, 1.374, 1.614, 2.202
)
RAYLEIGH_DEPTH = _bands(
    0.2370, 0.1551, 0.0906, 0.0450, 0.0356, 0.0290, 0.0232, 0.0183, 0.0155, 0.0109, 0.0024, 0.0013, 0.0004
)
GAS_FROM_GROUND = _bands(
    0.997, 0.985, 0.93, 0.96, 0.965, 0.965, 0.99, 0.955, 0.993, 0.32, 0.006, 0.975, 0.955
)
"""Two-way gas transmittance at sea level: ozone (B02..B05), oxygen, water vapour (B09, B10)."""
GAS_FROM_LOW_CLOUD = _bands(
    0.997, 0.985, 0.93, 0.96, 0.97, 0.98, 0.995, 0.97, 0.996, 0.52, 0.030, 0.985, 0.975
)
GAS_FROM_CIRRUS = _bands(0.997, 0.985, 0.93, 0.96, 0.975, 0.99, 0.998, 0.99, 0.999, 0.97, 0.80, 0.995, 0.99)
LOW_CLOUD_COLOUR = _bands(0.97, 0.96, 0.96, 0.97, 0.97, 0.98, 0.98, 0.98, 0.98, 0.97, 0.90, 0.76, 0.58)
CIRRUS_COLOUR = _bands(0.98, 0.98, 0.98, 0.98, 0.98, 0.98, 0.98, 0.98, 0.98, 0.97, 0.92, 0.55, 0.48)
"""Reflectance of droplets and crystals relative to particles that absorb nothing."""

# Radiometric resolution of the instrument as specified: reference radiance, its
# signal-to-noise ratio, and the solar irradiance that turns radiance into reflectance.
REFERENCE_RADIANCE = _bands(129, 128, 128, 108, 74.5, 68, 67, 103, 52.5, 9, 6, 4, 1.5)
SIGNAL_TO_NOISE = _bands(129, 154, 168, 142, 117, 89, 105, 174, 72, 114, 50, 100, 100)
SOLAR_IRRADIANCE = _bands(1885, 1960, 1823, 1512, 1425, 1288, 1162, 1042, 955, 813, 367, 246, 85)


@dataclass(frozen=True, slots=True, eq=False)
class Atmosphere:
    """What the clear air does, per band (13,): see the formulas of `clear_air`."""

    path: F32
    transmittance: F32
    spherical_albedo: F32
    direct_share: F32


def clear_air(geometry: Geometry, aerosol_depth: float) -> Atmosphere:
    """The four quantities of rho_toa = path + T rho / (1 - S rho); T is two-way without gases.

    ``aerosol_depth`` is the optical depth at 0.55 um; Angstrom exponent 1.3, albedo 0.93.
    """
    cos_sun, cos_view = geometry.cos_sun, geometry.cos_view
    apart = np.radians(geometry.sun_azimuth_deg - geometry.view_azimuth_deg)
    sines = np.sqrt((1 - cos_sun**2) * (1 - cos_view**2))
    scattering = float(-cos_sun * cos_view - sines * np.cos(apart))
    depth = np.float32(aerosol_depth) * (WAVELENGTH_UM / 0.55) ** np.float32(-1.3)
    rayleigh_phase = 0.75 * (1 + scattering**2)
    forward = 0.65
    aerosol_phase = (1 - forward**2) / (1 + forward**2 - 2 * forward * scattering) ** 1.5
    scattered = RAYLEIGH_DEPTH * rayleigh_phase + 0.93 * depth * aerosol_phase
    total = RAYLEIGH_DEPTH + depth
    air_mass = 1 / cos_sun + 1 / cos_view
    path = scattered / total * (1 - np.exp(-air_mass * total)) / (4 * (cos_sun + cos_view))
    path = path * (1 + 1.4 * total)
    lost = RAYLEIGH_DEPTH / 2 + depth * (1 / 6 + 0.07)
    down, up = np.exp(-lost / cos_sun), np.exp(-lost / cos_view)
    albedo = 0.92 * RAYLEIGH_DEPTH * np.exp(-RAYLEIGH_DEPTH) + 0.25 * depth * np.exp(-depth)
    direct = np.exp(-total / cos_sun) / down
    return Atmosphere(*(np.asarray(one, dtype=np.float32) for one in (path, down * up, albedo, direct)))


def cloud_reflectance(depth: F32) -> F32:
    """Two-stream reflectance of a cloud of that optical depth that absorbs nothing."""
    half = np.float32(0.075) * depth
    return half / (1 + half)


def noise_deviation(reflectance: F32, cos_sun: float) -> F32:
    """Standard deviation of the noise (13, ...) at that reflectance: read noise and photons.

    Equal parts at the reference radiance, where their sum is the specified signal-to-noise.
    """
    reference = REFERENCE_RADIANCE * np.pi / (SOLAR_IRRADIANCE * cos_sun)
    shape = (13,) + (1,) * (reflectance.ndim - 1)
    reference = reference.reshape(shape)
    share = 0.5 + 0.5 * np.maximum(reflectance, 0) / reference
    deviation: F32 = (reference / SIGNAL_TO_NOISE.reshape(shape) * np.sqrt(share)).astype(np.float32)
    return deviation
