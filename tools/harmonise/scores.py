"""How well an image was harmonised: radiometry per band, and how much detail is left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from payload.types import F32
from tools.harmonise.pair import BAND_NAMES
from tools.harmonise.simulation import FINE_M
from tools.harmonise.training import EPSILON

F64 = NDArray[np.float64]


def radiometry(found: F32, truth: F32, keep: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Per band, over the pixels of ``keep``: RMSE, bias, mean relative error, R2, largest error.

    ``found`` and ``truth`` are (4, ...), ``keep`` is (...).
    """
    scores = {}
    for name, one, other in zip(BAND_NAMES, found, truth, strict=True):
        wanted = other[keep].astype(np.float64)
        error = one[keep].astype(np.float64) - wanted
        scores[name] = {
            "rmse": float(np.sqrt((error**2).mean())),
            "bias": float(error.mean()),
            "relative_error_ratio": float((np.abs(error) / (EPSILON + wanted)).mean()),
            "r2": float(1 - (error**2).mean() / max(wanted.var(), 1e-12)),
            "largest_error": float(np.abs(error).max()),
        }
    return scores


DETAIL_BANDS_M = {"8_to_20_m": (8.0, 20.0), "4_to_8_m": (4.0, 8.0)}
"""Periods that a 10 m image cannot hold (below 20 m) and a 2 m image can (from 4 m on)."""


def detail_kept(found: F32, truth: F32) -> dict[str, float]:
    """How much of the true detail of (4, row, col) at 2 m is still there, by period.

    The transfer from truth to what was found, Re(F T*) / |T|^2 summed over bands and over the
    frequencies of a period band: 1 where all is kept, less where it is blurred or moved.
    Noise cannot raise it.
    """
    rows, cols = truth.shape[1:]
    frequency_per_m = np.hypot(np.fft.fftfreq(rows, FINE_M)[:, None], np.fft.rfftfreq(cols, FINE_M)[None, :])
    spectra = [_spectrum(image) for image in (found, truth)]
    kept = {}
    for name, (shortest, longest) in DETAIL_BANDS_M.items():
        ring = (frequency_per_m > 1 / longest) & (frequency_per_m <= 1 / shortest)
        one, other = (spectrum[:, ring] for spectrum in spectra)
        kept[name] = float((one * other.conj()).real.sum() / (np.abs(other) ** 2).sum())
    return kept


def _spectrum(image: F32) -> NDArray[np.complex128]:
    rows, cols = image.shape[1:]
    level = image - image.mean(axis=(1, 2), keepdims=True)
    return np.fft.rfft2(level * np.hanning(rows)[:, None] * np.hanning(cols)[None, :])


def moved_m(found: F32, truth: F32) -> tuple[float, float]:
    """By how much the found image (4, row, col) lies displaced (row, col), metres.

    Least squares of found - truth on the slopes of the truth; good for less than a pixel.
    """
    slopes = np.stack([np.gradient(truth.astype(np.float64), axis=axis).ravel() for axis in (1, 2)])
    error = (found - truth).astype(np.float64)
    error -= error.mean(axis=(1, 2), keepdims=True)
    shift = np.linalg.solve(slopes @ slopes.T, -slopes @ error.ravel())
    return FINE_M * float(shift[0]), FINE_M * float(shift[1])


def mean_scores(scores: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Band by band, the mean of several tables of `radiometry`; of RMSE the root mean square."""
    merged: dict[str, dict[str, float]] = {}
    for name in BAND_NAMES:
        merged[name] = {}
        for key in scores[0][name]:
            values = np.array([table[name][key] for table in scores])
            is_square = key == "rmse"
            merged[name][key] = float(np.sqrt((values**2).mean()) if is_square else values.mean())
    return merged


def ranking_area(score: NDArray[np.floating], is_positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a positive pixel has the larger score (ties half)."""
    flat, positive = score.ravel(), is_positive.ravel()
    ranks = np.empty(flat.size)
    order = np.argsort(flat, kind="stable")
    values, first, counts = np.unique(flat[order], return_index=True, return_counts=True)
    ranks[order] = np.repeat(first + (counts + 1) / 2, counts)
    count = int(positive.sum())
    if count in (0, flat.size) or len(values) == 0:
        return float("nan")
    total = ranks[positive].sum() - count * (count + 1) / 2
    return float(total / (count * (flat.size - count)))
