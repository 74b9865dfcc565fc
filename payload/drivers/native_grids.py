"""Averages material that lies on one grid to the native 10, 20 and 60 m grids.

Rules:
    a coarse pixel is the mean of the valid (non-zero) pixels of its block, halves rounded up
    a block without one valid pixel stays 0, and a valid pixel never becomes 0
    a block cut by the right or lower edge averages what there is of it
"""

from __future__ import annotations

import numpy as np

from payload.types import BANDS_OF_GRID, NO_DATA_COUNTS, U16, Grid

_ARRAYS_BYTES = 4096


def average_blocks(fine: U16, pitch: int, out: U16) -> None:
    """``out`` holds the block means of ``fine``.

    Args:
        fine: uint16 (rows, cols).
        pitch: block size in pixels, 1 copies.
        out: uint16 (ceil(rows / pitch), ceil(cols / pitch)).
    """
    if pitch == 1:
        out[...] = fine
        return
    total = np.zeros(out.shape, np.uint32)
    valid = np.zeros(out.shape, np.uint32)
    for row in range(pitch):
        for col in range(pitch):
            part = fine[row::pitch, col::pitch]
            total[: part.shape[0], : part.shape[1]] += part
            valid[: part.shape[0], : part.shape[1]] += part != NO_DATA_COUNTS
    np.maximum(valid, 1, out=valid)  # no valid pixel: 0 / 1
    out[...] = (2 * total + valid) // (2 * valid)


def averaging_bytes(rows: int, columns: int) -> int:
    """Most memory that `average_blocks` takes for (rows, columns) at any pitch above 1."""
    coarse = -(-rows // Grid.R20M) * -(-columns // Grid.R20M)
    terms = 5 * coarse * np.dtype(np.uint32).itemsize  # total, valid and three terms of the mean
    return terms + _ARRAYS_BYTES


def empty_dn(rows: int, columns: int) -> dict[Grid, U16]:
    """Arrays, not yet written, for ``rows`` x ``columns`` 10 m pixels on their native grids."""
    return {
        grid: np.empty((len(bands), -(-rows // grid), -(-columns // grid)), np.uint16)
        for grid, bands in BANDS_OF_GRID.items()
    }


def rows_of(dn: dict[Grid, U16], row: int, row_end: int) -> dict[Grid, U16]:
    """Views of ``dn`` from 10 m row ``row`` (a multiple of 6) up to ``row_end``, without it."""
    return {grid: planes[:, row // grid : -(-row_end // grid)] for grid, planes in dn.items()}
