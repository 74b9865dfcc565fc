"""Look-up tables of air and cloud, and what they say of one state.

The tables come from `tools.simulate.build`. Reflectance that was scattered once is no part
of them: it is worked out here, exactly, for the very geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.types import F32
from tools.simulate.bands import RAYLEIGH_DEPTH
from tools.simulate.geometry import Geometry

F64 = NDArray[np.float64]

FOLDER = Path(__file__).parent / "tables"
AIR_FILE, CLOUD_FILE = "air.npz", "clouds.npz"

AEROSOLS = ("continental", "maritime", "urban", "desert", "smoke")
CLOUDS = ("water_6um", "water_10um", "water_16um", "ice_40um", "ice_80um", "smoke")
AEROSOL_DEPTHS = (0.0, 0.06, 0.15, 0.3, 0.55, 1.0)
ELEVATIONS_KM = (0.0, 1.5, 4.0, 9.0)
SUN_ZENITHS_DEG = (0.0, 15.0, 30.0, 42.0, 52.0, 60.0, 66.0, 71.0, 75.0, 79.0)
VIEW_ZENITHS_DEG = (0.0, 6.0, 12.0, 30.0)
CLOUD_DEPTHS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 5.0, 8.0, 13.0, 20.0, 32.0, 50.0, 80.0)
SCATTERING_DEG = tuple(np.arange(68.0, 180.5, 1.5))
MODES = 4
RAYLEIGH_HEIGHT_KM = 8.0
AEROSOL_HEIGHT_KM = 2.0
LAYER_TOPS_KM = (0.0, 2.0, 6.0, 200.0)
_THIN_AIR = tuple(-np.exp(-np.asarray(ELEVATIONS_KM) / RAYLEIGH_HEIGHT_KM))
"""The nodes of elevation as what light sees of them: less pressure, less air."""


def layer_shares(scale_height_km: float) -> F64:
    """Share of the column in each layer, from the ground up; they sum to 1."""
    left = np.exp(-np.asarray(LAYER_TOPS_KM) / scale_height_km)
    shares: F64 = -np.diff(left) / (left[0] - left[-1])
    return shares


@cache
def _table(file: str) -> dict[str, F64]:
    with np.load(FOLDER / file) as stored:
        return {key: stored[key].astype(np.float64) for key in stored.files}


def _between(table: F64, nodes: Sequence[float], value: float, axis: int) -> F64:
    """The table at ``value`` of one axis, linear between nodes, held at the ends."""
    place = float(np.interp(value, nodes, np.arange(len(nodes))))
    first = min(int(place), len(nodes) - 2)
    share = place - first
    low, high = table.take(first, axis), table.take(first + 1, axis)
    return low + share * (high - low)


def _azimuth_sum(modes: F64, relative_azimuth_deg: float) -> F64:
    """Sum over Fourier modes (band, mode); relative azimuth 0 is the sun behind the instrument."""
    order = np.arange(modes.shape[-1])
    factor = np.where(order == 0, 1.0, 2.0) * np.cos(order * np.radians(180.0 - relative_azimuth_deg))
    return modes @ factor


@dataclass(frozen=True, slots=True)
class AirState:
    """The air above a place: aerosol type and depth at 0.55 um, gases, height of the ground."""

    aerosol: str
    aerosol_depth: float
    water_cm: float
    ozone_cm_atm: float
    elevation_km: float = 0.0

    def above(self, height_km: float) -> AirState:
        """What is left of it ``height_km`` above the ground."""
        left = float(np.exp(-height_km / AEROSOL_HEIGHT_KM))
        return AirState(
            self.aerosol,
            self.aerosol_depth * left,
            self.water_cm * left,
            self.ozone_cm_atm,
            self.elevation_km + height_km,
        )

    @property
    def pressure_ratio(self) -> float:
        return float(np.exp(-self.elevation_km / RAYLEIGH_HEIGHT_KM))


@dataclass(frozen=True, slots=True, eq=False)
class Air:
    """What air without gases does, per band (13,).

    The top of the atmosphere shows path + up (down rho) / (1 - sphere rho) over a wide uniform
    ground; ``direct_down`` and ``direct_up`` are the unscattered parts of ``down`` and ``up``.
    """

    path: F32
    down: F32
    up: F32
    sphere: F32
    direct_down: F32
    direct_up: F32


def air(state: AirState, geometry: Geometry) -> Air:
    """The air of a state in a geometry; states beyond the table are held at its edge."""
    table, kind = _table(AIR_FILE), AEROSOLS.index(state.aerosol)
    depth, thin_air = state.aerosol_depth, -state.pressure_ratio

    def at(name: str) -> F64:
        aerosol = _between(table[name][kind], AEROSOL_DEPTHS, depth, 1)
        return _between(aerosol, _THIN_AIR, thin_air, 1)

    def towards(values: F64) -> F64:
        toward_sun = _between(values, SUN_ZENITHS_DEG, geometry.sun_zenith_deg, -1)
        return _between(toward_sun, VIEW_ZENITHS_DEG, geometry.view_zenith_deg, -1)

    cos_sun, cos_view = geometry.cos_sun, geometry.cos_view
    azimuth = geometry.relative_azimuth_deg
    slant = 1 / cos_sun + 1 / cos_view
    aerosol_depth = depth * table["extinction"][kind]
    rayleigh = RAYLEIGH_DEPTH * state.pressure_ratio
    polarised = _azimuth_sum(
        towards(_between(table["polarisation"], _THIN_AIR, thin_air, 1)), azimuth
    ) * np.exp(-0.5 * aerosol_depth * slant)
    many = _azimuth_sum(towards(at("modes")), azimuth)
    path = (many + polarised) / cos_sun + _once(table, kind, aerosol_depth, rayleigh, geometry)
    total = rayleigh + aerosol_depth
    down = _between(at("down"), SUN_ZENITHS_DEG, geometry.sun_zenith_deg, -1)
    up = _between(at("up"), VIEW_ZENITHS_DEG, geometry.view_zenith_deg, -1)
    direct_down = np.minimum(np.exp(-total / cos_sun), down)
    direct_up = np.minimum(np.exp(-total / cos_view), up)
    values = (np.maximum(path, 0), down, up, at("sphere"), direct_down, direct_up)
    return Air(*(np.asarray(one, np.float32) for one in values))


def _once(table: dict[str, F64], kind: int, aerosol_depth: F64, rayleigh: F64, geometry: Geometry) -> F64:
    """Reflectance by single scattering in the three layers, exact phase functions."""
    albedo, peak = table["albedo"][kind], table["peak"][kind]
    kept = 1 - albedo * peak
    turn = geometry.scattering_deg
    aerosol = albedo / kept * np.array([np.interp(turn, SCATTERING_DEG, row) for row in table["phase"][kind]])
    molecule = rayleigh_phase(turn)
    slant = 1 / geometry.cos_sun + 1 / geometry.cos_view
    above: F64 = np.zeros(len(rayleigh))
    total: F64 = np.zeros(len(rayleigh))
    shares = zip(layer_shares(RAYLEIGH_HEIGHT_KM)[::-1], layer_shares(AEROSOL_HEIGHT_KM)[::-1], strict=True)
    for share, dust in shares:
        molecules, particles = rayleigh * share, aerosol_depth * kept * dust
        depth = molecules + particles
        source = (molecules * molecule + particles * aerosol) / depth
        total = total + source * np.exp(-above * slant) * -np.expm1(-depth * slant)
        above = above + depth
    return total / (4 * (geometry.cos_sun + geometry.cos_view))


def rayleigh_phase(scattering_deg: float) -> float:
    """Phase function of air, mean 1 over the sphere, depolarisation 0.0279."""
    anisotropic = (1 - 0.0279) / (1 + 0.0279 / 2)
    cosine = float(np.cos(np.radians(scattering_deg)))
    return anisotropic * 0.75 * (1 + cosine**2) + (1 - anisotropic)


FINE_STEPS = 1024
FINE_SCALE = FINE_STEPS / float(np.log1p(CLOUD_DEPTHS[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class CloudCurves:
    """What a cloud of one kind does in one geometry, by depth: (13, FINE_STEPS + 1) each.

    Column i stands for the optical depth (at 0.55 um) expm1(i / FINE_SCALE), so that a field
    of depths is looked up with `place`.
    """

    reflectance: F32
    down: F32
    up: F32
    sphere: F32
    direct_down: F32
    direct_up: F32


def place(depth: F32) -> NDArray[np.intp]:
    """Columns of `CloudCurves` for a field of optical depths (0 .. 80)."""
    return np.minimum(np.log1p(depth) * np.float32(FINE_SCALE) + 0.5, FINE_STEPS).astype(np.intp)


def cloud(kind: str, geometry: Geometry) -> CloudCurves:
    """The curves of a kind of cloud."""
    table, number = _table(CLOUD_FILE), CLOUDS.index(kind)
    sun, view = geometry.sun_zenith_deg, geometry.view_zenith_deg
    many = _between(_between(table["modes"][number], SUN_ZENITHS_DEG, sun, -1), VIEW_ZENITHS_DEG, view, -1)
    reflected = _azimuth_sum(many, geometry.relative_azimuth_deg) / geometry.cos_sun
    albedo, peak = table["albedo"][number], table["peak"][number]
    turn = geometry.scattering_deg
    phase = np.array([np.interp(turn, SCATTERING_DEG, row) for row in table["phase"][number]])
    kept = 1 - albedo * peak
    depths = np.outer(table["extinction"][number] * kept, CLOUD_DEPTHS)
    slant = 1 / geometry.cos_sun + 1 / geometry.cos_view
    once = (albedo / kept * phase)[:, None] * -np.expm1(-depths * slant)
    reflected = reflected + once / (4 * (geometry.cos_sun + geometry.cos_view))
    down = _between(table["down"][number], SUN_ZENITHS_DEG, sun, -1)
    up = _between(table["up"][number], VIEW_ZENITHS_DEG, view, -1)
    # The forward peak counts as direct light: it stays within a degree or two of the beam.
    direct_down, direct_up = np.exp(-depths / geometry.cos_sun), np.exp(-depths / geometry.cos_view)
    curves = (reflected, down, up, table["sphere"][number], direct_down, direct_up)
    return CloudCurves(*(_fine(curve) for curve in curves))


def _fine(curve: F64) -> F32:
    """A curve over CLOUD_DEPTHS at the FINE_STEPS + 1 columns."""
    nodes = np.log1p(CLOUD_DEPTHS)
    where = np.arange(FINE_STEPS + 1) / FINE_SCALE
    return np.stack([np.interp(where, nodes, row) for row in curve]).astype(np.float32)
