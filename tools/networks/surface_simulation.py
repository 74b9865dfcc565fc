"""Pairs of surface and top of atmosphere, made by physics from clear patches.

A clear patch is inverted with a mild atmosphere to a plausible surface, mixed with plausible
spectra that the patches lack (sand, snow, water ...), and seen again through a random
atmosphere of the simulator's look-up tables (`tools.simulate.lookup`). The truth is exact
whatever the first atmosphere was: only the surface has to be plausible, not right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.types import BANDS_OF_GRID, F32, SURFACE_BANDS_OF_GRID, Band, Grid
from tools import smac
from tools.material import FILE_BANDS, Grids, average_blocks
from tools.simulate import landscape, lookup
from tools.simulate.bands import WAVELENGTH_UM, gas_transmittance
from tools.simulate.geometry import Geometry

WINDOW_PX = 192
AEROSOL_SHARES = {"continental": 0.45, "maritime": 0.15, "urban": 0.15, "desert": 0.15, "smoke": 0.10}
LOW_SUN_SHARE = 0.2
USUAL_WATER_CM, COLD_WATER_CM = 1.5, 0.4
"""Air over snow is cold and holds little: 0.5 cm at most where it is saturated at -10 degrees and its
water falls off with a scale height of 2 km."""
SNOW_SHARE = 0.12
SNOW_LEVEL, SNOW_LEVEL_DEVIATION, SNOW_BAND_DEVIATION = -0.12, 0.2, 0.01
"""How far snow is off its library, as logarithms: all bands together, for a low sun leaves ridges and
tracks in shade that no pixel resolves, and each band by itself."""
SNOW_RED, SNOW_B11 = 0.4, 0.3

PEER_TRANSMITTANCE = {Band.B05: 0.95, Band.B11: 0.985, Band.B12: 0.945}
"""By how much less Sen2Cor's atmosphere lets through than 6S's gases say. The physical fit of all
three land pairs at hand (dryland and two Alpine) leaves the same residual in these bands, whatever
the aerosol; see docs/decisions/0015."""
PEER_DEVIATION = 0.012

ORDER = [FILE_BANDS.index(band) for bands in SURFACE_BANDS_OF_GRID.values() for band in bands]
"""From the band order of the files to the band order of the atmosphere output."""

MIN_SURFACE = 0.0005
MAX_SURFACE = 1.2

# Typical surfaces that the clear patches lack or hold little of, in the band order of the
# files with B10 left out; rounded from common spectral libraries by eye. Snow is drawn from the
# simulator's library: its visible spectrum is smooth whatever the grain and the soot, so that the ozone's dip
# in B03 tells how long the light's way was. Bands that vary by themselves would hide that.
SPECTRA = {
    "sand": [0.12, 0.16, 0.24, 0.33, 0.37, 0.39, 0.40, 0.42, 0.43, 0.43, 0.52, 0.48],
    "soil": [0.06, 0.08, 0.11, 0.15, 0.18, 0.20, 0.22, 0.24, 0.26, 0.27, 0.34, 0.30],
    "dry": [0.04, 0.05, 0.08, 0.11, 0.15, 0.20, 0.22, 0.24, 0.26, 0.27, 0.30, 0.20],
    "green": [0.02, 0.03, 0.06, 0.04, 0.10, 0.28, 0.36, 0.38, 0.40, 0.40, 0.20, 0.09],
    "water": [0.04, 0.04, 0.035, 0.02, 0.015, 0.01, 0.01, 0.008, 0.007, 0.006, 0.003, 0.002],
    "urban": [0.10, 0.11, 0.13, 0.14, 0.16, 0.17, 0.18, 0.20, 0.20, 0.20, 0.22, 0.20],
}
WITHOUT_B10 = [band for band in FILE_BANDS if band is not Band.B10]
B09_BETWEEN, B09_SLOPE_MAX = 0.107, 0.6
"""B09 lies that part of the way from B8A to B11 (0.945 of 0.865 to 1.614 um). Soils rise along it, leaves
and snow fall; beyond such a slope the line says nothing."""
STRAY_LIGHT_B10 = 0.0016
"""Clear lowland shows up to this much in B10 beyond what the gases let through."""


@dataclass(frozen=True, eq=False)
class Sky:
    """Two atmospheres between which the scene changes linearly; terms are (13, 2)."""

    sun: Geometry
    above: smac.Terms

    def geometry(self) -> F32:
        """known, cos sun zenith, cos view zenith, cos relative azimuth."""
        relative = np.cos(np.radians(self.sun.relative_azimuth_deg))
        return np.float32([1.0, self.sun.cos_sun, self.sun.cos_view, relative])


def terms_of(state: lookup.AirState, sun: Geometry) -> smac.Terms:
    """Path, two-way transmittance and spherical albedo of a state, gases included; (13,) each.

    Aerosol and molecules scatter above half of the water vapour, on average.
    """
    air = lookup.air(state, sun)
    air_mass = 1 / sun.cos_sun + 1 / sun.cos_view
    gases, half_wet = (
        gas_transmittance(water, state.ozone_cm_atm, state.pressure_ratio, air_mass).astype(np.float64)
        for water in (state.water_cm, 0.5 * state.water_cm)
    )
    path = air.path.astype(np.float64) * half_wet
    return smac.Terms(path, air.down * air.up * gases, air.sphere.astype(np.float64), path)


def draw_sun(rng: np.random.Generator, low_sun_share: float = LOW_SUN_SHARE) -> Geometry:
    """A random geometry; low suns are drawn more often than they are met, for they are hard, and the lowest
    most often, for there a degree changes most."""
    zenith = 79 - 19 * rng.random() ** 2 if rng.random() < low_sun_share else rng.uniform(15, 65)
    return Geometry(float(zenith), float(rng.uniform(0, 360)), float(rng.uniform(0, 12)), 100.0)


def draw_sky(
    rng: np.random.Generator, low_sun_share: float = LOW_SUN_SHARE, water_cm: float = USUAL_WATER_CM
) -> Sky:
    """A random atmosphere and geometry; the aerosol is one of five types, and not quite it.

    ``water_cm`` is the median of the water vapour above the sea.
    """
    sun = draw_sun(rng, low_sun_share)
    elevation_m = float(rng.choice([rng.uniform(0, 500), rng.uniform(0, 3000)], p=[0.6, 0.4]))
    kind = str(rng.choice(list(AEROSOL_SHARES), p=list(AEROSOL_SHARES.values())))
    drift = np.array([1.0, 1.0]) if rng.random() < 0.3 else np.exp(rng.normal(0, 0.12, 2))
    aot = np.clip(np.exp(rng.normal(np.log(0.12), 0.75)) * drift, 0.01, 0.8)
    water = np.clip(np.exp(rng.normal(np.log(water_cm) - elevation_m / 2200, 0.75)) * drift[::-1], 0.05, 5.0)
    ozone = float(rng.uniform(0.25, 0.45))
    ends = [
        terms_of(lookup.AirState(kind, float(a), float(w), ozone, elevation_m / 1000), sun)
        for a, w in zip(aot, water, strict=True)
    ]
    path, transmittance, albedo = (
        np.stack([getattr(end, name) for end in ends], axis=1) for name in ("path", "transmittance", "albedo")
    )
    off = np.exp(rng.normal(0, 0.02) + rng.normal(0, 0.03) * np.log(WAVELENGTH_UM / 0.55))[:, None]
    less = np.array([PEER_TRANSMITTANCE.get(band, 1.0) for band in FILE_BANDS])
    less = less * (1 + rng.normal(0, PEER_DEVIATION, len(less)) * (less < 1))
    transmittance = np.clip(transmittance * less[:, None], 1e-3, 1.0)
    return Sky(sun, smac.Terms(path * off, transmittance, albedo, path))


def mild_terms(rng: np.random.Generator) -> smac.Terms:
    """The clean atmosphere with which a real patch is inverted, (13, 1, 1)."""
    sun = Geometry(float(rng.uniform(25, 50)), 150.0, 4.0, 60.0)
    state = lookup.AirState(
        "continental", float(rng.uniform(0.03, 0.10)), float(rng.uniform(0.8, 2.5)), 0.32, 0.1
    )
    found = terms_of(state, sun)
    fields = (found.path, found.transmittance, found.albedo, found.rayleigh_path)
    return smac.Terms(*(values.reshape(-1, 1, 1) for values in fields))


def _pick(above: smac.Terms, bands: tuple[Band, ...]) -> smac.Terms:
    rows = [FILE_BANDS.index(band) for band in bands]
    return smac.Terms(
        above.path[rows], above.transmittance[rows], above.albedo[rows], above.rayleigh_path[rows]
    )


def _single(above: smac.Terms) -> smac.Terms:
    """The same terms in single precision, for whole images."""
    fields = (above.path, above.transmittance, above.albedo, above.rayleigh_path)
    return smac.Terms(*(values.astype(np.float32) for values in fields))  # type: ignore[arg-type]


def surface_of(rng: np.random.Generator, grids: Grids) -> Grids:
    """A plausible surface (all bands; B09 and B10 after their neighbours) under clear ``grids``."""
    mild = mild_terms(rng)
    surface: Grids = {}
    for grid, bands in BANDS_OF_GRID.items():
        inverted = smac.to_surface(grids[grid], _single(_pick(mild, bands)))
        surface[grid] = np.clip(inverted, MIN_SURFACE, MAX_SURFACE).astype(np.float32)
    b8a, b11 = surface[Grid.R20M][3:4], surface[Grid.R20M][4:5]
    ratio = np.clip(b11 / b8a - 1, -B09_SLOPE_MAX, B09_SLOPE_MAX) * (B09_BETWEEN * rng.uniform(0, 1.2))
    surface[Grid.R60M][1] = average_blocks(b8a * (1 + ratio), 3)[0] * np.exp(rng.normal(0, 0.02))
    surface[Grid.R60M][2] = average_blocks((b8a + b11) / 2, 3)[0]
    return surface


def _spectrum(rng: np.random.Generator) -> dict[Band, float]:
    """A random mixture of two of SPECTRA."""
    names = list(SPECTRA)
    share = rng.dirichlet((0.6, 0.6))
    chosen = rng.choice(len(names), 2, replace=False)
    mixed = np.add.reduce([w * np.array(SPECTRA[names[i]]) for w, i in zip(share, chosen, strict=True)])
    mixed = mixed * np.exp(rng.normal(0, 0.2) + rng.normal(0, 0.06, 12))
    return _with_b10(mixed)


def _snow_spectrum(rng: np.random.Generator) -> dict[Band, float]:
    """Snow by grain and soot, bright or grey, with a little of another ground."""
    known = landscape.library()["snow"]
    places = [FILE_BANDS.index(band) for band in WITHOUT_B10]
    snow = known[rng.integers(0, len(known)), places].astype(np.float64)
    other = np.array(SPECTRA[str(rng.choice(list(SPECTRA)))])
    share = rng.beta(0.5, 4.0)
    mixed = (1 - share) * snow + share * other
    level = rng.normal(SNOW_LEVEL, SNOW_LEVEL_DEVIATION)
    return _with_b10(mixed * np.exp(level + rng.normal(0, SNOW_BAND_DEVIATION, 12)))


def _with_b10(values: NDArray[np.float64]) -> dict[Band, float]:
    spectrum = dict(zip(WITHOUT_B10, values, strict=True))
    spectrum[Band.B10] = (spectrum[Band.B09] + spectrum[Band.B11]) / 2
    return spectrum


def shape_of(planes: F32, power: float) -> F32:
    """``planes`` (band, row, col) over their means, to a power: texture that another ground can wear."""
    mean = planes.mean(axis=(1, 2), keepdims=True) + 0.01
    return np.asarray(np.clip((planes + 0.01) / mean, 0.3, 2.0) ** power)


def _texture(surface: Grids, grid: Grid, *, grey: bool) -> F32:
    """What ``surface`` has of shape on one grid, about 1; ``grey``: the same in all bands (that of B04)."""
    plane = surface[grid]
    if grey:
        plane = surface[Grid.R10M][2:3]
        plane = plane if grid is Grid.R10M else average_blocks(plane, int(grid))
    return shape_of(plane, 0.5)


def vary_surface(rng: np.random.Generator, surface: Grids) -> Grids:
    """The surface brighter or darker, and partly another ground that keeps the texture."""
    gain = np.exp(rng.normal(0, 0.2))
    mixes, is_snow = bool(rng.random() < 0.6), bool(rng.random() < SNOW_SHARE)
    brightness = surface[Grid.R60M][[0, 2]].mean(axis=0) + 0.02
    relative = brightness / brightness.mean()
    edge, slope = rng.uniform(-0.5, 1.5), rng.uniform(0.5, 4.0)
    spectrum = _snow_spectrum(rng) if is_snow else _spectrum(rng)
    if is_snow:
        mixes, edge = True, rng.uniform(0.5, 2.0)
    share60 = np.clip(0.5 + slope * (relative - 1 + edge - 0.5), 0, 1) * (1.0 if mixes else 0.0)
    varied: Grids = {}
    for grid, bands in BANDS_OF_GRID.items():
        zoom = 6 // grid
        share = np.kron(share60, np.ones((zoom, zoom), np.float32))
        own = surface[grid] * gain * np.exp(rng.normal(0, 0.04, len(bands)))[:, None, None]
        other = np.array([spectrum[band] for band in bands])[:, None, None]
        mixed = own + share * (other * _texture(surface, grid, grey=is_snow) - own)
        varied[grid] = np.clip(mixed, MIN_SURFACE, MAX_SURFACE).astype(np.float32)
    return varied


def ramp(rng: np.random.Generator, rows: int, cols: int) -> F32:
    """A plane from 0 to 1 in a random direction, on the 60 m grid of a window."""
    angle = rng.uniform(0, 2 * np.pi)
    row, col = np.mgrid[0:rows, 0:cols]
    plane = (row / rows - 0.5) * np.cos(angle) + (col / cols - 0.5) * np.sin(angle)
    return np.clip(plane + 0.5, 0, 1).astype(np.float32)


def look_through(rng: np.random.Generator, surface: Grids, sky: Sky) -> Grids:
    """Top-of-atmosphere reflectance with calibration errors and noise."""
    plane60 = ramp(rng, *surface[Grid.R60M].shape[1:])
    top: Grids = {}
    for grid, bands in BANDS_OF_GRID.items():
        zoom = 6 // grid
        plane = np.kron(plane60, np.ones((zoom, zoom), np.float32))
        picked = _pick(sky.above, bands)
        path, transmittance, albedo = (
            _blend(values, plane) for values in (picked.path, picked.transmittance, picked.albedo)
        )
        seen = path + transmittance * surface[grid] / (1 - albedo * surface[grid])
        seen = seen * np.float32(1 + rng.normal(0, 0.008, (len(bands), 1, 1)))
        seen = seen + np.float32(0.0008) * rng.standard_normal(seen.shape, np.float32)
        if grid is Grid.R60M:
            seen[2] += rng.uniform(0, STRAY_LIGHT_B10)
        top[grid] = np.maximum(seen, 1e-5).astype(np.float32)
    return top


def _blend(values: NDArray[np.float64], plane: F32) -> F32:
    ends = values.astype(np.float32)
    first, second = ends[:, 0, None, None], ends[:, 1, None, None]
    return np.asarray(first + (second - first) * plane)


def is_snowy(surface: Grids) -> bool:
    """Whether most of a surface is bright in the red and dark at 1.6 um."""
    red, infrared = surface[Grid.R10M][2], surface[Grid.R20M][4]
    return bool(np.median(red) > SNOW_RED and np.median(infrared) < SNOW_B11)


def mean_terms(sky: Sky) -> F32:
    """Truth for the auxiliary loss: path, transmittance, albedo in output order, (36,)."""
    above = sky.above
    parts = [values.mean(axis=1)[ORDER] for values in (above.path, above.transmittance, above.albedo)]
    return np.concatenate(parts).astype(np.float32)


def crop_to_window(rng: np.random.Generator, grids: Mapping[Grid, F32], window_px: int = WINDOW_PX) -> Grids:
    """A random window of a patch; a patch that is too small continues by its mirror image."""
    size = grids[Grid.R10M].shape[1:]
    row, col = (6 * int(rng.integers(0, max(length - window_px, 0) // 6 + 1)) for length in size)
    cropped: Grids = {}
    for grid, plane in grids.items():
        window = window_px // grid
        piece = plane[:, row // grid : row // grid + window, col // grid : col // grid + window]
        short = [window - length for length in piece.shape[1:]]
        cropped[grid] = np.pad(piece, ((0, 0), (0, short[0]), (0, short[1])), mode="symmetric")
    return cropped
