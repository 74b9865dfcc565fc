"""Reads a TIFF of bands into reflectance, whoever wrote it.

Rules:
1. Bands are on the first axis, on the last, or a page each; where the shape allows the first and the
   last, the last is meant if the file keeps the samples of a pixel together.
2. Whole numbers are reflectance x 10000 without offset; fractions are reflectance, or reflectance
   x 10000 where one sample in a hundred that has data is above 20.
3. No data is what is not finite, what the file's GDAL_NODATA names, what 16 bits do not hold, and what is
   at or below -0.1: no measurement is, with the offset of baseline 04.00 taken off or without one.
   Where one band says so, no band has data; a band that says so everywhere is not there and says
   nothing of the others. What has no data is 0.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from payload.types import F32
from tools.material import DN_PER_REFLECTANCE

LEAST_REFLECTANCE = -0.1
DN_MAX = 65535
LARGEST_REFLECTANCE = 20.0
GDAL_NODATA = "GDAL_NODATA"

_READ_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError, MemoryError),
    *(RuntimeError, struct.error, tifffile.TiffFileError),
)
"""What tifffile and its decoders were seen to raise on damaged files."""


class BandFileError(ValueError):
    """A file does not hold what was expected; the message names it and says what is wrong."""


def read_reflectance(path: Path, bands: int) -> F32:
    """Reflectance (band, row, col) of a file of ``bands`` bands; 0 where there is no data.

    Raises:
        BandFileError: the file cannot be read, or has another number of bands.
    """
    stack, axes, no_data = _read_stack(path, bands)
    if stack.ndim != 3 or bands not in (stack.shape[0], stack.shape[2]):
        raise BandFileError(f"{path}: expected {bands} bands, found an array of shape {stack.shape}")
    if stack.dtype.kind not in "uif":
        raise BandFileError(f"{path}: expected numbers, found {stack.dtype}")
    if stack.dtype.itemsize == 1:
        raise BandFileError(f"{path}: samples of 8 bits are a picture; reflectance takes 16 or fractions")
    if stack.shape[0] != bands or (stack.shape[2] == bands and axes.endswith("S")):
        stack = np.moveaxis(stack, -1, 0)
    return _reflectance(stack, no_data)


def read_plane(path: Path) -> NDArray[Any]:
    """The samples of a file as they are.

    Raises:
        BandFileError: it cannot be read.
    """
    try:
        return np.asarray(tifffile.imread(path))
    except _READ_ERRORS as error:
        raise BandFileError(f"{path}: cannot be read: {error}") from error


def _read_stack(path: Path, bands: int) -> tuple[NDArray[Any], str, float]:
    """(the samples, what their axes are, what the file calls no data; 0 where it says nothing)."""
    try:
        with tifffile.TiffFile(path) as file:
            series, first = file.series[0], file.pages.first
            stack, axes = series.asarray(), series.axes
            if stack.ndim == 2:
                pages = [page for page in file.pages if page.shape == first.shape]
                if len(pages) == bands:
                    stack, axes = np.stack([page.asarray() for page in pages]), f"Q{axes}"
            tag = first.tags.get(GDAL_NODATA)
            return np.asarray(stack), axes, float(str(tag.value).strip("\0 ")) if tag is not None else 0.0
    except _READ_ERRORS as error:
        raise BandFileError(f"{path}: cannot be read: {error}") from error


def _reflectance(stack: NDArray[Any], no_data: float) -> F32:
    """Rules 2 and 3."""
    missing = _is_missing(stack, no_data)
    reflectance: F32 = np.where(missing, 0, stack).astype(np.float32)
    if stack.dtype.kind in "ui" or _is_dn(reflectance):
        reflectance /= np.float32(DN_PER_REFLECTANCE)
    missing |= reflectance <= np.float32(LEAST_REFLECTANCE)
    is_absent = missing.all(axis=(1, 2))
    reflectance[:, missing[~is_absent].any(axis=0)] = 0
    reflectance[is_absent] = 0
    return reflectance


def _is_missing(stack: NDArray[Any], no_data: float) -> NDArray[np.bool_]:
    missing = ~np.isfinite(stack)
    if stack.dtype.itemsize > 2:
        missing |= stack > DN_MAX
    if no_data and np.isfinite(no_data):
        if stack.dtype.kind == "f":
            with np.errstate(over="ignore"):
                missing |= stack == stack.dtype.type(no_data)
        else:
            missing |= stack == no_data
    return missing


def _is_dn(values: F32) -> bool:
    seen = values[values > 0]
    return bool(seen.size and np.percentile(seen, 99) > LARGEST_REFLECTANCE)
