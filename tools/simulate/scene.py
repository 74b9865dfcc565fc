"""A made-up strip: ground, air, clouds and their shadows, seen by a 13-band instrument.

Whole-strip memory is about twenty float32 fields per 10 m pixel; the 13 bands exist for one
row block at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from payload.drivers.strip_header import GROUND_SPEED_M_S
from payload.types import BANDS_OF_GRID, F32, U16, Band, Georeference, Grid, RowBlock, StripInfo
from tools.simulate.atmosphere import (
    CIRRUS_COLOUR,
    GAS_FROM_CIRRUS,
    GAS_FROM_GROUND,
    GAS_FROM_LOW_CLOUD,
    LOW_CLOUD_COLOUR,
    Atmosphere,
    clear_air,
    cloud_reflectance,
    noise_deviation,
)
from tools.simulate.fields import Shape, blurred, fractal, moved, scaled, smooth_step
from tools.simulate.geometry import Geometry
from tools.simulate.ground import PIXEL_M, Ground, make_ground

GEOMETRY = Geometry(sun_zenith_deg=37.0, sun_azimuth_deg=152.0, view_zenith_deg=6.0, view_azimuth_deg=104.0)
AEROSOL_DEPTH = 0.14
CLOUD_FOOT_M = 900.0
SWATH_EDGE_TANGENT = 0.21
BLOCK_ROWS = 60
START_UTC_NS = 1_717_236_000_000_000_000
LINE_PERIOD_S = PIXEL_M / GROUND_SPEED_M_S


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """All that is needed to make any row of the strip; fields are (rows, cols), 10 m grid."""

    info: StripInfo
    seed: int
    ground: Ground
    air: Atmosphere
    sunlight: F32
    cumulus: F32
    cumulus_shade: F32
    cirrus: F32
    has_data: F32

    def blocks(self) -> Iterator[RowBlock]:
        """Row blocks of the whole strip, in order, as an instrument would deliver them."""
        for row in range(0, self.info.rows, BLOCK_ROWS):
            row_end = min(row + BLOCK_ROWS, self.info.rows)
            yield RowBlock(row, row_end - row, self._dn(row, row_end))

    def reflectance(self, row: int, row_end: int) -> F32:
        """Top-of-atmosphere reflectance (13, rows, cols) of the rows, without noise."""
        part = slice(row, row_end)
        air, column = self.air, (13, 1, 1)
        direct = air.direct_share.reshape(column)
        light = direct * self.sunlight[part] + (1 - direct) * (0.75 + 0.25 * self.sunlight[part].clip(0, 1))
        surface = self.ground.reflectance(row, row_end)
        surface = surface * light / (1 - surface * air.spherical_albedo.reshape(column))
        clear = GAS_FROM_GROUND.reshape(column) * air.transmittance.reshape(column) * surface
        low, high = cloud_reflectance(self.cumulus[part]), cloud_reflectance(self.cirrus[part])
        cloud = GAS_FROM_LOW_CLOUD * LOW_CLOUD_COLOUR * np.sqrt(air.transmittance)
        below = air.path.reshape(column) * (1 - 0.6 * low) + clear * (1 - low)
        below = below + cloud.reshape(column) * low * self.cumulus_shade[part]
        ice = (GAS_FROM_CIRRUS * CIRRUS_COLOUR).reshape(column) * high
        seen: F32 = (ice + below * (1 - high) ** 2 / (1 - 0.5 * high * below)).astype(np.float32)
        return seen

    def _dn(self, row: int, row_end: int) -> dict[Grid, U16]:
        """Native-grid samples with noise; every block has its own random numbers."""
        rng = np.random.default_rng([self.seed, row])
        seen = self.reflectance(row, row_end)
        order = list(Band)
        dn: dict[Grid, U16] = {}
        for grid, bands in BANDS_OF_GRID.items():
            places = [order.index(band) for band in bands]
            sharp = np.zeros((13, *_means(seen[0], grid).shape), np.float32)
            for place in places:
                sharp[place] = _means(seen[place], grid)
            noise = noise_deviation(sharp, GEOMETRY.cos_sun)[places]
            noisy = sharp[places] + noise * rng.standard_normal(noise.shape, dtype=np.float32)
            counts = np.clip(np.round(noisy * 10000.0) + 1000.0, 1, 65535)
            received = _means(self.has_data[row:row_end], grid) >= 0.999
            dn[grid] = (counts * received).astype(np.uint16)
        return dn


def _means(field: F32, grid: Grid) -> F32:
    """Means of pitch x pitch pixels; edge pixels stand for what lies past the strip's end."""
    pitch = int(grid)
    rows, columns = field.shape
    if rows % pitch or columns % pitch:
        field = np.pad(field, ((0, -rows % pitch), (0, -columns % pitch)), mode="edge")
    means: F32 = field.reshape(field.shape[0] // pitch, pitch, field.shape[1] // pitch, pitch).mean(
        axis=(1, 3), dtype=np.float32
    )
    return means


