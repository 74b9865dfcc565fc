"""A whole scene before anybody looks: ground, clouds, air, sun and instrument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from payload.types import F32, Grid, Window
from tools.simulate.bands import BANDS, gas_transmittance
from tools.simulate.cloud_fields import Cloud
from tools.simulate.geometry import Geometry, direction
from tools.simulate.light import CONTEXT_PITCH_PX, Context, curves_of, leaked_light, open_sky, under_ceiling
from tools.simulate.lookup import AEROSOLS, Air, AirState, CloudCurves, air, place
from tools.simulate.noise import Canvas, Noise

AEROSOL_SHARES = (0.40, 0.18, 0.08, 0.20, 0.14)
ADJACENCY_KM = 0.6
"""Height from which the scattering of aerosols looks like: half of the light comes from within it."""
TRACK_AZIMUTH_DEG = 193.0


class Ground(Protocol):
    """What lies below."""

    def native(self, window: Window) -> dict[Grid, F32]:
        """Surface reflectance per native grid, bands in the order of BANDS_OF_GRID."""

    def spaced(self, window: Window, step: int) -> F32:
        """Reflectance (13, rows, cols) of every ``step``-th pixel, any one of its block."""

    def slope_light(self, window: Window, towards_sun: tuple[float, float], cos_sun: float) -> F32 | None:
        """Direct sunlight on slopes relative to level ground; None where all is level."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """Everything that decides what is seen; see `make_world`.

    Attributes:
        airs: the air at both ends of the scene's variation; ``state`` is the first.
        drift: field that mixes the two, 0 .. 1; None for the first alone.
        track: direction (row, col) in which later bands see a cloud displaced.
        anisotropy: how much brighter the ground looks than its mean into all directions (13,).
        ceiling: reflectance of the clouds' feet for light from below (13,).
    """

    rows: int
    columns: int
    geometry: Geometry
    state: AirState
    airs: tuple[Air, Air]
    drift: Noise | None
    ground: Ground
    clouds: tuple[Cloud, ...]
    curves: tuple[CloudCurves, ...]
    context: Context
    track: tuple[float, float]
    anisotropy: F32
    ceiling: F32

    def gas(self, height_km: float, share: float) -> F32:
        """Transmittance of the gases above a height, both ways (13,); ``share`` of the water."""
        state = self.state.above(height_km) if height_km else self.state
        mass = 1 / self.geometry.cos_sun + 1 / self.geometry.cos_view
        return gas_transmittance(state.water_cm * share, state.ozone_cm_atm, state.pressure_ratio, mass)

    def above(self, height_km: float) -> Air:
        """The air above a height."""
        return air(self.state.above(height_km), self.geometry)

    def mix(self, window: Window, pitch: int) -> F32:
        """Share of the second air (rows, cols) on a grid."""
        if self.drift is None:
            return np.zeros((1, 1), np.float32)
        return np.clip(0.5 + 0.3 * self.drift.at(window, pitch), 0, 1)


def draw_geometry(rng: np.random.Generator) -> Geometry:
    """Sun and instrument as over the year and the Sentinel-2 swath."""
    sun = float(np.clip(15 + 62 * rng.beta(1.6, 1.6), 15, 77))
    azimuth = rng.uniform(90, 180) if rng.random() < 0.75 else rng.uniform(0, 360)
    side = 105.0 if rng.random() < 0.5 else 285.0
    return Geometry(sun, float(azimuth), float(rng.uniform(0, 11)), float(side + rng.uniform(-15, 15)))


def draw_state(rng: np.random.Generator, geometry: Geometry, *, at_sea: bool) -> AirState:
    """The air of one place and day."""
    ceiling_km = (0.5, 1.5, 3.5)[int(rng.choice(3, p=[0.6, 0.3, 0.1]))]
    elevation = 0.0 if at_sea else float(rng.uniform(0, ceiling_km))
    water = float(np.clip(np.exp(rng.normal(np.log(1.6) - elevation / 2.2, 0.7)), 0.05, 6.0))
    depth = float(np.clip(np.exp(rng.normal(np.log(0.15), 0.7)), 0.01, 0.9))
    depth = min(depth, 0.9 * geometry.cos_sun + 0.05)
    aerosol = AEROSOLS[int(rng.choice(len(AEROSOLS), p=AEROSOL_SHARES))]
    return AirState(aerosol, depth, water, float(rng.uniform(0.24, 0.44)), elevation)


# Roy et al. (2016, 2017): MODIS kernel weights of all land, by band; B01 as B02, B09 as B8A.
_ISOTROPIC = (
    0.0774,
    0.0774,
    0.1306,
    0.1690,
    0.2085,
    0.2316,
    0.2599,
    0.3093,
    0.3093,
    0.3093,
    0.3430,
    0.3430,
    0.2658,
)
_GEOMETRIC = (
    0.0079,
    0.0079,
    0.0178,
    0.0227,
    0.0256,
    0.0273,
    0.0294,
    0.0330,
    0.0330,
    0.0330,
    0.0453,
    0.0453,
    0.0387,
)
_VOLUME = (
    0.0372,
    0.0372,
    0.0580,
    0.0574,
    0.0845,
    0.1003,
    0.1197,
    0.1535,
    0.1535,
    0.1535,
    0.1154,
    0.1154,
    0.0639,
)


def anisotropy(geometry: Geometry) -> F32:
    """Reflectance towards the instrument relative to that at 45 degrees sun and nadir view (13,)."""
    now = _kernels(geometry)
    usual = _kernels(replace(geometry, sun_zenith_deg=45.0, view_zenith_deg=0.0))
    weights = [np.asarray(row) for row in (_ISOTROPIC, _GEOMETRIC, _VOLUME)]
    found = [weights[0] + weights[1] * geometric + weights[2] * volume for geometric, volume in (now, usual)]
    return np.clip(found[0] / found[1], 0.7, 1.4).astype(np.float32)


def _kernels(geometry: Geometry) -> tuple[float, float]:
    """LiSparse-Reciprocal (h/b 2, b/r 1) and RossThick; Lucht et al. (2000)."""
    sun, view = np.radians(geometry.sun_zenith_deg), np.radians(geometry.view_zenith_deg)
    azimuth = np.radians(geometry.relative_azimuth_deg)
    phase = np.radians(180.0 - geometry.scattering_deg)
    volume = ((np.pi / 2 - phase) * np.cos(phase) + np.sin(phase)) / (np.cos(sun) + np.cos(view)) - np.pi / 4
    secants = 1 / np.cos(sun) + 1 / np.cos(view)
    apart = np.tan(sun) ** 2 + np.tan(view) ** 2 - 2 * np.tan(sun) * np.tan(view) * np.cos(azimuth)
    cross = (np.tan(sun) * np.tan(view) * np.sin(azimuth)) ** 2
    t = np.arccos(np.clip(2 * np.sqrt(max(apart + cross, 0.0)) / secants, -1, 1))
    overlap = (t - np.sin(t) * np.cos(t)) * secants / np.pi
    geometric = overlap - secants + 0.5 * (1 + np.cos(phase)) / (np.cos(sun) * np.cos(view))
    return float(geometric), float(volume)


def make_world(
    canvas: Canvas, ground: Ground, clouds: tuple[Cloud, ...], geometry: Geometry, state: AirState
) -> World:
    """A scene of the canvas's size out of its parts."""
    rng = canvas.rng
    curves = tuple(curves_of(clouds, geometry))
    other = replace(state, aerosol_depth=min(state.aerosol_depth * rng.uniform(1.0, 1.5), 1.0))
    forward = 1.0 if rng.random() < 0.5 else -1.0
    track = direction(TRACK_AZIMUTH_DEG)
    ceiling = np.zeros(len(BANDS), np.float32)
    for one in curves:
        ceiling = np.maximum(ceiling, one.sphere[:, place(np.float32([6.0]))[0]])
    return World(
        rows=canvas.rows,
        columns=canvas.columns,
        geometry=geometry,
        state=state,
        airs=(air(state, geometry), air(other, geometry)),
        drift=canvas.noise(1.9) if rng.random() < 0.7 else None,
        ground=ground,
        clouds=clouds,
        curves=curves,
        context=make_context(canvas.rows, canvas.columns, ground, clouds, curves),
        track=(forward * track[0], forward * track[1]),
        anisotropy=anisotropy(geometry),
        ceiling=ceiling,
    )


CONTEXT_MARGIN_PX = 60
CONTEXT_ROWS_PX = 480


def make_context(
    rows: int, columns: int, ground: Ground, clouds: tuple[Cloud, ...], curves: tuple[CloudCurves, ...]
) -> Context:
    """The surroundings of every place in the scene, a band of rows at a time."""
    margin, step = CONTEXT_MARGIN_PX, CONTEXT_PITCH_PX
    total, wide = rows + 2 * margin, columns + 2 * margin
    parts = [
        Window(row - margin, -margin, min(CONTEXT_ROWS_PX, total - row), wide)
        for row in range(0, total, CONTEXT_ROWS_PX)
    ]
    surface = np.concatenate([ground.spaced(part, step) for part in parts], axis=1)
    depths = [np.concatenate([one.depth(part, step) for part in parts]) for one in clouds]
    return Context(
        row=-margin,
        col=-margin,
        leaked=leaked_light(clouds, curves, depths),
        cover=open_sky(clouds, depths) if clouds else np.zeros(surface.shape[1:], np.float32),
        ground=under_ceiling(surface, ADJACENCY_KM),
    )
