"""The known tile that a device must answer before it serves, and how far it may be off.

Rules:
1. The tile is drawn by a formula, the same on every board: leaves and soil in changing light
   under bands of cloud.
2. What is expected is what the reference engine of the same run answers: the last of the order,
   the processor. It must repeat itself to the last bit.
3. A scene is right if at most the permitted share of pixels has another class; an atmosphere if
   surface reflectance is off by no more than the permitted mean over all bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.core.scheduler import tile_slot
from payload.types import COUNTS_PER_REFLECTANCE, F32, U8, Grid, Task, Tile, TileGrid, Window

PROBE_INDEX = -1
"""No tile of a strip has this index."""

SAMPLE_STEP = 4
_LEVELS = np.array([0.05, 0.2, 0.5], np.float32)
_SPECTRA = {
    Grid.R10M: ((0.09, 0.12, 0.70), (0.08, 0.13, 0.69), (0.05, 0.15, 0.70), (0.30, 0.22, 0.72)),
    Grid.R20M: (
        (0.09, 0.16, 0.70),
        (0.22, 0.19, 0.71),
        (0.28, 0.21, 0.72),
        (0.31, 0.23, 0.72),
        (0.17, 0.28, 0.50),
        (0.09, 0.24, 0.40),
    ),
    Grid.R60M: ((0.11, 0.13, 0.70), (0.10, 0.09, 0.45), (0.003, 0.003, 0.03)),
}
"""Reflectance at the top of the atmosphere of leaves, soil and cloud: round numbers, plausible."""

_GEOMETRY = np.array([1.0, 0.77, 0.99, -0.3], np.float32)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """How far two answers lie apart, or may: classes as a ratio, reflectance in dn (0.0001)."""

    class_ratio: float
    reflectance_dn: float

    def __str__(self) -> str:
        return f"{self.class_ratio:.2%} of the classes, {self.reflectance_dn:.0f} dn of reflectance"

    def is_within(self, permitted: Disagreement) -> bool:
        """Whether neither figure is above the permitted one."""
        return self.class_ratio <= permitted.class_ratio and self.reflectance_dn <= permitted.reflectance_dn


def probe_tile(tiles: TileGrid) -> Tile:
    """The known tile for windows of ``tiles``."""
    codes = tile_slot(tiles)
    for pitch, planes in codes.items():
        rows, columns = planes.shape[2:]
        row = np.arange(rows, dtype=np.float32)[:, None] * int(pitch)
        column = np.arange(columns, dtype=np.float32)[None] * int(pitch)
        bare = 0.5 + 0.5 * np.sin(row / 37) * np.cos(column / 53)
        light = 0.8 + 0.2 * np.sin((row + column) / 29)
        cover = np.clip(2.5 * np.sin(row / 97 + column / 211) - 1.2, 0, 1)
        for band, (leaf, soil, cloud) in enumerate(_SPECTRA[pitch]):
            ground = light * (leaf + (soil - leaf) * bare)
            seen = ground + (cloud - ground) * cover
            planes[0, band] = np.clip(np.sqrt(seen / FULL_SCALE_REFLECTANCE) * 255, 1, 255)
    window = Window(-tiles.halo_px, -tiles.halo_px, tiles.window_rows_px, tiles.window_columns_px)
    inner = Window(0, 0, tiles.inner_rows_px, tiles.inner_columns_px)
    valid = np.ones((1, 1), np.bool_)
    return Tile(PROBE_INDEX, window, inner, codes, _GEOMETRY.reshape(1, 4, 1, 1), valid, 1)


def sample_of(task: Task, output: NDArray[Any]) -> NDArray[Any]:
    """What is remembered of an answer: the atmosphere, or every fourth pixel's scores."""
    step = 1 if task is Task.SURFACE else SAMPLE_STEP
    thinned: NDArray[Any] = output[..., ::step, ::step].copy()
    return thinned


def disagreement(task: Task, expected: NDArray[Any], answered: NDArray[Any]) -> Disagreement:
    """How far two samples of one tile lie apart."""
    if task is Task.SCENE:
        return Disagreement(class_disagreement(expected, answered), 0.0)
    return Disagreement(0.0, float(reflectance_errors_dn(expected, answered).mean()))


def class_disagreement(expected: U8, answered: U8) -> float:
    """Share of the pixels of scores (class, row, col) whose highest score is another."""
    return float((expected.argmax(axis=0) != answered.argmax(axis=0)).mean())


def reflectance_errors_dn(expected: F32, answered: F32) -> F32:
    """Mean absolute error per band of the surface reflectance that two atmospheres imply.

    Atmospheres are (4, band, row, col); the reflectances seen at the top are _LEVELS.
    """
    error = np.abs(_surface(expected) - _surface(answered)) * COUNTS_PER_REFLECTANCE
    found: F32 = error.mean(axis=(0, 2, 3))
    return found


def _surface(atmosphere: F32) -> F32:
    """float32 (level, band, row, col): `core.surface`'s inversion at every level."""
    path, gain, albedo = atmosphere[:3].astype(np.float32)
    seen = (_LEVELS[:, None, None, None] - path) / gain
    found: F32 = seen / (1 + albedo * seen)
    return found
