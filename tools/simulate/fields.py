"""Random fields with a natural look: fractal, periodic, the same for the same seed."""

from __future__ import annotations

import numpy as np

from payload.types import F32

Shape = tuple[int, int]


def fractal(
    rng: np.random.Generator,
    shape: Shape,
    slope: float,
    largest_px: float = 1e9,
    stretch: float = 1.0,
    along_rad: float = 0.0,
) -> F32:
    """A field (rows, cols) of mean 0 and standard deviation 1 with amplitude ~ frequency^-slope.

    ``slope`` 1 is rough like cloud texture, 2 smooth like hills. Waves longer than
    ``largest_px`` are no stronger than that one. With a ``stretch`` above 1 the field is
    drawn out that many times in the direction ``along_rad`` (0 along a row, growing towards
    larger rows). Periodic in both directions.
    """
    rows, columns = shape
    noise = np.fft.rfft2(rng.standard_normal(shape, dtype=np.float32))
    down, right = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None, :]
    along = right * np.cos(along_rad) + down * np.sin(along_rad)
    across = down * np.cos(along_rad) - right * np.sin(along_rad)
    frequency = np.hypot(along * stretch, across)
    lowest = max(1.0 / largest_px, 1.0 / max(shape))
    amplitude = np.maximum(frequency, lowest) ** -slope
    amplitude[0, 0] = 0.0
    field = np.fft.irfft2(noise * amplitude, s=shape)
    spread = float(field.std()) or 1.0  # a field of one pixel has none
    return ((field - field.mean()) / spread).astype(np.float32)


def scaled(field: F32) -> F32:
    """The field in units of its own spread, mean 0: what thresholds are given in."""
    return ((field - field.mean()) / max(float(field.std()), 1e-6)).astype(np.float32)
