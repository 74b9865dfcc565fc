"""From what is delivered to what networks read.

Rules:
1. ``counts`` = round(10000 x reflectance) + 1000 as uint16, and 0 exactly where there is no
   data: the Level-1C convention since processing baseline 04.00 (Sentinel-2 Products
   Specification Document), whatever the source's own offset and quantification are.
2. A pixel without data is 0 in every band of a grid; one that is 0 in some bands only is dark
   there (water in the short-wave infrared before baseline 04.00), and keeps its data.
3. ``codes`` = round(255 sqrt(reflectance / 1.6)) clipped to 1..255, 0 where there is no
   data. The square root spends the eight bits where shadows and dark water are: one code is
   0.0006 of reflectance at 0.01 and 0.008 at 1.0, near the photon noise's own law.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from payload.types import (
    BANDS_OF_GRID,
    COUNTS_OFFSET,
    COUNTS_PER_REFLECTANCE,
    F32,
    NO_DATA_COUNTS,
    U8,
    U16,
    Band,
    Grid,
    StripInfo,
)

FULL_SCALE_REFLECTANCE = 1.6
COUNTS_MAX = 65535


def code_table() -> U8:
    """The code of every possible count: uint8 (65536,)."""
    counts = np.arange(COUNTS_MAX + 1, dtype=np.float64)
    table = codes_of(np.maximum(counts - COUNTS_OFFSET, 0) / COUNTS_PER_REFLECTANCE)
    table[NO_DATA_COUNTS] = 0
    return table


def codes_of(reflectance: NDArray[np.floating]) -> U8:
    """Rule 3, of reflectance that is there and not below 0."""
    codes: U8 = np.clip(np.rint(255 * np.sqrt(reflectance / FULL_SCALE_REFLECTANCE)), 1, 255).astype(np.uint8)
    return codes


class DnScale:
    """Turns the ``dn`` of one strip into ``counts``, band by band."""

    def __init__(self, offset_dn: Mapping[Band, int], quantification_dn: int) -> None:
        self._offset_dn = offset_dn
        self._gain = COUNTS_PER_REFLECTANCE / quantification_dn

    def to_counts(self, dn: U16, grid: Grid, out: U16) -> None:
        """Write the counts of ``dn`` (band, row, col) to ``out`` of the same shape."""
        shifts = [self._offset_dn[band] * self._gain + COUNTS_OFFSET for band in BANDS_OF_GRID[grid]]
        if self._gain == 1.0 and not any(shifts):
            out[...] = dn
            return
        has_data = has_any(dn)
        is_whole = has_data.all()
        for samples, shift, counts in zip(dn, shifts, out, strict=True):
            if self._gain == 1.0:
                _shift(samples, int(shift), counts)
            else:
                _scale(samples, np.float32(self._gain), np.float32(shift), counts)
            if not is_whole:
                counts *= has_data


def _shift(samples: U16, shift: int, counts: U16) -> None:
    """Write ``samples`` + ``shift``, clipped to 1..COUNTS_MAX."""
    np.clip(samples, max(0, 1 - shift), min(COUNTS_MAX, COUNTS_MAX - shift), out=counts)
    counts += np.uint16(shift % (COUNTS_MAX + 1))  # what is below 0 wraps around to it


def _scale(samples: U16, gain: np.float32, shift: np.float32, counts: U16) -> None:
    """Write ``samples`` x ``gain`` + ``shift``, rounded and clipped to 1..COUNTS_MAX."""
    for row in range(samples.shape[0]):
        counts[row] = np.clip(np.rint(samples[row] * gain + shift), 1, COUNTS_MAX)


def has_any(samples: U16) -> NDArray[np.bool_]:
    """Where any band (band, row, col) is not 0: bool (row, col)."""
    if samples[0].all():  # as nearly everywhere: one band answers for all
        return np.ones(samples.shape[1:], dtype=np.bool_)
    seen: NDArray[np.bool_] = np.bitwise_or.reduce(samples, axis=0) != NO_DATA_COUNTS
    return seen


def valid_mask(counts: Mapping[Grid, U16], rows: int, columns: int) -> NDArray[np.bool_]:
    """Where every grid has data, on the 10 m grid: bool (rows, columns).

    Args:
        counts: per grid, uint16 (band, ceil(rows / pitch), ceil(columns / pitch)).
    """
    valid = np.ones((rows, columns), dtype=np.bool_)
    for grid, samples in counts.items():
        seen = has_any(samples)
        if grid != Grid.R10M:
            if seen.all():
                continue
            seen = seen.repeat(grid, axis=0).repeat(grid, axis=1)[:rows, :columns]
        valid &= seen
    return valid


def geometry_input(strip: StripInfo) -> F32:
    """The angles as the surface network reads them: float32 (1, 4, 1, 1).

    1 if they are known, then the cosines of sun zenith, view zenith and relative azimuth.
    """
    angles = (strip.sun_zenith_deg, strip.view_zenith_deg, strip.sun_azimuth_deg, strip.view_azimuth_deg)
    values = np.zeros(4, dtype=np.float32)
    sun_zenith_deg, view_zenith_deg, sun_azimuth_deg, view_azimuth_deg = angles
    if (
        sun_zenith_deg is not None
        and view_zenith_deg is not None
        and sun_azimuth_deg is not None
        and view_azimuth_deg is not None
    ):
        relative_azimuth_deg = sun_azimuth_deg - view_azimuth_deg
        cosines = np.cos(np.radians([sun_zenith_deg, view_zenith_deg, relative_azimuth_deg]))
        values[:] = [1.0, *cosines]
    return values.reshape(1, 4, 1, 1)
