"""How near a surface reflectance is to its reference, band by band and as an image.

Definitions, x the reference and y what is judged, over the samples that count, the same for whoever is
judged:
    RMSE, bias     root mean square and mean of y - x
    CE90, CE99     90th and 99th percentile of |y - x|
    SAM            angle between the spectra x and y, degrees (Kruse et al. 1993)
    UIQI           Q of Wang and Bovik (2002): 4 cov mean mean / ((var + var)(mean^2 + mean^2))
    ERGAS          100 sqrt(mean over bands of (RMSE / mean x)^2), no change of resolution (Wald 2000)
    SSIM           Wang et al. (2004), windows of 7 px in which every sample counts, scikit-image
    detail kept    energy of y above 1/4 cycle a pixel over that of x: 1 keeps it, less blurs. Samples that
                   do not count hold the mean of those that do: their edges are in both, and draw it to 1
    error of range mean |y - x| in % of 0..12000 DN (the figure Rapid BoA gives)
    NDVI error     mean |NDVI(y) - NDVI(x)| from B08 and B04
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from payload.types import F32, SURFACE_BANDS_OF_GRID, Band, Grid

BANDS = [band for bands in SURFACE_BANDS_OF_GRID.values() for band in bands]
RANGE_REFLECTANCE = 1.2
RATIO_EDGES = np.linspace(0.5, 1.5, 41)
DARKEST_FOR_RATIO = 0.005
SSIM_WINDOW_PX = 7
HIGH_CYCLES_PER_PX = 0.25
B04_OF_R10M, B08_OF_R10M = 2, 3

Grids = Mapping[Grid, F32]
Masks = Mapping[Grid, NDArray[np.bool_]]


def band_places() -> dict[Band, tuple[Grid, int]]:
    return {band: (grid, i) for grid, bands in SURFACE_BANDS_OF_GRID.items() for i, band in enumerate(bands)}


def ratio_histogram(truth: F32, found: F32) -> list[float]:
    """Shares of found / reference in 40 steps from 0.5 to 1.5; what lies outside is left out."""
    usable = truth > DARKEST_FOR_RATIO
    ratio = found[usable] / truth[usable]
    counts = np.histogram(ratio, RATIO_EDGES)[0]
    return [round(float(c), 5) for c in counts / max(ratio.size, 1)]


def band_figures(truth: F32, found: F32) -> dict[str, Any]:
    """Figures of one band over flat samples."""
    if truth.size == 0:
        return {"samples": 0}
    x, y = truth.astype(np.float64), found.astype(np.float64)
    error = np.abs(y - x)
    return {
        "samples": int(x.size),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "bias": float(np.mean(y - x)),
        "ce90": float(np.percentile(error, 90)),
        "ce99": float(np.percentile(error, 99)),
        "uiqi": uiqi(x, y),
        "range_error_percent": float(100 * error.mean() / RANGE_REFLECTANCE),
        "mean_reference": float(x.mean()),
        "ratio_median": float(np.median(y[x > DARKEST_FOR_RATIO] / x[x > DARKEST_FOR_RATIO]))
        if (x > DARKEST_FOR_RATIO).any()
        else None,
    }


def uiqi(x: NDArray[np.float64], y: NDArray[np.float64]) -> float | None:
    """Q over all samples as one window; None where nothing varies."""
    varied = (x.var() + y.var()) * (x.mean() ** 2 + y.mean() ** 2)
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    return float(4 * covariance * x.mean() * y.mean() / varied) if varied > 0 else None


def ergas(rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Over the bands that have samples."""
    parts = [(r["rmse"] / r["mean_reference"]) ** 2 for r in rows if r.get("mean_reference")]
    return float(100 * np.sqrt(np.mean(parts))) if parts else None


