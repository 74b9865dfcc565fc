"""Simple clouds and their shadows, blended over clear ground, with their labels.

Not radiative transfer: a cloud is an opacity field times a bright spectrum, its shadow the
same field shifted and multiplied by a spectrum of darkening. It teaches shape, edges and the
distance between cloud and shadow over many grounds; spectra of real clouds come from the
labelled patches. Some shadows come alone, from clouds outside the picture, and some lie over
all of it: then darkness and its colour are all there is to see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from payload.types import F32, U8, Grid
from tools.material import IGNORED_LABEL, Grids, average_blocks

FIELD_PX = 512
FIELDS = 48

# Thick water cloud at the top of the atmosphere and the share of light that its shadow takes
# (after the class medians of the real labelled patches; bands in the order of the grids).
CLOUD = {
    Grid.R10M: np.float32([0.46, 0.45, 0.47, 0.56]),
    Grid.R20M: np.float32([0.50, 0.54, 0.55, 0.57, 0.42, 0.33]),
    Grid.R60M: np.float32([0.48, 0.26, 0.004]),
}
SHADOW = {
    Grid.R10M: np.float32([0.16, 0.30, 0.40, 0.62]),
    Grid.R20M: np.float32([0.44, 0.58, 0.60, 0.63, 0.66, 0.68]),
    Grid.R60M: np.float32([0.08, 0.55, 0.10]),
}
WAVELENGTH_UM = {
    Grid.R10M: np.array([0.49, 0.56, 0.665, 0.842]),
    Grid.R20M: np.array([0.705, 0.74, 0.783, 0.865, 1.61, 2.19]),
    Grid.R60M: np.array([0.443, 0.945, 1.375]),
}
B09_OF_R60M = 1
B10_OF_R60M = 2
B11_OF_R20M = 4
B08_OF_R10M = 3
MAX_WATER_B11 = 0.05
MAX_WATER_B08 = 0.10
HIGH_CLOUD_B09 = 0.45

THICK_OPACITY = 0.55
THIN_OPACITY = 0.08
CLEAR_OPACITY = 0.03
DEEP_SHADOW = 0.32
NO_SHADOW = 0.10

VEIL_SHARE = 0.3
OUTSIDE_SHARE = 0.22
ALL_OVER_SHARE = 0.10
NEAR_PX, FAR_PX = 8, 115
MAX_PENUMBRA_PX = 6.0
"""A cloud 6 km up has a penumbra of 6 km times the sun's 0.0093 rad: 56 m."""


def fractal_fields(rng: np.random.Generator) -> F32:
    """Periodic random fields (FIELDS, FIELD_PX, FIELD_PX), each of mean 0 and deviation 1,
    with power laws between those of ragged cumulus and of smooth veils."""
    frequency = np.hypot(np.fft.fftfreq(FIELD_PX)[:, None], np.fft.rfftfreq(FIELD_PX)[None])
    frequency[0, 0] = 1.0
    fields = np.empty((FIELDS, FIELD_PX, FIELD_PX), np.float32)
    for number in range(FIELDS):
        slope = 1.45 + 0.95 * number / FIELDS
        outer = 10 ** rng.uniform(-2.6, -1.7)
        noise = np.fft.rfft2(rng.standard_normal((FIELD_PX, FIELD_PX)))
        field = np.fft.irfft2(noise / (frequency**2 + outer**2) ** (slope / 2))
        fields[number] = (field - field.mean()) / field.std()
    return fields


