"""Clear ground that is not cloud, however bright: other surfaces, roofs, glint.

The labelled patches hold no snow, sand or salt, few roofs and little glint. Here a clear patch
becomes another ground under another sky (`surface_simulation`), or is covered by snow or bare
ground over hills under a sun that may be low, or gets bright roofs, or its water gets glint.
Everything made here is labelled clear.

Snow, soil, rock and dry grass have the spectra of the simulator's library
(`tools.simulate.covers`): snow by grain size and soot, bare ground by iron, clay and water.
Slopes change the direct beam alone, so that what turns away from a low sun is lit by the blue
sky, as it is.
"""

from __future__ import annotations

import numpy as np

from payload.types import BANDS_OF_GRID, F32, Grid
from tools.material import FILE_BANDS, Grids, average_blocks
from tools.networks import surface_simulation as simulation
from tools.simulate import landscape, lookup

# Roofs as seen from above, in the order of the grids: white or metal, blue paint, red tile.
# Rounded by eye from the roofs of the l1c patches and common spectral libraries.
ROOFS = (
    {
        Grid.R10M: np.float32([0.52, 0.52, 0.53, 0.55]),
        Grid.R20M: np.float32([0.53, 0.54, 0.54, 0.55, 0.50, 0.42]),
        Grid.R60M: np.float32([0.50, 0.20, 0.001]),
    },
    {
        Grid.R10M: np.float32([0.34, 0.28, 0.22, 0.30]),
        Grid.R20M: np.float32([0.22, 0.24, 0.27, 0.32, 0.36, 0.32]),
        Grid.R60M: np.float32([0.32, 0.12, 0.001]),
    },
    {
        Grid.R10M: np.float32([0.13, 0.16, 0.26, 0.32]),
        Grid.R20M: np.float32([0.29, 0.31, 0.32, 0.34, 0.40, 0.36]),
        Grid.R60M: np.float32([0.14, 0.13, 0.001]),
    },
)
MAX_ROOFS = 30
MAX_ROOF_PX = 24

# What the air leaves of a glint that is white at the surface, in the order of the grids.
GLINT = {
    Grid.R10M: np.float32([0.80, 0.85, 0.90, 0.92]),
    Grid.R20M: np.float32([0.90, 0.92, 0.93, 0.94, 0.90, 0.82]),
    Grid.R60M: np.float32([0.75, 0.35, 0.0]),
}
MAX_WATER_B11 = 0.05
B11_OF_R20M = 4

SNOW = ("snow",)
BARE = ("soil", "rock", "dry")
"""Salt and gypsum are left to the simulated scenes: in ragged pieces over dark ground they are clouds
to any eye, and taught so they cost clouds."""

LOW_SUN_SHARE = {SNOW: 0.6, BARE: 0.25}
"""How often the sun is 60 to 79 degrees from the zenith: snow lies where and when it is."""

MAX_TEXTURE_POWER = 0.6
SLOPE_DEVIATIONS = (0.005, 0.3)
SHADING_AIR = lookup.AirState("continental", 0.08, 0.5, 0.32, 0.5)
"""Says what share of the light comes straight from the sun; what is seen is another, drawn sky."""


