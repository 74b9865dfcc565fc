"""The ground of a made-up strip: terrain, parcels, forest, water, a town, snow on the heights.

All that is kept for the whole strip is a few fields per 10 m pixel; the 13-band spectra are
made row block by row block (`Ground.reflectance`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from payload.types import F32
from tools.simulate.fields import Shape, blurred, fractal, scaled, smooth_step
from tools.simulate.parcels import Parcels, lay_parcels
from tools.simulate.spectra import SPECTRA

PIXEL_M = 10.0
VALLEY_FLOOR_M = 340.0


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What lies on the ground; every field is (rows, cols) on the 10 m grid.

    ``covers`` holds, in order of painting, a name of SPECTRA and its share 0..1 of each pixel.
    """

    elevation_m: F32
    parcels: Parcels
    covers: tuple[tuple[str, F32], ...]
    texture: F32

    @property
    def shape(self) -> Shape:
        rows, columns = self.elevation_m.shape
        return rows, columns

    def reflectance(self, row: int, row_end: int) -> F32:
        """Surface reflectance (13, row_end - row, cols) of the rows, bands in the order of Band."""
        part = slice(row, row_end)
        spectra = np.moveaxis(self.parcels.spectra[self.parcels.number[part]], -1, 0)
        for name, share in self.covers:
            cover = SPECTRA[name][:, None, None]
            spectra = spectra + share[part] * (cover - spectra)
        shaded: F32 = np.clip(spectra * self.texture[part], 0.0005, 1.05).astype(np.float32)
        return shaded

    def illumination(self, sun: tuple[float, float], sun_zenith_rad: float) -> F32:
        """Direct sunlight on the slope relative to a level place; ``sun`` is (row, col) towards it."""
        down, right = np.gradient(self.elevation_m, PIXEL_M)
        uphill = (down * sun[0] + right * sun[1]) * np.sin(sun_zenith_rad)
        cosine = (np.cos(sun_zenith_rad) - uphill) / np.sqrt(1.0 + down**2 + right**2)
        lit: F32 = np.clip(cosine / np.cos(sun_zenith_rad), 0.05, 1.9).astype(np.float32)
        return lit


def make_ground(rng: np.random.Generator, shape: Shape) -> Ground:
    """A valley with fields, a river, a lake and a town, rising to a snowy corner upper right."""
    elevation = _terrain(rng, shape)
    parcels = lay_parcels(rng, shape)
    height = elevation + 60.0 * fractal(rng, shape, 1.3)
    woods = np.maximum(
        smooth_step(fractal(rng, shape, 1.5, 260.0), 1.05, 0.12),
        smooth_step(height, 560.0, 60.0) * (1.0 - smooth_step(height, 1480.0, 160.0)),
    )
    alpine = smooth_step(height, 1400.0, 220.0)
    snow = smooth_step(height + 90.0 * fractal(rng, shape, 0.9), 1650.0, 140.0)
    level = 1.0 - smooth_step(elevation, 420.0, 60.0)
    river, lake = _water(rng, shape, level)
    houses, trees, streets = _town(rng, shape, level)
    covers = (
        ("track", _roads(rng, shape) * level),
        ("forest", woods),
        ("forest_dark", woods * smooth_step(fractal(rng, shape, 1.2, 120.0), 0.2, 0.9)),
        ("meadow", alpine * 0.7),
        ("rock", alpine * smooth_step(fractal(rng, shape, 1.1), -0.4, 0.8)),
        ("street", streets),
        ("roof_red", houses[0]),
        ("roof_grey", houses[1]),
        ("roof_white", houses[2]),
        ("forest", trees),
        ("gravel", np.clip(river * 2.2, 0, 1) * 0.6),
        ("water_river", np.clip(river * 2.2 - 1.0, 0, 1)),
        ("water_lake", lake),
        ("snow", snow),
    )
    covers = tuple((name, np.clip(blurred(share, 0.45), 0, 1).astype(np.float32)) for name, share in covers)
    return Ground(elevation, parcels, covers, _texture(rng, shape, woods, parcels.furrows, lake))


def _terrain(rng: np.random.Generator, shape: Shape) -> F32:
    rows, columns = np.ogrid[0.0 : shape[0], 0.0 : shape[1]]
    reach = min(shape)
    to_corner = np.hypot(rows * 1.15, shape[1] - columns) + 0.10 * reach * fractal(rng, shape, 1.8)
    climb = np.clip(1.0 - to_corner / (0.80 * reach), 0.0, 1.0)
    ridges = fractal(rng, shape, 1.9, 200.0) * 190.0
    hills = fractal(rng, shape, 2.0) * 16.0
    terrain: F32 = (VALLEY_FLOOR_M + hills + 1750.0 * climb**1.25 + ridges * np.sqrt(climb)).astype(
        np.float32
    )
    return terrain