@dataclass(frozen=True)
class CloudMaker:
    """Draws clouds from a bank of fields; the same generator gives the same clouds."""

    fields: F32

    def _field(self, rng: np.random.Generator, first: int, last: int) -> F32:
        field = self.fields[rng.integers(first, last)]
        return np.roll(field, rng.integers(0, FIELD_PX, 2), (0, 1))

    def _opacity(self, rng: np.random.Generator, *, is_veil: bool) -> F32:
        if is_veil:
            field = self._field(rng, FIELDS // 2, FIELDS)
            depth = np.float32(rng.uniform(0.1, 0.6)) * np.maximum(field + rng.uniform(-0.5, 1.0), 0)
        else:
            field = self._field(rng, 0, 2 * FIELDS // 3)
            depth = np.float32(rng.uniform(0.6, 4.0)) * np.maximum(field - rng.uniform(0.0, 1.8), 0)
        return 1 - np.exp(-depth)

    def _covers(self, rng: np.random.Generator, rows: int, cols: int) -> tuple[F32, F32, bool]:
        """(opacity of the cloud, what its shadow takes, whether it is a veil), (rows, cols)."""
        chance = rng.random()
        if chance < ALL_OVER_SHARE:
            deep = rng.uniform(0.55, 1.0) + 0.08 * self._field(rng, FIELDS // 2, FIELDS)[:rows, :cols]
            opacity = self._opacity(rng, is_veil=False)[:rows, :cols] * np.float32(rng.random() < 0.4)
            return opacity, np.clip(deep, 0, 1).astype(np.float32), False
        is_veil = bool(chance > 1 - VEIL_SHARE)
        field = self._opacity(rng, is_veil=is_veil)
        if is_veil:
            return field[:rows, :cols], np.zeros((rows, cols), np.float32), True
        is_outside = chance < ALL_OVER_SHARE + OUTSIDE_SHARE
        source = self._opacity(rng, is_veil=False) if is_outside else field
        shift = (rng.uniform(NEAR_PX, FAR_PX, 2) * rng.choice([-1, 1], 2) * rng.random(2) ** 0.3).astype(int)
        cast = np.roll(source, shift, (0, 1))[:rows, :cols]
        penumbra = MAX_PENUMBRA_PX * rng.random() ** 2
        if penumbra > 0.7:
            cast = ndimage.gaussian_filter(cast, penumbra / 2, truncate=2.5)
        opacity = field[:rows, :cols] * np.float32(not is_outside or rng.random() < 0.5)
        return opacity, np.minimum(1.15 * cast, 1.0), False

    @staticmethod
    def _tint(rng: np.random.Generator) -> dict[Grid, F32]:
        """Gains per band that make another ground of the same shapes: redder, greener, brighter."""
        gain = rng.normal(0, 0.2)
        slope = rng.normal(0, 0.25)
        return {
            grid: np.exp(gain + slope * np.log(um / 0.8) + rng.normal(0, 0.08, len(um))).astype(np.float32)
            for grid, um in WAVELENGTH_UM.items()
        }

    def add(self, rng: np.random.Generator, grids: Grids, *, retint: bool) -> tuple[Grids, U8]:
        """Clear ``grids`` (rows and columns multiples of 6, at most FIELD_PX) under a new cloud,
        and the label that goes with it. ``retint`` also changes the colours of the ground."""
        rows, cols = grids[Grid.R10M].shape[1:]
        opacity, shade, is_veil = self._covers(rng, rows, cols)
        texture = 1 + 0.12 * self._field(rng, 0, FIELDS)[:rows, :cols] * opacity
        brightness = np.float32(rng.uniform(0.6, 1.5))
        darkness = np.float32(rng.uniform(0.6, 1.15))
        height = float(rng.uniform(0.3, 1.0)) if is_veil else float(rng.random() ** 4)
        clouded: Grids = {}
        tint = self._tint(rng)
        for grid, plane in grids.items():
            over, under, light = (
                average_blocks(f[None], int(grid)) if grid > 1 else f[None] for f in (opacity, shade, texture)
            )
            cloud = CLOUD[grid] * brightness * rng.uniform(0.93, 1.07, len(CLOUD[grid]))
            if grid is Grid.R60M:
                cloud[B10_OF_R60M] = 0.002 + 0.15 * height * brightness
                cloud[B09_OF_R60M] += (HIGH_CLOUD_B09 - cloud[B09_OF_R60M]) * height
            ground = plane * tint[grid][:, None, None] if retint else plane
            lit = ground * (1 - under * np.minimum(SHADOW[grid] * darkness, 0.9)[:, None, None])
            mixed = lit * (1 - over) ** 1.5 + over * light * cloud[:, None, None]
            clouded[grid] = np.where(plane != 0, mixed, 0).astype(np.float32)
        return clouded, _label(opacity, shade * darkness, _is_water(grids))


def _is_water(grids: Grids) -> NDArray[np.bool_]:
    """Where the ground is so dark beyond 0.8 um that a shadow on it cannot be told, (row, col)."""
    dark = grids[Grid.R20M][B11_OF_R20M] < MAX_WATER_B11
    return np.kron(dark, np.ones((2, 2), bool)) & (grids[Grid.R10M][B08_OF_R10M] < MAX_WATER_B08)


def _label(opacity: F32, shade: F32, is_water: NDArray[np.bool_]) -> U8:
    label = np.zeros(opacity.shape, np.uint8)
    label[shade > NO_SHADOW] = IGNORED_LABEL
    label[(shade > DEEP_SHADOW) & ~is_water] = 3
    label[opacity > CLEAR_OPACITY] = IGNORED_LABEL
    label[opacity > THIN_OPACITY] = 2
    label[opacity > THICK_OPACITY] = 1
    return label
