"""One window of a scene, from the sun to the instrument, on the native grids.

The order of events: sunlight passes the clouds (`light`) and the air, falls on slopes, is
reflected by the ground, mixed with its surroundings by the air, joined by the light of the air
itself, covered and lit up by one cloud layer after another, each with the air above it, and
seen by every band a moment later than by the one before.

Sources: adjacency after Vermote et al. (1997), IEEE TGRS 35, 675 (environment reflectance);
bidirectional reflectance after Roy et al. (2016), Remote Sens. Environ. 176, 255, with the
kernels of MODIS (RossThick, LiSparse-R); delays between bands from the MSI focal plane.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from payload.types import F32, Grid, Window
from tools.simulate.bands import BANDS, of_grid
from tools.simulate.cloud_fields import Cloud
from tools.simulate.geometry import Geometry
from tools.simulate.light import grown, means, shadow_depth
from tools.simulate.lookup import Air, CloudCurves, place
from tools.simulate.world import World

MARGIN_PX = 36
PATH_IN_SHADOW = 0.5
"""Share of the air between ground and cloud foot, on the line of sight from a shadow, that lies
in the shadow too: the line of sight leaves the slanted beam of shade before it reaches the cloud."""
SATELLITE_KM, GROUND_SPEED_KM_S = 786.0, 6.8
"""Height, and how fast the line of sight sweeps over a thing at rest."""
REFERENCE_DELAY_S = 0.527
"""B03: truth lies where this band sees it."""
BAND_DELAY_S = dict(
    zip(
        BANDS,
        (2.314, 0.0, 0.527, 1.005, 1.269, 1.525, 1.790, 0.263, 2.055, 2.586, 0.851, 1.468, 2.085),
        strict=True,
    )
)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a window shows and what is true of it.

    Attributes:
        top: reflectance at the top of the atmosphere per native grid, no noise, no blur.
        surface: what an exact correction would find, slope light included, clouds not.
        depth: optical depth of all clouds at 0.55 um (rows, cols), 10 m grid, where B03 sees it.
        height_km: top of the highest cloud of depth over 0.1; 0 without one.
        shade: share of the sunlight (direct and sky, B03) that clouds keep from the ground.
        contrast: how much reflectance that costs at the top of the atmosphere in the 10 m band
            that shows it most.
    """

    top: Mapping[Grid, F32]
    surface: Mapping[Grid, F32]
    depth: F32
    height_km: F32
    shade: F32
    contrast: F32


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """One cloud over the padded window."""

    cloud: Cloud
    curves: CloudCurves
    depth: F32
    lit: F32


def render(world: World, window: Window) -> Seen:
    """The window (multiples of 6 px) of a world."""
    wide = grown(window, MARGIN_PX)
    geometry = world.geometry
    ground = world.ground.native(wide)
    slope = world.ground.slope_light(wide, geometry.towards_sun, geometry.cos_sun)
    layers = _layers(world, wide)
    shadows = [
        (curves, shadow)
        for cloud, curves in zip(world.clouds, world.curves, strict=True)
        if (shadow := shadow_depth(cloud, wide, geometry)).any()
    ]
    tops, surfaces = {}, {}
    shade = contrast = np.zeros((wide.rows, wide.cols), np.float32)
    for grid in Grid:
        sky = _Sky.of(world, wide, grid)
        light, open_light = _ground_light(sky, slope, shadows, grid)
        tops[grid] = _look(sky, ground[grid], light, light / open_light, layers)
        looks = world.anisotropy[sky.bands][:, None, None] * ground[grid]
        surfaces[grid] = looks * open_light / sky.level_light
        if grid is Grid.R10M:
            shade = np.clip(1 - light[1] / open_light[1], 0, 1)
            contrast = (sky.gas * sky.air.up * looks * (open_light - light)).max(axis=0)
    inner = slice(MARGIN_PX, -MARGIN_PX)
    depth = np.zeros_like(shade)
    height = np.zeros_like(shade)
    for layer in layers:
        depth += layer.depth
        there = layer.cloud.foot_km + layer.cloud.thickness(layer.depth)
        height = np.where(layer.depth > 0.1, np.maximum(height, there), height)
    return Seen(
        {grid: _cut(plane, grid) for grid, plane in tops.items()},
        {grid: _cut(plane, grid) for grid, plane in surfaces.items()},
        depth[inner, inner],
        height[inner, inner],
        shade[inner, inner],
        contrast[inner, inner],
    )


