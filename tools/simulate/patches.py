"""Training patches: small scenes with everything known, fast enough to be drawn while training.

    from tools.simulate.patches import make_patch
    patch = make_patch(seed)                              # made-up ground
    patch = make_patch(seed, backgrounds=backgrounds)     # half of them over real clear ground

Class rule (`classes_of`), in this order, from what is known exactly:
1. thick cloud: optical depth (0.55 um, all layers) of at least THICK_DEPTH;
2. thin cloud: of at least THIN_DEPTH;
3. cloud shadow: clouds take at least SHADOW_SHARE of the sunlight (green, direct and sky) that the
   ground would have; slopes that turn away from the sun are no shadow;
4. clear. Between the rule's limits and half of them nobody would be sure, nor of a shadow that
   takes less than SEEN_CONTRAST of reflectance, as on deep water: `is_doubtful`.

The limits lie where a network that was trained on a person's labels of real patches changes
its mind on simulated ones (docs/simulation.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.types import COUNTS_OFFSET, COUNTS_PER_REFLECTANCE, F32, U8, U16, Grid, SceneClass, Window
from tools.simulate.backgrounds import RealGround
from tools.simulate.cloud_fields import Cloud, draw_clouds
from tools.simulate.geometry import Geometry
from tools.simulate.instrument import draw_instrument
from tools.simulate.landscape import draw_landscape
from tools.simulate.lookup import AirState
from tools.simulate.noise import Canvas
from tools.simulate.render import render
from tools.simulate.sensors import Sensor, seen_by
from tools.simulate.world import Ground, World, draw_geometry, draw_state, make_world

SIZE_PX = 258
"""The first multiple of 6 that holds 256."""
THICK_DEPTH, THIN_DEPTH, SHADOW_SHARE = 4.5, 0.3, 0.35
SEEN_CONTRAST = 0.006
REAL_GROUND_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedPatch:
    """A made-up scene and all that is true of it.

    Attributes:
        name: seed, country and clouds.
        counts: what is delivered, per native grid, uint16 (band, row, col): reflectance =
            (counts - 1000) / 10000; 0 where there is no data.
        label: SceneClass per 10 m pixel, uint8 (row, col).
        doubtful: pixels (row, col) near the limits of the class rule.
        surface: surface reflectance per native grid (all bands), clouds taken away.
        cloud_depth, cloud_height_km, shade: see `render.Seen`.
        geometry, state: sun and instrument; aerosol, water vapour, ozone, elevation.
        path, transmittance, sphere: the scene's mean air with gases (13,), so that
            top = path + transmittance rho / (1 - sphere rho); order of `payload.types.Band`.
        sensor_bands: reflectance per band as another instrument sees the scene, on its own grid;
            empty if none was asked for (`tools.simulate.sensors`).
    """

    name: str
    counts: Mapping[Grid, U16]
    label: U8
    doubtful: NDArray[np.bool_]
    surface: Mapping[Grid, F32]
    cloud_depth: F32
    cloud_height_km: F32
    shade: F32
    geometry: Geometry
    state: AirState
    path: F32
    transmittance: F32
    sphere: F32
    sensor_bands: Mapping[str, F32]

    @property
    def grids(self) -> dict[Grid, F32]:
        """Reflectance at the top of the atmosphere per native grid, float32 (band, row, col); 0
        where there is no data. As `tools.material.Patch.grids`."""
        scale, offset = np.float32(1 / COUNTS_PER_REFLECTANCE), np.float32(COUNTS_OFFSET)
        return {
            grid: (dn.astype(np.float32) - offset) * scale * (dn != 0) for grid, dn in self.counts.items()
        }


def classes_of(depth: F32, shade: F32) -> U8:
    """The class map by the module's rule."""
    label = np.full(depth.shape, SceneClass.CLEAR, np.uint8)
    label[shade >= SHADOW_SHARE] = SceneClass.CLOUD_SHADOW
    label[depth >= THIN_DEPTH] = SceneClass.THIN_CLOUD
    label[depth >= THICK_DEPTH] = SceneClass.THICK_CLOUD
    return label


