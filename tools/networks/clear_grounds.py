"""Clear ground that is not cloud, however bright: other surfaces, roofs, glint.

The labelled patches hold no snow, sand or salt, few roofs and little glint. Here a clear patch
becomes another ground under another sky (`surface_simulation`), or gets bright roofs, or its
water gets glint. Everything made here is labelled clear.
"""

from __future__ import annotations

import numpy as np

from payload.types import F32, Grid
from tools.material import Grids, average_blocks
from tools.networks import surface_simulation as simulation

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
