"""SMAC: the simplified method for atmospheric correction, forward and inverse.

Our own vectorised implementation of the equations of H. Rahman and G. Dedieu, "SMAC: a
simplified method for the atmospheric correction of satellite measurements in the solar
spectrum", Int. J. Remote Sensing 15(1), 123-143, 1994. Equation names below follow the
paper: t_g gaseous transmission, T scattering transmission, s spherical albedo, rho_a
atmospheric reflectance, mu the cosine of a zenith angle.

Coefficient files are those that CNES distributes: 49 coefficients a band, in the order of
`_FIELDS`, either one column a band (Sentinel-2) or one band a file (Landsat).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

SEA_LEVEL_HPA = 1013.0
SCALE_HEIGHT_M = 8000.0
RAYLEIGH_PHASE_SQUARE = 0.7190443
RAYLEIGH_PHASE_CONSTANT = 0.0412742

_FIELDS = (
    *("h2o_a", "h2o_n", "o3_a", "o3_n"),
    *(f"{gas}_{letter}" for gas in ("o2", "co2", "ch4", "no2", "co") for letter in "anp"),
    *("s_0", "s_1", "s_2", "s_3", "t_0", "t_1", "t_2", "t_3", "tau_rayleigh", "tau_rayleigh_6s"),
    *("tau_aerosol_0", "tau_aerosol_1", "single_albedo", "asymmetry"),
    *(f"phase_{order}" for order in range(5)),
    *(f"rest_t_{order}" for order in range(4)),
    *(f"rest_r_{order}" for order in range(3)),
    *(f"rest_a_{order}" for order in range(4)),
)
_UNIFORM_GASES = ("o2", "co2", "ch4", "no2", "co")


@dataclass(frozen=True)
class Atmosphere:
    """The state above a place. Any field may be an array; all must broadcast together.

    Attributes:
        aot550: aerosol optical thickness at 550 nm (about 0..1).
        water_g_cm2: total precipitable water.
        ozone_cm_atm: total ozone (0.3 is usual).
        pressure_hpa: at the ground.
    """

    aot550: float | F64
    water_g_cm2: float | F64
    ozone_cm_atm: float | F64
    pressure_hpa: float | F64


@dataclass(frozen=True)
class Angles:
    """Sun and view zenith, and the difference of their azimuths, degrees."""

    sun_zenith_deg: float | F64
    view_zenith_deg: float | F64
    relative_azimuth_deg: float | F64


@dataclass(frozen=True, eq=False)
class Terms:
    """What the closed form needs, each (band, ...): reflectance at the top is
    path + transmittance * rho / (1 - albedo * rho).

    ``path`` and ``transmittance`` (two-way) include the gases; ``rayleigh_path`` is the part
    of ``path`` that molecules make.
    """

    path: F64
    transmittance: F64
    albedo: F64
    rayleigh_path: F64


@dataclass(frozen=True, eq=False)
class Coefficients:
    """The 49 coefficients, each an array (band,)."""

    values: Mapping[str, F64]

    def __getitem__(self, field: str) -> F64:
        return self.values[field]

    def shaped(self, dimensions: int) -> Coefficients:
        """The same, with ``dimensions`` trailing axes of length one."""
        return Coefficients({k: v.reshape(v.shape + (1,) * dimensions) for k, v in self.values.items()})


def read_coefficients(path: Path) -> Coefficients:
    """Coefficients of a file with one column a band, or of one band in free layout.

    Raises:
        ValueError: the file does not hold a whole number of bands.
    """
    rows = [line.split() for line in path.read_text().splitlines() if line.strip() and line[0] != "#"]
    numbers = np.array([float(word) for row in rows for word in row])
    if numbers.size % len(_FIELDS):
        raise ValueError(f"{path}: {numbers.size} numbers are no multiple of {len(_FIELDS)}")
    table = numbers.reshape(len(_FIELDS), -1)
    return Coefficients(dict(zip(_FIELDS, table, strict=True)))


def pressure_at(elevation_m: float | F64) -> F64:
    """Pressure of a standard atmosphere with one scale height, hPa."""
    return np.asarray(SEA_LEVEL_HPA * np.exp(-np.asarray(elevation_m) / SCALE_HEIGHT_M))


def gas_transmittance(c: Coefficients, state: Atmosphere, air_mass: F64, pressure: F64) -> F64:
    """t_g: the product over the gases of exp(a (U m)^n), two ways."""
    exponent = c["h2o_a"] * (np.asarray(state.water_g_cm2) * air_mass) ** c["h2o_n"]
    exponent = exponent + c["o3_a"] * (np.asarray(state.ozone_cm_atm) * air_mass) ** c["o3_n"]
    for gas in _UNIFORM_GASES:
        amount = pressure ** c[f"{gas}_p"]
        exponent = exponent + c[f"{gas}_a"] * (amount * air_mass) ** c[f"{gas}_n"]
    return np.exp(exponent)


def scattering_transmittance(c: Coefficients, aot550: F64, pressure: F64, mu: F64) -> F64:
    """T(theta): total (direct and diffuse) transmission one way, at most 1."""
    total = c["t_0"] + c["t_1"] * aot550 / mu + (c["t_2"] * pressure + c["t_3"]) / (1.0 + mu)
    return np.minimum(total, 1.0)


def _aerosol_reflectance(c: Coefficients, tau: F64, mu_s: F64, mu_v: F64, phase: F64) -> F64:
    """Aerosol reflectance from the two-stream solution with the exact first order.

    The source function is that of a layer of optical thickness ``tau`` lit from mu_s,
    whose diffuse field is c1 exp(-k t) + c2 exp(k t) + (particular) exp(-t / mu_s).
    """
    omega = c["single_albedo"]
    forward = 3.0 * c["asymmetry"]
    stretch = 3.0 - omega * forward
    k = np.sqrt((1.0 - omega) * stretch)
    resonance = 1.0 - (k * mu_s) ** 2
    e = -3.0 * mu_s**2 * omega / (4.0 * resonance)
    f = -(1.0 - omega) * forward * mu_s**2 * omega / (4.0 * resonance)
    particular = e + f
    particular_slope = e / (3.0 * mu_s) + mu_s * f
    b = 2.0 * k / stretch
    grow, decay = np.exp(k * tau), np.exp(-k * tau)
    delta = grow * (1.0 + b) ** 2 - decay * (1.0 - b) ** 2
    scale = omega / 4.0 * (mu_s / resonance) / delta
    absorbed = (1.0 - omega) * forward * mu_s
    top = 2.0 + 3.0 * mu_s + absorbed * (1.0 + 2.0 * mu_s)
    bottom = (2.0 - 3.0 * mu_s - absorbed * (1.0 - 2.0 * mu_s)) * np.exp(-tau / mu_s)
    c1 = scale * (top * grow * (1.0 + b) + bottom * (1.0 - b))
    c2 = -scale * (top * decay * (1.0 - b) + bottom * (1.0 + b))
    tilt = omega * forward * mu_v
    x = c1 * (1.0 - tilt * k / stretch)
    y = c2 * (1.0 + tilt * k / stretch)
    z = particular - tilt * particular_slope + omega * phase / 4.0
    depth_x = mu_v / (1.0 + k * mu_v)
    depth_y = mu_v / (1.0 - k * mu_v)
    depth_z = mu_s * mu_v / (mu_s + mu_v)
    total = np.zeros(np.broadcast(x, depth_z).shape)
    for amplitude, depth in ((x, depth_x), (y, depth_y), (z, depth_z)):
        total = total + amplitude * depth * (1.0 - np.exp(-tau / depth))
    return total / (mu_s * mu_v)


def _cubic(c: Coefficients, name: str, argument: F64, orders: int) -> F64:
    total: F64 = np.zeros(np.broadcast(c[f"{name}_0"], argument).shape)
    for order in reversed(range(orders)):
        total = total * argument + c[f"{name}_{order}"]
    return total


def terms(coefficients: Coefficients, angles: Angles, state: Atmosphere) -> Terms:
    """Path reflectance, transmittance and spherical albedo of every band.

    Fields of ``angles`` and ``state`` broadcast to one shape S; the results are (band, *S).
    """
    inputs = [angles.sun_zenith_deg, angles.view_zenith_deg, angles.relative_azimuth_deg]
    inputs += [state.aot550, state.pressure_hpa, state.water_g_cm2]
    dimensions = np.broadcast(*[np.asarray(value) for value in inputs]).ndim
    c = coefficients.shaped(dimensions)
    mu_s = np.cos(np.radians(angles.sun_zenith_deg))
    mu_v = np.cos(np.radians(angles.view_zenith_deg))
    aot550 = np.asarray(state.aot550, np.float64)
    pressure = np.asarray(state.pressure_hpa, np.float64) / SEA_LEVEL_HPA
    air_mass = 1.0 / mu_s + 1.0 / mu_v

    gases = gas_transmittance(c, state, air_mass, pressure)
    albedo = c["s_0"] * pressure + c["s_3"] + c["s_1"] * aot550 + c["s_2"] * aot550**2
    down = scattering_transmittance(c, aot550, pressure, mu_s)
    up = scattering_transmittance(c, aot550, pressure, mu_v)

    sines = np.sin(np.radians(angles.sun_zenith_deg)) * np.sin(np.radians(angles.view_zenith_deg))
    cos_scatter = -(mu_s * mu_v + sines * np.cos(np.radians(angles.relative_azimuth_deg)))
    scatter_deg = np.degrees(np.arccos(np.clip(cos_scatter, -1.0, 1.0)))
    rayleigh_phase = RAYLEIGH_PHASE_SQUARE * (1.0 + cos_scatter**2) + RAYLEIGH_PHASE_CONSTANT
    single = c["tau_rayleigh"] * rayleigh_phase / (mu_s * mu_v)
    rayleigh = single / 4.0 * pressure - _cubic(c, "rest_r", single, 3)

    tau = c["tau_aerosol_0"] + c["tau_aerosol_1"] * aot550
    phase = _cubic(c, "phase", scatter_deg, 5)
    slant = air_mass * cos_scatter
    aerosol = _aerosol_reflectance(c, tau, mu_s, mu_v, phase) - _cubic(c, "rest_a", tau * slant, 4)
    coupling = _cubic(c, "rest_t", (tau + c["tau_rayleigh"] * pressure) * slant, 4)
    path = np.maximum(rayleigh + aerosol + coupling, 0.0) * gases
    return Terms(path, gases * down * up, np.clip(albedo, 0.0, 1.0), rayleigh * gases)


def to_top(surface: F64, above: Terms) -> F64:
    """Top-of-atmosphere reflectance of a uniform Lambertian surface."""
    return above.path + above.transmittance * surface / (1.0 - above.albedo * surface)


def to_surface(top: F64, above: Terms) -> F64:
    """Surface reflectance of a top-of-atmosphere reflectance; the inverse of `to_top`."""
    y = (top - above.path) / above.transmittance
    return y / (1.0 + above.albedo * y)