def make_scene(seed: int, shape: Shape) -> Scene:
    """The strip of that seed and size (rows, cols)."""
    rng = np.random.default_rng(seed)
    ground = make_ground(rng, shape)
    cumulus, top_m = _cumulus(rng, shape)
    lit = np.exp(-_shadow_depth(cumulus, top_m) * 0.075 / GEOMETRY.cos_sun)
    diffuse = blurred(cloud_reflectance(cumulus), 60.0)
    under_cloud = np.clip(lit + 0.10 + 0.25 * diffuse * (1 - lit), 0.0, 1.0)
    sun = GEOMETRY.towards_sun
    terrain = ground.illumination(sun, float(np.radians(GEOMETRY.sun_zenith_deg)))
    return Scene(
        info=_strip_info(seed, shape),
        seed=seed,
        ground=ground,
        air=clear_air(GEOMETRY, AEROSOL_DEPTH),
        sunlight=(terrain * under_cloud).astype(np.float32),
        cumulus=cumulus,
        cumulus_shade=_relief(top_m, sun),
        cirrus=_cirrus(rng, shape),
        has_data=_swath(shape),
    )


def _cumulus(rng: np.random.Generator, shape: Shape) -> tuple[F32, F32]:
    """Optical depth and top height in metres of fair-weather clouds, thinning to the left."""
    columns = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    groups = fractal(rng, shape, 1.9, 240.0) * 0.8 + fractal(rng, shape, 1.35, 90.0) * 0.75
    lumps = scaled(groups + 0.22 * fractal(rng, shape, 0.8, 30.0)) + 0.35 * columns
    rise = np.maximum(lumps - 1.22, 0.0)
    cauliflower = np.exp(0.28 * fractal(rng, shape, 0.9, 24.0))
    depth = 46.0 * rise**0.85 * cauliflower * smooth_step(rise, 0.0, 0.22)
    top_m = CLOUD_FOOT_M + 85.0 * np.sqrt(np.minimum(depth, 90.0)) * (rise > 0)
    return blurred(depth.astype(np.float32), 0.9).clip(0, 90), top_m.astype(np.float32)


def _shadow_depth(depth: F32, top_m: F32) -> F32:
    """Optical depth between each ground pixel and the sun: every layer moved along the sunbeam."""
    per_height = GEOMETRY.shadow_per_height
    shadow = np.zeros_like(depth)
    layer_m = 2.0 * PIXEL_M / np.hypot(*per_height)
    for height_m in np.arange(CLOUD_FOOT_M, float(top_m.max()) + 1.0, layer_m):
        away = height_m / PIXEL_M
        layer = depth * (top_m >= height_m)
        shadow = np.maximum(shadow, moved(layer, per_height[0] * away, per_height[1] * away))
    return blurred(shadow, 1.5).clip(0, None)


def _relief(top_m: F32, sun: tuple[float, float]) -> F32:
    """Bright and dark sides of the cloud tops, about 1."""
    down, right = np.gradient(blurred(top_m, 2.0), PIXEL_M)
    slope = down * sun[0] + right * sun[1]
    shade: F32 = np.clip(1.0 - 0.22 * slope, 0.62, 1.25).astype(np.float32)
    return shade


def _cirrus(rng: np.random.Generator, shape: Shape) -> F32:
    """Optical depth of a high veil of fibres across the lower left of the strip."""
    rows, columns = np.ogrid[0.0 : 1.0 : shape[0] * 1j, 0.0 : 1.0 : shape[1] * 1j]
    edge = rows - 0.62 * columns - 0.22 + 0.10 * fractal(rng, shape, 1.8)
    fibres = fractal(rng, shape, 1.45, 200.0, stretch=4.0, along_rad=-0.45)
    billows = fractal(rng, shape, 1.7, 300.0, stretch=1.6, along_rad=0.3)
    veil = np.exp(0.65 * scaled(fibres + 0.9 * billows)) * smooth_step(edge.astype(np.float32), 0.0, 0.45)
    return np.clip(1.1 * veil, 0.0, 6.0).astype(np.float32)


def _swath(shape: Shape) -> F32:
    """1 where the instrument looked, 0 beyond the slanted edge of its swath (lower right)."""
    rows, columns = np.ogrid[0.0 : shape[0], 0.0 : shape[1]]
    edge = shape[1] * 1.04 - SWATH_EDGE_TANGENT * rows
    return (columns < edge).astype(np.float32)


def _strip_info(seed: int, shape: Shape) -> StripInfo:
    return StripInfo(
        strip_id=f"SIMULATED_{seed}_{shape[0]}x{shape[1]}",
        start_utc_ns=START_UTC_NS,
        line_period_s=LINE_PERIOD_S,
        rows=shape[0],
        columns=shape[1],
        ground_sample_m=PIXEL_M,
        bands=tuple(Band),
        offset_dn=dict.fromkeys(Band, -1000),
        quantification_dn=10000,
        georeference=Georeference(epsg=32631, easting_m=699_960.0, northing_m=5_100_000.0),
        sun_zenith_deg=GEOMETRY.sun_zenith_deg,
        sun_azimuth_deg=GEOMETRY.sun_azimuth_deg,
        view_zenith_deg=GEOMETRY.view_zenith_deg,
        view_azimuth_deg=GEOMETRY.view_azimuth_deg,
    )