def is_doubtful(depth: F32, shade: F32, contrast: F32) -> NDArray[np.bool_]:
    """Where a person could see it either way: a veil or shade of half the limit or more, below it,
    or a shadow on what is black anyway."""
    veil = (depth >= 0.5 * THIN_DEPTH) & (depth < THIN_DEPTH)
    gloom = (shade >= 0.5 * SHADOW_SHARE) & (shade < SHADOW_SHARE) & (depth < THIN_DEPTH)
    unseen = (shade >= SHADOW_SHARE) & (depth < THIN_DEPTH) & (contrast < SEEN_CONTRAST)
    return np.asarray(veil | gloom | unseen)


def make_patch(
    seed: int | Sequence[int],
    size_px: int = SIZE_PX,
    backgrounds: Sequence[RealGround] = (),
    clouds: Sequence[Cloud] | None = None,
    biome: str | None = None,
    sensor: Sensor | None = None,
) -> SimulatedPatch:
    """One patch; the same for the same arguments.

    Args:
        seed: any whole numbers.
        size_px: rows and columns of the 10 m grid, a multiple of 12, or 258 by default.
        backgrounds: real grounds (`tools.simulate.backgrounds`) at least that large; half of
            the patches then lie on one of them.
        clouds: instead of those drawn by chance; an empty tuple for a clear sky.
        biome: a key of `landscape.BIOMES` instead of one drawn by chance.
        sensor: another instrument that looks at the same scene.

    Raises:
        ValueError: ``size_px`` is no multiple of 6.
    """
    if size_px % 6:
        raise ValueError(f"size_px {size_px} is no multiple of 6")
    rng = np.random.default_rng(seed)
    canvas = Canvas(rng, size_px + 54, size_px + 54)
    geometry = draw_geometry(rng)
    ground: Ground
    if backgrounds and rng.random() < REAL_GROUND_SHARE:
        chosen = backgrounds[int(rng.integers(len(backgrounds)))]
        ground = chosen.turned(int(rng.integers(4)), flip=bool(rng.random() < 0.5))
        country = "real"
    else:
        made = draw_landscape(canvas, biome)
        country, ground = made.biome, made
    sky = draw_clouds(canvas) if clouds is None else tuple(clouds)
    state = draw_state(rng, geometry, at_sea=country in ("coast", "ocean"))
    world = make_world(canvas, ground, sky, geometry, state)
    names = "+".join(cloud.name for cloud in sky) or "clear"
    return look_at(world, Window(0, 0, size_px, size_px), rng, f"{seed} {country} {names}", sensor)


def look_at(
    world: World, window: Window, rng: np.random.Generator, name: str, sensor: Sensor | None = None
) -> SimulatedPatch:
    """A window of a world as a patch."""
    seen = render(world, window)
    instrument = draw_instrument(rng, world.geometry.cos_sun)
    counts = instrument.counts(instrument.sees(seen.top, rng), window.row, window.col)
    path, transmittance, sphere = mean_terms(world)
    return SimulatedPatch(
        name=name,
        counts=counts,
        label=classes_of(seen.depth, seen.shade),
        doubtful=is_doubtful(seen.depth, seen.shade, seen.contrast),
        surface=seen.surface,
        cloud_depth=seen.depth,
        cloud_height_km=seen.height_km,
        shade=seen.shade,
        geometry=world.geometry,
        state=world.state,
        path=path,
        transmittance=transmittance,
        sphere=sphere,
        sensor_bands=seen_by(sensor, seen.top, world.geometry.cos_sun, rng) if sensor else {},
    )


def mean_terms(world: World) -> tuple[F32, F32, F32]:
    """Path, two-way transmittance and spherical albedo (13,) of the scene's mean air, gases included."""
    near, far = world.airs
    share = 0.0 if world.drift is None else 0.5
    path, down, up, sphere = (
        getattr(near, name) + share * (getattr(far, name) - getattr(near, name))
        for name in ("path", "down", "up", "sphere")
    )
    return path * world.gas(0.0, 0.5), down * up * world.gas(0.0, 1.0), sphere