def _water(rng: np.random.Generator, shape: Shape, level: F32) -> tuple[F32, F32]:
    """A winding river from top to bottom and a lake: shares of the pixel 0..1."""
    along = np.arange(shape[0], dtype=np.float32)
    winding = blurred(rng.standard_normal((shape[0], 1)).astype(np.float32), 28.0)[:, 0]
    winding = scaled(winding[:, None])[:, 0]
    centre = 0.40 * shape[1] + 26.0 * winding + 20.0 * np.sin(along / 43.0)
    lean = np.sqrt(1.0 + np.gradient(centre) ** 2)
    columns = np.arange(shape[1], dtype=np.float32)
    distance = np.abs(columns[None, :] - centre[:, None]) / lean[:, None]
    river = np.clip(5.5 - distance + 1.2 * fractal(rng, shape, 1.0), 0.0, 1.0)
    rows = np.arange(shape[0], dtype=np.float32)
    span = 0.11 * min(shape)
    oval = np.hypot(
        (rows[:, None] - 0.66 * shape[0]) / span, (columns[None, :] - 0.62 * shape[1]) / (1.7 * span)
    )
    lake = smooth_step(1.0 - oval + 0.22 * fractal(rng, shape, 1.7), 0.0, 0.03)
    return (river * np.maximum(level, 0.3)).astype(np.float32), lake


def _town(rng: np.random.Generator, shape: Shape, level: F32) -> tuple[tuple[F32, F32, F32], F32, F32]:
    """Roofs of three kinds, trees between them and streets: shares of the pixel."""
    rows, columns = np.mgrid[0.0 : shape[0], 0.0 : shape[1]].astype(np.float32)
    away = np.hypot(rows - 0.42 * shape[0], columns - 0.50 * shape[1]) / (0.085 * shape[1])
    density = smooth_step(1.25 - away + 0.45 * fractal(rng, shape, 1.3), 0.0, 0.6) * level
    turn = np.radians(24.0)
    block_row = np.floor((rows * np.cos(turn) + columns * np.sin(turn)) / 7.0)
    block_col = np.floor((columns * np.cos(turn) - rows * np.sin(turn)) / 9.0)
    step_row = (rows * np.cos(turn) + columns * np.sin(turn)) / 7.0 - block_row
    step_col = (columns * np.cos(turn) - rows * np.sin(turn)) / 9.0 - block_col
    streets = density * ((step_row < 0.17) | (step_col < 0.13))
    chance = rng.random(shape, dtype=np.float32)
    built = density * (1.0 - (streets > 0))
    kind = rng.random(shape, dtype=np.float32)
    hall = fractal(rng, shape, 0.8, 12.0) > 2.1
    red = built * (chance < 0.45) * (kind < 0.75)
    grey = built * (chance < 0.45) * (kind >= 0.75)
    white = built * hall
    trees = built * (chance > 0.72) * 0.8
    soft = [np.asarray(one, dtype=np.float32) for one in (red, grey, white, trees, streets * 0.8)]
    return (soft[0], soft[1], soft[2]), soft[3], soft[4]


def _roads(rng: np.random.Generator, shape: Shape) -> F32:
    rows, columns = np.mgrid[0.0 : shape[0], 0.0 : shape[1]].astype(np.float32)
    roads = np.zeros(shape, np.float32)
    for _ in range(7):
        angle = rng.uniform(0, np.pi)
        across = np.cos(angle) * (columns - rng.uniform(0, shape[1]))
        across += np.sin(angle) * (rows - rng.uniform(0, shape[0]))
        along = np.cos(angle) * rows - np.sin(angle) * columns
        bend = 9.0 * np.sin(along / rng.uniform(60, 140) + rng.uniform(0, 6)) + 4.0 * np.sin(along / 31.0)
        width = rng.uniform(0.4, 0.9)
        roads = np.maximum(roads, np.exp(-0.5 * ((across + bend) / width) ** 2) * rng.uniform(0.5, 0.95))
    return roads


def _texture(rng: np.random.Generator, shape: Shape, woods: F32, furrows: F32, lake: F32) -> F32:
    """Brightness of each pixel relative to its cover: crowns, furrows and patchiness."""
    crowns = 0.20 * scaled(blurred(rng.standard_normal(shape, dtype=np.float32), 0.6)) * woods
    patchy = 0.05 * fractal(rng, shape, 1.0, 60.0) + 0.03 * fractal(rng, shape, 0.5)
    calm = 1.0 - 0.9 * lake
    texture: F32 = (1.0 + (crowns + patchy + furrows * (1.0 - woods)) * calm).astype(np.float32)
    return np.clip(texture, 0.35, 1.9).astype(np.float32)
