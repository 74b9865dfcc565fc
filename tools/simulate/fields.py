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


def blurred(field: F32, sigma_px: float) -> F32:
    """The field after a Gaussian of ``sigma_px``, periodic."""
    rows, columns = field.shape
    squares = np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.rfftfreq(columns)[None, :] ** 2
    window = np.exp(-2.0 * (np.pi * sigma_px) ** 2 * squares)
    smooth = np.fft.irfft2(np.fft.rfft2(field) * window, s=field.shape)
    return smooth.astype(np.float32)


def moved(field: F32, rows_px: float, columns_px: float) -> F32:
    """The field displaced by a fraction of pixels (bilinear); 0 where nothing was before."""
    row, col = int(np.floor(rows_px)), int(np.floor(columns_px))
    down, right = np.float32(rows_px - row), np.float32(columns_px - col)
    whole = _rolled(_rolled(field, row, axis=0), col, axis=1)
    sideways = (1 - right) * whole + right * _rolled(whole, 1, axis=1)
    return (1 - down) * sideways + down * _rolled(sideways, 1, axis=0)


def _rolled(field: F32, step: int, axis: int) -> F32:
    rolled = np.roll(field, step, axis=axis)
    gone = slice(0, step) if step > 0 else slice(field.shape[axis] + step, None)
    if step:
        rolled[(gone, slice(None)) if axis == 0 else (slice(None), gone)] = 0.0
    return rolled


def smooth_step(field: F32, edge: float, width: float) -> F32:
    """0 below ``edge``, 1 above ``edge + width``, smooth between."""
    ramp = np.clip((field - np.float32(edge)) / np.float32(width), 0.0, 1.0)
    return (ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32)


def scaled(field: F32) -> F32:
    """The field in units of its own spread, mean 0: what thresholds are given in."""
    return ((field - field.mean()) / max(float(field.std()), 1e-6)).astype(np.float32)