def covered_ground(rng: np.random.Generator, grids: Grids, fields: F32, kinds: tuple[str, ...]) -> Grids:
    """The shapes of ``grids`` under two spectra of ``kinds`` (SNOW or BARE), over hills, under another sky.

    Args:
        rng: draws everything.
        grids: clear ground without gaps, rows and columns multiples of 6.
        fields: fractal fields (number, row, col), the ragged ones first, at least as large.
        kinds: keys of the simulator's library.
    """
    rows, cols = grids[Grid.R10M].shape[1:]

    def field(first: int) -> F32:
        return np.asarray(fields[rng.integers(first, len(fields))][:rows, :cols])

    library = landscape.library()
    ends = [_any_spectrum(rng, library[str(rng.choice(kinds))]) for _ in range(2)]
    blend = np.clip(0.5 + rng.uniform(0.1, 0.8) * field(0), 0, 1)
    cover = np.clip(0.5 + rng.uniform(1, 6) * (field(0) + rng.uniform(-0.5, 3.5)), 0, 1)
    sky = simulation.draw_sky(rng, LOW_SUN_SHARE[kinds])
    light = _slope_light(rng, field(len(fields) // 2), sky)
    above = lookup.air(SHADING_AIR, sky.sun)
    direct = above.direct_down / above.down
    power = rng.uniform(0.05, MAX_TEXTURE_POWER)
    surface = simulation.surface_of(rng, grids)
    covered: Grids = {}
    for grid, bands in BANDS_OF_GRID.items():
        places = [FILE_BANDS.index(band) for band in bands]
        first, second, beam = (values[places, None, None] for values in (*ends, direct))
        mix, share, slope = (
            average_zero_too(values, int(grid)) if grid > 1 else values for values in (blend, cover, light)
        )
        other = (first + mix * (second - first)) * simulation.shape_of(surface[grid], power)
        mixed = (surface[grid] + share * (other - surface[grid])) * (1 + beam * (slope - 1))
        covered[grid] = np.clip(mixed, simulation.MIN_SURFACE, simulation.MAX_SURFACE).astype(np.float32)
    seen = simulation.look_through(rng, covered, sky)
    return {grid: np.where(grids[grid] != 0, plane, 0).astype(np.float32) for grid, plane in seen.items()}


def _any_spectrum(rng: np.random.Generator, spectra: F32) -> F32:
    """One of ``spectra`` (number, 13), a little off in level."""
    chosen = spectra[rng.integers(0, len(spectra))] * np.exp(rng.normal(0, 0.08))
    return np.asarray(chosen, np.float32)


def _slope_light(rng: np.random.Generator, heights: F32, sky: simulation.Sky) -> F32:
    """What hills of the shape of ``heights`` get of the direct beam, of what level ground gets."""
    down_rows, down_cols = np.gradient(heights)
    azimuth = rng.uniform(0, 2 * np.pi)
    towards = np.cos(azimuth) * down_rows + np.sin(azimuth) * down_cols
    slope = np.exp(rng.uniform(*np.log(SLOPE_DEVIATIONS))) * towards / (towards.std() + 1e-6)
    tangent = np.sqrt(1 - sky.sun.cos_sun**2) / sky.sun.cos_sun
    return np.clip(1 + tangent * slope, 0, 3).astype(np.float32)


def other_ground(rng: np.random.Generator, grids: Grids) -> Grids:
    """The shapes of ``grids`` as another surface (snow, sand, soil, green, water, town) under another sky."""
    surface = simulation.vary_surface(rng, simulation.surface_of(rng, grids))
    seen = simulation.look_through(rng, surface, simulation.draw_sky(rng))
    return {grid: np.where(grids[grid] != 0, plane, 0).astype(np.float32) for grid, plane in seen.items()}


def add_roofs(rng: np.random.Generator, grids: Grids) -> Grids:
    """Rectangles of roof over the ground; blocks of one colour stand together, as they are built."""
    rows, cols = grids[Grid.R10M].shape[1:]
    covered = np.zeros((rows, cols), np.float32)
    bright = np.zeros((rows, cols), np.float32)
    centre = rng.uniform(0, 1, 2) * (rows, cols)
    spread = rng.uniform(0.1, 0.6) * rows
    for _ in range(int(rng.integers(1, MAX_ROOFS))):
        size = (2 + rng.random(2) ** 2 * MAX_ROOF_PX).astype(int)
        row, col = (centre + rng.normal(0, spread, 2)).astype(int) % (rows, cols)
        place = (slice(row, row + size[0]), slice(col, col + size[1]))
        covered[place] = 1.0
        bright[place] = rng.uniform(0.5, 1.5)
    colour = ROOFS[int(rng.integers(0, len(ROOFS)))]
    built: Grids = {}
    for grid, plane in grids.items():
        share, light = (
            average_zero_too(field, int(grid)) if grid > 1 else field for field in (covered, bright)
        )
        mixed = plane * (1 - share) + light * colour[grid][:, None, None]
        built[grid] = np.where(plane != 0, mixed, 0).astype(np.float32)
    return built


def average_zero_too(field: F32, pitch: int) -> F32:
    """Block means of (row, col) in which 0 counts as a value."""
    rows, cols = field.shape
    blocks = field.reshape(rows // pitch, pitch, cols // pitch, pitch)
    means: F32 = blocks.mean(axis=(1, 3), dtype=np.float32)
    return means


def add_glint(rng: np.random.Generator, grids: Grids, waves: F32) -> Grids:
    """Sun glint on what is water; ``waves`` is a field (row, col) of mean 0 and deviation 1."""
    rows, cols = grids[Grid.R10M].shape[1:]
    water20 = (grids[Grid.R20M][B11_OF_R20M] < MAX_WATER_B11).astype(np.float32)
    water = np.kron(water20, np.ones((2, 2), np.float32))
    strength = rng.uniform(0.005, 0.12)
    sparkle = strength * np.exp(rng.uniform(0.1, 0.6) * waves[:rows, :cols]) * water
    glinting: Grids = {}
    for grid, plane in grids.items():
        light = average_blocks(sparkle[None].astype(np.float32), int(grid))[0] if grid > 1 else sparkle
        glinting[grid] = np.where(plane != 0, plane + light * GLINT[grid][:, None, None], 0).astype(
            np.float32
        )
    return glinting
