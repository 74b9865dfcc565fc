"""The formulas of `ports.Arithmetic` in numpy: what they mean, and what runs without a compiler.

Rules:
1. `encode` looks every code up in the table of `radiometry.code_table`.
2. `invert` is rule 1 of `surface`: every operation is one of IEEE 754 on float32, in the order
   written here, so it gives the same bits on every processor.
"""

from __future__ import annotations

import numpy as np

from payload.core.radiometry import COUNTS_MAX, code_table
from payload.core.surface import cell_weights
from payload.types import COUNTS_OFFSET, F32, U8, U16

_TAKE_SAMPLES = 32768  # np.take widens its indices to 8 bytes: a few rows at a time stay in the cache
_STRETCH_SAMPLES = 32768  # solved together: three float32 arrays of this size stay in the cache
_ONE = np.float32(1)


class NumpyArithmetic:
    """Implements `payload.ports.Arithmetic`."""

    def __init__(self) -> None:
        self._table = code_table()

    def encode(self, counts: U16, out: U8) -> None:
        """See `Arithmetic.encode`."""
        _, rows, columns = counts.shape
        together = max(1, _TAKE_SAMPLES // columns)
        for samples, codes in zip(counts, out, strict=True):
            for row in range(0, rows, together):
                some = slice(row, row + together)
                np.take(self._table, samples[some], out=codes[some], mode="clip")

    def invert(self, counts: U16, coefficients: F32, cell: int, out: U16) -> None:
        """See `Arithmetic.invert`."""
        bands, _, columns = counts.shape
        together = max(1, _STRETCH_SAMPLES // (cell * columns))
        for first in range(0, bands, together):
            some = slice(first, min(first + together, bands))
            _invert(counts[some], coefficients[:, some], cell, out[some])


def _invert(counts: U16, coefficients: F32, cell: int, out: U16) -> None:
    bands, rows, columns = counts.shape
    weights = cell_weights(cell)[:, None]
    half = cell // 2
    scratch = np.empty((3, bands, cell, columns), dtype=np.float32)
    for cell_row in range(coefficients.shape[2] - 1):
        start = cell_row * cell - half  # the stretch between two rows of cell centres
        low, high = max(0, start), min(rows, start + cell)
        if low >= high:
            continue
        part = weights[low - start : high - start]
        scale, shift, albedo = scratch[:, :, : high - low]
        for cells, between in zip(coefficients, (scale, shift, albedo), strict=True):
            _between(cells[:, cell_row, None], cells[:, cell_row + 1, None], part, between)
        _solve(counts[:, low:high], scale, shift, albedo, out[:, low:high])


def _between(upper: F32, lower: F32, weights: F32, out: F32) -> None:
    """Interpolate along rows, from one row of cell centres to the next."""
    np.multiply(lower - upper, weights, out=out)
    out += upper


def _solve(counts: U16, scale: F32, shift: F32, albedo: F32, out: U16) -> None:
    """In place, on a stretch of rows that stays in the cache."""
    scale *= counts
    scale -= shift
    albedo *= scale
    albedo += _ONE
    scale /= albedo
    scale += np.float32(COUNTS_OFFSET) + np.float32(0.5)  # then truncation rounds
    np.clip(scale, _ONE, np.float32(COUNTS_MAX), out=scale)
    out[...] = scale
    out *= counts != 0