def _cut(plane: F32, grid: Grid) -> F32:
    inner = slice(MARGIN_PX // grid, -MARGIN_PX // grid)
    return np.ascontiguousarray(plane[:, inner, inner])


def _layers(world: World, wide: Window) -> list[_Layer]:
    """Every cloud with its sides lit, and shaded by what is above it."""
    found = []
    for number, (cloud, curves) in enumerate(zip(world.clouds, world.curves, strict=True)):
        depth = cloud.depth(wide)
        if not depth.any():
            continue
        lit = _relief(cloud, depth, world.geometry)
        for above, above_curves in zip(world.clouds[number + 1 :], world.curves[number + 1 :], strict=True):
            if above.foot_km > cloud.top_km:
                shadow = shadow_depth(above, wide, world.geometry, cloud.top_km)
                lit = lit * above_curves.down[2][place(shadow)]
        found.append(_Layer(cloud, curves, depth, lit))
    return found


def _relief(cloud: Cloud, depth: F32, geometry: Geometry) -> F32:
    """Brightness of the cloud's sides relative to a flat one: the slope of its top to the sun."""
    if cloud.relief == 0:
        return np.ones_like(depth)
    down, right = np.gradient(cloud.thickness(depth) * np.float32(100.0))
    sun = geometry.towards_sun
    slope = down * np.float32(sun[0]) + right * np.float32(sun[1])
    tangent = np.float32(cloud.relief * np.tan(np.radians(geometry.sun_zenith_deg)))
    return np.clip(1 - np.tanh(slope * tangent) * np.float32(0.6), 0.35, 1.45).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Sky:
    """Air and context of the padded window on one grid; fields (band, rows, cols) or (band, 1, 1)."""

    world: World
    grid: Grid
    window: Window
    bands: list[int]
    air: Air
    gas: F32
    leaked: F32 | None
    cover: F32
    around: F32

    @classmethod
    def of(cls, world: World, wide: Window, grid: Grid) -> _Sky:
        bands = of_grid(grid)
        context = world.context
        mix = world.mix(wide, int(grid))
        near, far = world.airs

        def blend(name: str) -> F32:
            first, second = (getattr(one, name)[bands][:, None, None] for one in (near, far))
            return np.asarray(first + (second - first) * mix, np.float32)

        names = ("path", "down", "up", "sphere", "direct_down", "direct_up")
        return cls(
            world,
            grid,
            wide,
            bands,
            Air(*(blend(name) for name in names)),
            world.gas(0.0, 1.0)[bands][:, None, None],
            None if context.leaked is None else context.at(context.leaked[bands], wide, int(grid)),
            context.at(context.cover, wide, int(grid)),
            context.at(context.ground[bands], wide, int(grid)),
        )

    @property
    def sphere(self) -> F32:
        """Reflectance of air and cloud foot for light from below."""
        ceiling = self.world.ceiling[self.bands][:, None, None]
        return self.air.sphere + self.cover * np.maximum(ceiling - self.air.sphere, 0)

    @property
    def level_light(self) -> F32:
        """Light on level ground without clouds."""
        return self.air.down / (1 - self.around * self.air.sphere)


def _ground_light(
    sky: _Sky, slope: F32 | None, shadows: list[tuple[CloudCurves, F32]], grid: Grid
) -> tuple[F32, F32]:
    """Light on the ground under the clouds, and as it were without them."""
    direct, diffuse = sky.air.direct_down, sky.air.down - sky.air.direct_down
    view = np.float32(1.0)
    if slope is not None:
        lit = means(slope[None], grid)
        direct = direct * lit
        view = np.clip(0.3 + 0.7 * lit, 0, 1)
    open_light = (direct + diffuse * view) / (1 - sky.around * sky.air.sphere)
    if sky.leaked is None:
        return open_light, open_light
    passed: F32 | np.float32 = np.float32(1.0)
    for curves, depth in shadows:
        columns = place(means(depth[None], grid)[0])
        passed = passed * np.stack([curves.direct_down[band][columns] for band in sky.bands])
    light = direct * passed + diffuse * view * (1 - sky.cover) + sky.air.down * sky.leaked * view
    return np.asarray(light / (1 - sky.around * sky.sphere), np.float32), open_light


def _look(sky: _Sky, ground: F32, light: F32, lit: F32, layers: list[_Layer]) -> F32:
    """Reflectance at the top of the atmosphere; ``lit`` is the share of light that clouds leave."""
    world, near = sky.world, sky.air
    sent = ground * sky.world.anisotropy[sky.bands][:, None, None] * light
    around = sky.around * sky.level_light * (1 - 0.5 * sky.cover)
    surface = sky.gas * (near.direct_up * sent + (near.up - near.direct_up) * around)
    half_gas = world.gas(0.0, 0.5)[sky.bands][:, None, None]
    if not layers:
        return np.asarray(near.path * half_gas + surface, np.float32)
    foot_km = layers[0].cloud.foot_km
    high = (world.above(foot_km).path * world.gas(foot_km, 0.5))[sky.bands][:, None, None]
    path = near.path * half_gas
    path = path - PATH_IN_SHADOW * np.maximum(path - high, 0) * (1 - np.clip(lit, 0, 1))
    seen = surface + path
    for layer in layers:
        seen = _covered(sky, seen, layer)
    return np.asarray(seen, np.float32)


def _covered(sky: _Sky, seen: F32, layer: _Layer) -> F32:
    """``seen`` with one more cloud layer and the air above it."""
    world, bands = sky.world, sky.bands
    height = layer.cloud.foot_km
    above = world.above(height)
    depth = means(np.log1p(layer.depth)[None], sky.grid)[0]
    lit = means(layer.lit[None], sky.grid)[0]
    gas, half_gas = world.gas(height, 1.0), world.gas(height, 0.5)
    done = np.empty_like(seen)
    shift_px = height * GROUND_SPEED_KM_S / SATELLITE_KM / (0.01 * int(sky.grid))
    curves = layer.curves
    for number, band in enumerate(bands):
        delay = BAND_DELAY_S[BANDS[band]] - REFERENCE_DELAY_S
        move = (shift_px * delay * world.track[0], shift_px * delay * world.track[1])
        columns = place(np.expm1(_moved(depth, *move)))
        bright = curves.reflectance[band][columns] * _moved(lit, *move)
        direct = curves.direct_up[band][columns]
        scattered = np.maximum(curves.up[band][columns] - direct, 0)
        air_path = above.path[band] * half_gas[band]
        below = np.maximum(seen[number] - air_path, 0)
        through = direct * below + scattered * _spread(below, sky.grid)
        white = 1 - np.minimum(curves.sphere[band][columns] * below, 0.8)
        done[number] = air_path + gas[band] * above.down[band] * above.up[band] * bright + through / white
    return done


def _moved(field: F32, down: float, right: float) -> F32:
    """The field displaced by a fraction of pixels, linear; wraps at the edges, which are margin."""
    row, col = int(np.floor(down)), int(np.floor(right))
    part_row, part_col = np.float32(down - row), np.float32(right - col)
    whole = np.roll(field, (row, col), (0, 1))
    if part_row > 0.01:
        whole = whole + part_row * (np.roll(whole, 1, 0) - whole)
    if part_col > 0.01:
        whole = whole + part_col * (np.roll(whole, 1, 1) - whole)
    return whole


def _spread(field: F32, grid: Grid) -> F32:
    """The field averaged over about 180 m: what a veil shows of the ground by scattered light."""
    reach = max(1, 9 // int(grid))
    for axis in (0, 1):
        padding = [(0, 0), (0, 0)]
        padding[axis] = (reach + 1, reach)
        total = np.cumsum(np.pad(field, padding, mode="edge"), axis=axis, dtype=np.float32)
        ahead, behind = (total[2 * reach + 1 :], total[: -2 * reach - 1])
        if axis == 1:
            ahead, behind = (total[:, 2 * reach + 1 :], total[:, : -2 * reach - 1])
        field = (ahead - behind) / np.float32(2 * reach + 1)
    return field
