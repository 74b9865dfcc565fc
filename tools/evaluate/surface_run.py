"""Scores surface reflectance over a folder of pairs, ours and the rivals'.

Rules:
1. Samples count where our own class map calls every pixel clear (`clear`), and once more
   wherever the reference has data (`all`), so that what the class map hides is seen too.
2. Where the map leaves less than LEAST_CLEAR_SHARE of a pair, its `clear` figures are None.
3. Means over pairs give every pair the same weight, whatever its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.core.surface import CELL_PX
from payload.types import F32, SURFACE_BANDS_OF_GRID, U8, Band, Grid
from tools import progress
from tools.evaluate import flown
from tools.evaluate import surface_metrics as metrics
from tools.evaluate.folders import L2A_BANDS, Entry, FolderError, read_stack
from tools.evaluate.pixel_rivals import PixelRivals
from tools.material import FILE_BANDS, Grids, native_grids

OURS = "Skysift INT8"
LEAST_CLEAR_SHARE = 0.02
Z90 = 1.6449

Masks = dict[Grid, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Scored:
    """One pair: figures by kind of mask and method, and images for the report."""

    entry: Entry
    figures: dict[str, Any]
    top: Grids
    truth: Grids
    found: Grids
    classes: U8


def truth_grids(planes: Mapping[Band, F32]) -> Grids:
    """The reference on the native grids, bands of SURFACE_BANDS_OF_GRID."""
    grids = native_grids(planes)
    return {grid: grids[grid][: len(bands)] for grid, bands in SURFACE_BANDS_OF_GRID.items()}


def confidence_figures(truth: Grids, found: flown.Surface, masks: Masks) -> dict[str, Any]:
    """Is sigma right: per band the mean sigma, the RMSE, and how often the error is within 1.64 sigma."""
    rows = {}
    for band, (grid, index) in metrics.band_places().items():
        zoom = CELL_PX // int(grid)
        rows_px, cols_px = truth[grid].shape[1:]
        sigma = np.kron(found.sigma[grid][index], np.ones((zoom, zoom), np.float32))[:rows_px, :cols_px]
        counts = masks[grid] & (truth[grid][index] != 0) & (sigma > 0)
        if not counts.any():
            continue
        error = np.abs(found.reflectance[grid][index] - truth[grid][index])[counts]
        rows[band.value] = {
            "mean_sigma": float(sigma[counts].mean()),
            "rmse": float(np.sqrt(np.mean(error.astype(np.float64) ** 2))),
            "within_90_percent": float((error <= Z90 * sigma[counts]).mean()),
        }
    return rows


def score_pair(entry: Entry, surface: flown.Answer, scene: flown.Answer, rivals: PixelRivals) -> Scored:
    """Every method on one pair."""
    planes, below = read_stack(entry.image, FILE_BANDS), read_stack(entry.truth, L2A_BANDS)
    if planes[Band.B02].shape != below[Band.B02].shape:
        raise FolderError(f"{entry.truth}: its size is not that of {entry.image.name}")
    counts = flown.counts_of(planes)
    classes = flown.classify(counts, scene)
    ours = flown.correct(counts, surface)
    truth = truth_grids(below)
    masks: dict[str, Masks] = {
        "clear": {grid: flown.is_clear(classes, grid) for grid in Grid},
        "all": {grid: np.ones(truth[grid].shape[1:], bool) for grid in Grid},
    }
    clear_share = float(masks["clear"][Grid.R10M][truth[Grid.R10M][0] != 0].mean())
    figures: dict[str, Any] = {"clear_share": clear_share, "clear": None}
    found = {OURS: ours.reflectance} | {name: rivals.correct(name, planes) for name in rivals.names}
    for kind, mask in masks.items():
        if kind == "clear" and clear_share < LEAST_CLEAR_SHARE:
            continue
        figures[kind] = {name: metrics.figures(truth, grids, mask) for name, grids in found.items()}
        figures[kind]["confidence"] = confidence_figures(truth, ours, mask)
    return Scored(entry, figures, native_grids(planes), truth, ours.reflectance, classes)


def score_pairs(
    entries: Sequence[Entry], surface: flown.Answer, scene: flown.Answer, rivals: PixelRivals
) -> list[Scored]:
    """All pairs, with progress on a terminal."""
    scored = []
    for number, entry in enumerate(entries):
        scored.append(score_pair(entry, surface, scene, rivals))
        progress.show(f"{number + 1}/{len(entries)} {entry.stem:60.60}")
    progress.end()
    return scored


def means_over_pairs(scored: Sequence[Scored], kind: str) -> dict[str, dict[str, float]]:
    """RMSE per band and method, averaged over the pairs that have it (rule 3)."""
    table: dict[str, dict[str, float]] = {}
    known = [pair.figures[kind] for pair in scored if pair.figures[kind] is not None]
    for method in [name for name in (known[0] if known else {}) if name != "confidence"]:
        table[method] = {}
        for band in metrics.BANDS:
            values = [f[method]["bands"][band.value].get("rmse") for f in known]
            present = [value for value in values if value is not None]
            if present:
                table[method][band.value] = float(np.mean(present))
    return table


def score_truths(path: Path, surface: flown.Answer) -> dict[str, Any]:
    """A table of measured places (as RadCalNet's): what we make of their TOA beside their surface.

    CSV with a header: name, kind (toa or surface), then band names; reflectance. A place is
    seen as a uniform patch.

    Raises:
        FolderError: a column is missing or a place has no pair of rows.
    """
    lines = [line.split(",") for line in path.read_text().splitlines() if line.strip()]
    header = [word.strip() for word in lines[0]]
    if header[:2] != ["name", "kind"]:
        raise FolderError(f"{path}: the first columns must be name,kind")
    rows = {(line[0].strip(), line[1].strip()): line[2:] for line in lines[1:]}
    report = {}
    for name in dict.fromkeys(key[0] for key in rows):
        try:
            seen, below = (
                {Band(b): float(v) for b, v in zip(header[2:], rows[name, kind], strict=True) if v.strip()}
                for kind in ("toa", "surface")
            )
            planes = {band: np.full((96, 96), seen[band], np.float32) for band in FILE_BANDS}
        except (KeyError, ValueError) as error:
            raise FolderError(
                f"{path}: {name}: needs rows toa and surface with all 13 bands: {error}"
            ) from error
        ours = flown.correct(flown.counts_of(planes), surface)
        report[name] = {
            band.value: {
                "found": float(ours.reflectance[grid][index].mean()),
                "truth": below[band],
                "toa": seen[band],
            }
            for band, (grid, index) in metrics.band_places().items()
            if band in below
        }
    return report