def spectral_angle_deg(truth: F32, found: F32) -> float | None:
    """Mean angle between spectra (band, sample)."""
    if truth.shape[1] == 0:
        return None
    dot = (truth * found).sum(axis=0, dtype=np.float64)
    norm = np.linalg.norm(truth.astype(np.float64), axis=0) * np.linalg.norm(found.astype(np.float64), axis=0)
    cosine = dot[norm > 0] / norm[norm > 0]
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean()) if cosine.size else None


def high_energy(plane: F32) -> float:
    """Energy of (row, col) above a quarter cycle a pixel; the edges are tapered first."""
    taper = np.outer(*(np.hanning(size + 2)[1:-1] for size in plane.shape))
    spectrum = np.fft.rfft2((plane - plane.mean()) * taper)
    frequency = np.hypot(np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None])
    return float((np.abs(spectrum[frequency > HIGH_CYCLES_PER_PX]) ** 2).sum())


def image_figures(truth: F32, found: F32, counts: NDArray[np.bool_]) -> dict[str, float | None]:
    """SSIM and the detail kept of planes (row, col), of the samples that count; None where there are none."""
    row: dict[str, float | None] = {"detail_kept": None, "ssim": None}
    if not counts.any():
        return row
    truth, found = (np.where(counts, plane, plane[counts].mean()) for plane in (truth, found))
    reference = high_energy(truth)
    row["detail_kept"] = high_energy(found) / reference if reference > 0 else None
    inside = ndimage.binary_erosion(counts, np.ones((SSIM_WINDOW_PX, SSIM_WINDOW_PX)))
    if inside.any() and has_ssim():
        from skimage.metrics import structural_similarity

        scale = max(float(np.ptp(truth[counts])), 0.05)
        _, local = structural_similarity(truth, found, win_size=SSIM_WINDOW_PX, data_range=scale, full=True)
        row["ssim"] = float(local[inside].mean(dtype=np.float64))
    return row


def has_ssim() -> bool:
    """Whether scikit-image is there, which computes it."""
    return importlib.util.find_spec("skimage") is not None


def ndvi_error(truth: Grids, found: Grids, mask: NDArray[np.bool_]) -> float | None:
    """Mean absolute difference of NDVI over the 10 m samples that count."""

    def index(grids: Grids) -> NDArray[np.float64]:
        red = grids[Grid.R10M][B04_OF_R10M][mask].astype(np.float64)
        infrared = grids[Grid.R10M][B08_OF_R10M][mask].astype(np.float64)
        ratio: NDArray[np.float64] = (infrared - red) / np.maximum(infrared + red, 1e-3)
        return ratio

    return float(np.abs(index(found) - index(truth)).mean()) if mask.any() else None


def figures(truth: Grids, found: Grids, masks: Masks) -> dict[str, Any]:
    """Everything about one method on one pair. ``masks``: which samples of each grid count, all with data
    in ``found``; a band of which ``truth`` has nothing is 0 there."""
    rows: dict[str, Any] = {}
    for band, (grid, index) in band_places().items():
        counts = masks[grid] & (truth[grid][index] != 0)
        x, y = truth[grid][index][counts], found[grid][index][counts]
        rows[band.value] = band_figures(x, y) | {"ratio_histogram": ratio_histogram(x, y)}
        rows[band.value] |= image_figures(truth[grid][index], found[grid][index], counts)
    spectra = masks[Grid.R20M] & (truth[Grid.R20M] != 0).all(axis=0)
    red_and_infrared = (truth[Grid.R10M][[B04_OF_R10M, B08_OF_R10M]] != 0).all(axis=0)
    errors = [row["range_error_percent"] for row in rows.values() if row["samples"]]
    return {
        "bands": rows,
        "sam_deg": spectral_angle_deg(truth[Grid.R20M][:, spectra], found[Grid.R20M][:, spectra]),
        "ergas": ergas(list(rows.values())),
        "ndvi_error": ndvi_error(truth, found, masks[Grid.R10M] & red_and_infrared),
        "range_error_percent": float(np.mean(errors)) if errors else None,
        "mean_rmse": float(np.mean([row["rmse"] for row in rows.values() if row["samples"]]))
        if errors
        else None,
    }
