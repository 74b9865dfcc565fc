"""Builds the look-up tables: the air above any ground, and clouds of any depth, in 13 bands.

Needs the extra 'simulate'. Two minutes on one core, most of it Mie sums and the air.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.simulate import radiation
from tools.simulate.bands import RAYLEIGH_DEPTH, WAVELENGTH_UM
from tools.simulate.lookup import (
    AEROSOL_DEPTHS,
    AEROSOL_HEIGHT_KM,
    AEROSOLS,
    AIR_FILE,
    CLOUD_DEPTHS,
    CLOUD_FILE,
    CLOUDS,
    ELEVATIONS_KM,
    MODES,
    RAYLEIGH_HEIGHT_KM,
    SCATTERING_DEG,
    SUN_ZENITHS_DEG,
    VIEW_ZENITHS_DEG,
    layer_shares,
)
from tools.simulate.particles import Optics, aerosols, clouds

F64 = NDArray[np.float64]
Say = Callable[[str], None]

NODES = 12
VECTOR_MODES = 3


def build(folder: Path, say: Say) -> None:
    """Write AIR_FILE and CLOUD_FILE into ``folder``."""
    um = np.asarray(WAVELENGTH_UM, np.float64)
    kinds = aerosols(um)
    say("aerosols: Mie sums done")
    drops = clouds(um, kinds["smoke"])
    say("clouds: Mie sums done")
    np.savez_compressed(folder / AIR_FILE, **_air(kinds, say))
    np.savez_compressed(folder / CLOUD_FILE, **_clouds(drops, say))


def _streams(modes: int, stokes: int = 1) -> radiation.Streams:
    return radiation.streams(SUN_ZENITHS_DEG, VIEW_ZENITHS_DEG, NODES, modes, stokes)


def _scattering_rows(kinds: dict[str, Optics], names: tuple[str, ...], terms: int) -> dict[str, F64]:
    """What single scattering needs of every kind: (kind, band) and (kind, band, angle)."""
    cosines = np.cos(np.radians(SCATTERING_DEG))
    phase = [[np.interp(cosines, kinds[n].cosines, row) for row in kinds[n].phase] for n in names]
    return {
        "extinction": np.stack([kinds[n].extinction for n in names]),
        "albedo": np.stack([kinds[n].albedo for n in names]),
        "peak": np.stack([kinds[n].moments[:, terms] for n in names]),
        "phase": np.asarray(phase),
    }


def _air(kinds: dict[str, Optics], say: Say) -> dict[str, NDArray[np.generic]]:
    how = _streams(MODES)
    depth, elevation = (a.ravel() for a in np.meshgrid(AEROSOL_DEPTHS, ELEVATIONS_KM, indexing="ij"))
    shape = (len(AEROSOLS), len(WAVELENGTH_UM), len(AEROSOL_DEPTHS), len(ELEVATIONS_KM))
    sun, view = len(SUN_ZENITHS_DEG), len(VIEW_ZENITHS_DEG)
    modes = np.empty((*shape, MODES, view, sun))
    down, up, sphere = np.empty((*shape, sun)), np.empty((*shape, view)), np.empty(shape)
    for kind, name in enumerate(AEROSOLS):
        for band in range(len(WAVELENGTH_UM)):
            layers = _air_layers(how, kinds[name], band, depth, elevation)
            found, once = _stack(how, layers)
            where = (kind, band)
            modes[where] = ((found.modes - once) * how.cosines[how.sun]).reshape(modes[where].shape)
            down[where] = found.down.reshape(down[where].shape)
            up[where] = found.up.reshape(up[where].shape)
            sphere[where] = found.albedo.reshape(sphere[where].shape)
        say(f"air with {name} aerosol done")
    rows = _scattering_rows(kinds, AEROSOLS, how.legendre_terms)
    return {
        "modes": modes.astype(np.float16),
        "down": down.astype(np.float32),
        "up": up.astype(np.float32),
        "sphere": sphere.astype(np.float32),
        "polarisation": _polarisation().astype(np.float32),
        **{key: value.astype(np.float32) for key, value in rows.items()},
    }


Layer = tuple[F64, F64, F64]


def _air_layers(
    how: radiation.Streams, kind: Optics, band: int, aerosol_depth: F64, elevation_km: F64
) -> list[Layer]:
    """Depth, scattering share and phase of the layers from the top down, peak cut off."""
    moments, peak = radiation.delta_moments(kind.moments[band], how.legendre_terms)
    air_phase = radiation.phase_modes(how, radiation.rayleigh_moments())
    dust_phase = radiation.phase_modes(how, moments)
    kept = 1 - kind.albedo[band] * peak
    albedo = kind.albedo[band] * (1 - peak) / kept
    rayleigh = RAYLEIGH_DEPTH[band] * np.exp(-elevation_km / RAYLEIGH_HEIGHT_KM)
    layers = []
    for air, dust in zip(
        layer_shares(RAYLEIGH_HEIGHT_KM)[::-1], layer_shares(AEROSOL_HEIGHT_KM)[::-1], strict=True
    ):
        molecules = rayleigh * air
        particles = aerosol_depth * kind.extinction[band] * kept * dust
        scattering = molecules + particles * albedo
        share = (molecules / scattering)[:, None, None, None, None]
        phase = share * air_phase + (1 - share) * dust_phase
        layers.append((molecules + particles, scattering / (molecules + particles), phase))
    return layers


def _stack(how: radiation.Streams, layers: list[Layer]) -> tuple[radiation.Fluxes, F64]:
    """Fluxes of the layers, and the part of the modes that was scattered once."""
    whole = radiation.homogeneous(how, *layers[0])
    for layer in layers[1:]:
        whole = radiation.add(how, whole, radiation.homogeneous(how, *layer))
    return radiation.fluxes(how, whole), radiation.single_scattering_modes(how, layers)


def _polarisation() -> F64:
    """Vector less scalar reflectance of pure air, times the cosine of the sun zenith angle:
    (band, elevation, VECTOR_MODES, view, sun)."""
    depth = np.outer(RAYLEIGH_DEPTH, np.exp(-np.asarray(ELEVATIONS_KM) / RAYLEIGH_HEIGHT_KM)).ravel()
    found = []
    for stokes in (3, 1):
        how = _streams(VECTOR_MODES, stokes)
        moments = radiation.rayleigh_moments()
        phase = radiation.rayleigh_vector_modes(how) if stokes == 3 else radiation.phase_modes(how, moments)
        whole = np.broadcast_to(phase, (len(depth), *phase.shape))
        slab = radiation.homogeneous(how, depth, np.ones(len(depth)), whole)
        found.append(radiation.fluxes(how, slab).modes * how.cosines[how.sun])
    shape = (len(WAVELENGTH_UM), len(ELEVATIONS_KM), *found[0].shape[1:])
    return (found[0] - found[1]).reshape(shape)


def _clouds(kinds: dict[str, Optics], say: Say) -> dict[str, NDArray[np.generic]]:
    how = _streams(MODES)
    shape = (len(CLOUDS), len(WAVELENGTH_UM), len(CLOUD_DEPTHS))
    sun, view = len(SUN_ZENITHS_DEG), len(VIEW_ZENITHS_DEG)
    modes = np.empty((*shape, MODES, view, sun))
    down, up, sphere = np.empty((*shape, sun)), np.empty((*shape, view)), np.empty(shape)
    for number, name in enumerate(CLOUDS):
        kind = kinds[name]
        for band in range(len(WAVELENGTH_UM)):
            moments, peak = radiation.delta_moments(kind.moments[band], how.legendre_terms)
            kept = 1 - kind.albedo[band] * peak
            depth = np.asarray(CLOUD_DEPTHS) * kind.extinction[band] * kept
            albedo = np.full(len(depth), kind.albedo[band] * (1 - peak) / kept)
            phase = radiation.phase_modes(how, moments)
            layer = (depth, albedo, np.broadcast_to(phase, (len(depth), *phase.shape)))
            found, once = _stack(how, [layer])
            where = (number, band)
            modes[where] = (found.modes - once) * how.cosines[how.sun]
            down[where], up[where], sphere[where] = found.down, found.up, found.albedo
        say(f"clouds of {name} done")
    rows = _scattering_rows(kinds, CLOUDS, how.legendre_terms)
    return {
        "modes": modes.astype(np.float16),
        "down": down.astype(np.float16),
        "up": up.astype(np.float16),
        "sphere": sphere.astype(np.float16),
        **{key: value.astype(np.float32) for key, value in rows.items()},
    }
