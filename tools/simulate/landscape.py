"""Made-up ground: land in plots or patches, woods, water, towns, snow, over hills.

A landscape is painted: a palette of spectra laid out by a number per pixel, then covers, one
upon another, each with its share of every pixel. What is kept are functions of the place; the
13-band reflectance of a window is made when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from payload.types import F32, Grid, Window
from tools.simulate.bands import of_grid
from tools.simulate.light import means
from tools.simulate.lookup import FOLDER
from tools.simulate.noise import Canvas, Noise, smooth_step, threshold_of_cover
from tools.simulate.plots import U32, lay_plots, places, scrambled, share_of

PIXEL_M = 10.0
COVER_FILE = "covers.npz"
MIN_REFLECTANCE, MAX_REFLECTANCE = 0.0005, 1.1

Share = Callable[[Window, int], F32]
Number = Callable[[Window, int], U32]


@cache
def library() -> dict[str, F32]:
    """Spectra (count, 13) by kind of cover, from `tools.simulate.covers`."""
    with np.load(FOLDER / COVER_FILE) as stored:
        return {name: stored[name].astype(np.float32) for name in stored.files}


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """Something on the ground.

    Attributes:
        palette: its spectra (k, 13).
        number: which of them a pixel has, modulo k; None if there is but one.
        share: its part of each pixel, 0 .. 1; None for the whole ground.
    """

    palette: F32
    number: Number | None
    share: Share | None

    def spectra(self, window: Window, step: int) -> F32:
        """Reflectance (13, rows, cols), or (13, 1, 1) if it is the same everywhere."""
        if self.number is None:
            return self.palette[0][:, None, None]
        chosen = (self.number(window, step) % np.uint32(len(self.palette))).astype(np.intp)
        return np.stack([column[chosen] for column in self.palette.T])


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """Ground that was never seen.

    Attributes:
        biome: what kind of country it is.
        covers: from the bottom up; the first has no share.
        texture: what darkens and brightens all bands alike, and how strongly.
        hills: elevation field and its standard deviation in metres; None for level ground.
    """

    biome: str
    covers: tuple[Cover, ...]
    texture: tuple[Noise, float]
    hills: tuple[Noise, float] | None

    def reflectance(self, window: Window, step: int = 1) -> F32:
        """Surface reflectance (13, rows, cols) at every ``step``-th pixel."""
        ground: F32 | None = None
        for cover in self.covers:
            if ground is None or cover.share is None:
                ground = cover.spectra(window, step)
                continue
            share = cover.share(window, step)
            if share.any():
                ground = ground + share * (cover.spectra(window, step) - ground)
        assert ground is not None
        noise, strength = self.texture
        ground = ground * np.exp(np.float32(strength) * noise.at(window, step))
        return np.clip(ground, MIN_REFLECTANCE, MAX_REFLECTANCE)

    def native(self, window: Window) -> dict[Grid, F32]:
        """Surface reflectance per native grid."""
        fine = self.reflectance(window)
        return {grid: means(fine[of_grid(grid)], grid) for grid in Grid}

    def spaced(self, window: Window, step: int) -> F32:
        """Surface reflectance (13, rows, cols) of every ``step``-th pixel."""
        return self.reflectance(window, step)

    def slope_light(self, window: Window, towards_sun: tuple[float, float], cos_sun: float) -> F32 | None:
        """Direct sunlight on the slope relative to level ground; None if all is level."""
        if self.hills is None:
            return None
        noise, deviation_m = self.hills
        down, right = np.gradient(noise.at(window) * np.float32(deviation_m / PIXEL_M))
        tangent = np.float32(np.sqrt(1 - cos_sun**2) / cos_sun)
        uphill = down * np.float32(towards_sun[0]) + right * np.float32(towards_sun[1])
        lit = (1 - uphill * tangent) / np.sqrt(1 + down**2 + right**2)
        return np.clip(lit, 0.0, 2.2).astype(np.float32)


def pick(canvas: Canvas, kind: str, count: int = 1) -> F32:
    """Spectra (count, 13) of a kind: what grows or lies in one country resembles itself."""
    spectra = library()[kind]
    few = spectra[canvas.rng.integers(0, len(spectra), max(1, min(count, 6)))]
    chosen = few[canvas.rng.integers(0, len(few), count)]
    bright = np.exp(canvas.rng.normal(0, 0.12, (count, 1)))
    tint = np.exp(canvas.rng.normal(0, 0.03, (count, 13)))
    return (chosen * bright * tint).astype(np.float32)


def _palette(canvas: Canvas, shares: dict[str, float], size: int = 64) -> F32:
    counts = np.maximum(1, np.round(size * np.array(list(shares.values())))).astype(int)
    return np.concatenate([pick(canvas, kind, count) for kind, count in zip(shares, counts, strict=True)])


def plots(canvas: Canvas, shares: dict[str, float]) -> Cover:
    """Fields of crops and soil."""
    width = canvas.log_uniform(4.0, 30.0)
    grain = lay_plots(canvas, width, width * canvas.uniform(1.0, 5.0), canvas.log_uniform(50.0, 250.0))
    return Cover(_palette(canvas, shares), grain.number, None)


def patches(canvas: Canvas, shares: dict[str, float], size: int = 8) -> Cover:
    """Natural ground: one kind gives way to another in patches without straight lines."""
    field = canvas.noise(canvas.uniform(1.2, 1.8), canvas.log_uniform(40.0, 400.0))
    edges = np.sort(canvas.rng.normal(size=size - 1)).astype(np.float32)

    def number(window: Window, step: int) -> U32:
        return np.searchsorted(edges, field.at(window, step)).astype(np.uint32)

    palette = _palette(canvas, shares, size)
    return Cover(palette[canvas.rng.permutation(len(palette))], number, None)


def blend(canvas: Canvas, kind: str, slope: float | None = None) -> Cover:
    """A second ground that takes over gradually."""
    field = canvas.noise(slope or canvas.uniform(1.0, 1.7), canvas.log_uniform(30.0, 300.0))
    steep, middle = canvas.uniform(0.5, 3.0), canvas.uniform(-1.0, 1.0)

    def share(window: Window, step: int) -> F32:
        return (1 / (1 + np.exp(-np.float32(steep) * (field.at(window, step) - middle)))).astype(np.float32)

    return Cover(pick(canvas, kind), None, share)


def stands(canvas: Canvas, kind: str, cover_ratio: float) -> Cover:
    """Woods, lakes, snow fields: all there or not, with ragged edges."""
    field = canvas.noise(canvas.uniform(1.3, 1.8), canvas.log_uniform(50.0, 300.0))
    edge, width = threshold_of_cover(cover_ratio), canvas.uniform(0.02, 0.12)
    inside = canvas.noise(1.5)
    tones = pick(canvas, kind, 4)

    def share(window: Window, step: int) -> F32:
        return smooth_step(field.at(window, step), edge, width)

    def number(window: Window, step: int) -> U32:
        return np.clip(np.floor(inside.at(window, step) + 2.0), 0, 3).astype(np.uint32)

    return Cover(tones, None if kind == "water" else number, share)


def river(canvas: Canvas) -> Cover:
    field = canvas.noise(canvas.uniform(1.5, 1.9))
    level, width = canvas.uniform(-0.7, 0.7), canvas.uniform(0.004, 0.05)

    def share(window: Window, step: int) -> F32:
        return np.clip(1.5 - np.abs(field.at(window, step) - level) / width, 0, 1).astype(np.float32)

    return Cover(pick(canvas, "water"), None, share)


def roads(canvas: Canvas) -> Cover:
    """A few roads, nearly straight."""
    rng = canvas.rng
    roads = [
        (
            rng.uniform(0, np.pi),
            rng.uniform(0, canvas.rows),
            rng.uniform(0, canvas.columns),
            rng.uniform(0.3, 1.1),
        )
        for _ in range(int(rng.integers(1, 6)))
    ]
    bend = canvas.noise(2.0)

    def share(window: Window, step: int) -> F32:
        row, col = places(window, step)
        swing = 8.0 * bend.at(window, step)
        most = np.zeros(swing.shape, np.float32)
        for angle, row0, col0, width in roads:
            across = (col - col0) * np.sin(angle) - (row - row0) * np.cos(angle) + swing
            most = np.maximum(most, np.clip(width + 0.5 - np.abs(across), 0, min(1.0, 1.6 * width)))
        return most.astype(np.float32)

    return Cover(pick(canvas, str(rng.choice(["urban", "soil"]))), None, share)


def town(canvas: Canvas, density: float) -> Cover:
    """Roofs and streets in blocks, thinning outwards, gardens between."""
    block = canvas.log_uniform(2.0, 7.0)
    blocks = lay_plots(canvas, block, block * canvas.uniform(1.0, 2.2), canvas.log_uniform(20.0, 60.0))
    where = canvas.noise(1.8)
    edge, built = threshold_of_cover(density), canvas.uniform(0.45, 0.9)

    def share(window: Window, step: int) -> F32:
        town = smooth_step(where.at(window, step), edge, 0.5)
        block = blocks.number(window, step)
        roofed = 0.3 + 0.65 * share_of(scrambled(block, 1))
        return (roofed * (share_of(block) < built * town)).astype(np.float32)

    return Cover(_pick_any(canvas, "urban", 96), blocks.number, share)


def _pick_any(canvas: Canvas, kind: str, count: int) -> F32:
    spectra = library()[kind]
    return spectra[canvas.rng.integers(0, len(spectra), count)]


def sea(canvas: Canvas, cover_ratio: float) -> tuple[Cover, Cover]:
    coast, currents = canvas.noise(canvas.uniform(1.4, 2.0)), canvas.noise(1.6)
    edge, width = threshold_of_cover(cover_ratio), canvas.log_uniform(0.01, 0.15)

    def sea(window: Window, step: int) -> F32:
        return smooth_step(coast.at(window, step), edge, width)

    def current(window: Window, step: int) -> F32:
        stream = 1 / (1 + np.exp(-2.0 * currents.at(window, step)))
        return (sea(window, step) * stream).astype(np.float32)

    return Cover(pick(canvas, "water"), None, sea), Cover(pick(canvas, "water"), None, current)


_LAND = {"crop": 0.3, "forest": 0.25, "soil": 0.2, "dry": 0.2, "rock": 0.05}
BIOMES: dict[str, float] = {
    "farmland": 0.20,
    "forest": 0.15,
    "savanna": 0.12,
    "desert": 0.09,
    "bright": 0.05,
    "town": 0.10,
    "coast": 0.11,
    "ocean": 0.03,
    "snow": 0.09,
    "mixed": 0.06,
}
"""Kinds of country, and how often."""


def draw_landscape(canvas: Canvas, biome: str | None = None) -> Landscape:
    """One landscape; ``biome`` is a key of BIOMES, or chosen by chance."""
    rng = canvas.rng
    shares = np.array(list(BIOMES.values()))
    chosen = biome or str(rng.choice(list(BIOMES), p=shares / shares.sum()))
    covers = _land_of(canvas, chosen)
    if chosen not in ("ocean", "coast") and rng.random() < 0.35:
        covers.append(
            river(canvas) if rng.random() < 0.5 else stands(canvas, "water", canvas.uniform(0.02, 0.2))
        )
    if chosen in ("farmland", "town", "mixed", "savanna", "forest") and rng.random() < 0.6:
        covers.append(roads(canvas))
    texture = (
        canvas.noise(canvas.uniform(0.6, 1.4)),
        canvas.uniform(0.02, 0.16) * (0.3 if chosen == "ocean" else 1),
    )
    hills = None
    if chosen in ("forest", "savanna", "desert", "snow", "mixed") and rng.random() < 0.55:
        hills = (canvas.noise(canvas.uniform(1.6, 2.0)), canvas.log_uniform(10.0, 220.0))
    return Landscape(chosen, tuple(covers), texture, hills)


def _land_of(canvas: Canvas, biome: str) -> list[Cover]:
    rng = canvas.rng
    if biome == "farmland":
        woods = stands(canvas, "forest", canvas.uniform(0.02, 0.3))
        return [
            plots(canvas, {"crop": 0.5, "soil": 0.28, "dry": 0.16, "bright": 0.02, "forest": 0.04}),
            woods,
        ]
    if biome == "forest":
        clearing = stands(
            canvas, str(rng.choice(["crop", "dry", "soil", "burnt"])), canvas.uniform(0.02, 0.3)
        )
        return [patches(canvas, {"forest": 0.9, "crop": 0.1}), blend(canvas, "forest"), clearing]
    if biome == "savanna":
        kinds = ["soil", "crop", "forest", "burnt"]
        return [patches(canvas, {"dry": 0.65, "soil": 0.35}), blend(canvas, str(rng.choice(kinds)), 1.2)]
    if biome == "desert":
        kinds = ["soil", "bright", "rock"]
        return [
            patches(canvas, {"soil": 0.6, "rock": 0.25, "bright": 0.15}),
            blend(canvas, str(rng.choice(kinds))),
        ]
    if biome == "bright":
        return [patches(canvas, {"bright": 0.7, "soil": 0.3}), blend(canvas, "bright")]
    if biome == "town":
        return [
            plots(canvas, {"crop": 0.4, "soil": 0.2, "dry": 0.2, "forest": 0.2}),
            town(canvas, canvas.uniform(0.1, 0.9)),
        ]
    if biome == "snow":
        ground = patches(canvas, {"rock": 0.4, "soil": 0.2, "forest": 0.3, "dry": 0.1})
        return [
            ground,
            stands(canvas, "forest", canvas.uniform(0.02, 0.4)),
            stands(canvas, "snow", canvas.uniform(0.1, 0.98)),
        ]
    if biome == "ocean":
        return list(sea(canvas, 0.9999))
    if biome == "coast":
        land = patches(canvas, _LAND) if rng.random() < 0.5 else plots(canvas, _LAND)
        return [land, *sea(canvas, canvas.uniform(0.1, 0.9))]
    return [
        patches(canvas, _LAND),
        blend(canvas, str(rng.choice(["dry", "crop", "soil"]))),
        stands(canvas, "forest", 0.15),
    ]
