"""Random fields that can be looked at anywhere, window by window, always the same.

A field has the power spectrum of nature: amplitude falls with frequency by a power law. On
a small canvas it is one periodic tile. On a wide one, waves shorter than SPLIT_PX come from
a periodic tile and longer ones from a coarse field over the whole canvas, interpolated; so
memory stays small and no repetition shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from payload.types import F32, Window

SPLIT_PX = 64.0
COARSE_PITCH_PX = 16
FINE_TILE_PX = 512
SMALL_CANVAS_PX = 640


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """A random field of mean 0 and standard deviation 1.

    Attributes:
        fine: the periodic tile.
        coarse: the long waves every COARSE_PITCH_PX from pixel 0 on, periodic too; None if
            the tile has them.
    """

    fine: F32
    coarse: F32 | None

    def at(self, window: Window, step: int = 1) -> F32:
        """The field at every ``step``-th pixel of the window, from its first on."""
        rows, cols = self.fine.shape
        row = np.arange(window.row, window.row_end, step)
        col = np.arange(window.col, window.col_end, step)
        field = self.fine[np.ix_(row % rows, col % cols)]
        if self.coarse is None:
            return field
        nodes_down, down = _spline(row, self.coarse.shape[0])
        nodes_right, right = _spline(col, self.coarse.shape[1])
        field += down @ self.coarse[np.ix_(nodes_down, nodes_right)] @ right.T
        return field


def _spline(place_px: NDArray[np.int_], nodes: int) -> tuple[NDArray[np.intp], F32]:
    """The nodes that the places need, and the cubic B-spline weights (places, nodes)."""
    where = place_px / COARSE_PITCH_PX
    first = np.floor(where).astype(np.intp)
    t = (where - first)[:, None]
    weights = np.concatenate(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    needed = np.arange(first[0] - 1, first[-1] + 3)
    matrix = np.zeros((len(place_px), len(needed)), np.float32)
    taps = first[:, None] - first[0] + np.arange(4)
    np.put_along_axis(matrix, taps, (weights / 6).astype(np.float32), axis=1)
    return needed % nodes, matrix


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Makes fields for a scene of that size; every call gives another one."""

    rng: np.random.Generator
    rows: int
    columns: int

    @property
    def is_small(self) -> bool:
        return max(self.rows, self.columns) <= SMALL_CANVAS_PX

    def noise(
        self, slope: float, largest_px: float = 1e9, stretch: float = 1.0, along_rad: float = 0.0
    ) -> Noise:
        """A field with amplitude ~ frequency^-slope.

        ``slope`` 1 is rough, 2 smooth like hills. Waves longer than ``largest_px`` are no
        stronger than that one. With a ``stretch`` above 1 the field is drawn out that many
        times in the direction ``along_rad`` (0 along a row, growing towards larger rows).
        """
        shape = (largest_px, stretch, along_rad)
        if self.is_small:
            return Noise(_unit(_tile(self.rng, (self.rows, self.columns), 1, slope, shape, None))[0], None)
        sides = [-(-side // COARSE_PITCH_PX) + 8 for side in (self.rows, self.columns)]
        fine = _tile(self.rng, (FINE_TILE_PX, FINE_TILE_PX), 1, slope, shape, "short")
        coarse = _tile(self.rng, (sides[0], sides[1]), COARSE_PITCH_PX, slope, shape, "long")
        spread = np.float32(np.hypot(fine.std(), coarse.std()))
        return Noise(fine / spread, (coarse - coarse.mean()) / spread)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))

    def angle_rad(self) -> float:
        return self.uniform(0.0, np.pi)


def _unit(field: F32) -> tuple[F32, float]:
    spread = float(field.std()) or 1.0
    return (field - field.mean()) / np.float32(spread), spread


def _tile(
    rng: np.random.Generator,
    shape: tuple[int, int],
    pitch_px: int,
    slope: float,
    look: tuple[float, float, float],
    part: str | None,
) -> F32:
    """A periodic field of that spectral density, sampled every ``pitch_px``; of all its waves,
    or of those shorter or longer than SPLIT_PX."""
    largest_px, stretch, along_rad = look
    rows, columns = shape
    down = np.fft.fftfreq(rows, pitch_px).astype(np.float32)[:, None]
    right = np.fft.rfftfreq(columns, pitch_px).astype(np.float32)[None, :]
    frequency = np.hypot(down, right)
    drawn_out = frequency
    if stretch != 1.0:
        cosine, sine = np.float32(np.cos(along_rad)), np.float32(np.sin(along_rad))
        drawn_out = np.hypot(
            (right * cosine + down * sine) * np.float32(stretch), down * cosine - right * sine
        )
    lowest = np.float32(max(1.0 / largest_px, 1.0 / (pitch_px * max(shape))))
    amplitude = np.maximum(drawn_out, lowest) ** np.float32(-slope) / np.float32(pitch_px)
    amplitude[0, 0] = 0.0
    if part == "short":
        amplitude *= frequency >= 1.0 / SPLIT_PX
    elif part == "long":
        amplitude *= frequency < 1.0 / SPLIT_PX
    noise = rng.standard_normal((rows, columns // 2 + 1, 2), dtype=np.float32).view(np.complex64)[..., 0]
    return np.fft.irfft2(noise * amplitude, s=shape).astype(np.float32, copy=False) * np.float32(
        rows * columns
    ) ** np.float32(0.5)


def smooth_step(field: F32, edge: float, width: float) -> F32:
    """0 below ``edge``, 1 above ``edge + width``, smooth between."""
    ramp = np.clip((field - np.float32(edge)) / np.float32(width), 0.0, 1.0)
    return (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)


_TAIL_NODES = np.linspace(-4, 4, 401)
_TAIL_SHARES = np.cumsum(np.exp(-0.5 * _TAIL_NODES**2))
_TAIL_SHARES = _TAIL_SHARES / _TAIL_SHARES[-1]


def threshold_of_cover(cover_ratio: float) -> float:
    """The value that a field of normal distribution exceeds on that share of the ground."""
    return float(np.interp(1.0 - cover_ratio, _TAIL_SHARES, _TAIL_NODES))
