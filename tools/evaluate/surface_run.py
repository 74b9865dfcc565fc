"""Scores surface reflectance over a folder of pairs, ours and the rivals'.

Rules:
1. Samples count where both images have data in every pixel (`all`), and once more where our own class
   map calls every pixel of them clear (`clear`): what the class map hides is seen too. The same
   samples for every method. A pixel has data where any band has; a band that the reference
   lacks everywhere is not scored.
2. Where the map leaves less than LEAST_CLEAR_SHARE of a pair, its `clear` figures are None.
3. Where no sample has data in both, the clear share is None, too.
4. Means over pairs give every pair the same weight, whatever its size.
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
from tools.band_files import LEAST_REFLECTANCE
from tools.evaluate import flown
from tools.evaluate import surface_metrics as metrics
from tools.evaluate.folders import L2A_BANDS, Entry, FolderError, read_stack, seen_in
from tools.evaluate.pixel_rivals import PixelRivals
from tools.material import FILE_BANDS, PAD_PX, Grids, native_grids

OURS = "Skysift INT8"
LEAST_CLEAR_SHARE = 0.02
Z90 = 1.6449
LARGEST_MEASURED = 2.0
"""Above this a number is a percentage or a DN, not a reflectance."""

Masks = dict[Grid, NDArray[np.bool_]]


@dataclass(frozen=True, eq=False)
class Scored:
    """One pair: figures by kind of mask and method, and images and masks for the report."""

    entry: Entry
    figures: dict[str, Any]
    top: Grids
    truth: Grids
    found: Grids
    classes: U8
    masks: dict[str, Masks]


def truth_grids(planes: Mapping[Band, F32]) -> Grids:
    """The reference on the native grids, bands of SURFACE_BANDS_OF_GRID; what is 0 in some bands only is
    dark there, not 0, unless the whole band is 0."""
    seen, dark = seen_in(planes), np.float32(flown.DARK_REFLECTANCE)
    grids = native_grids(
        {
            band: np.where(seen & (plane == 0), dark, plane) if plane.any() else plane
            for band, plane in planes.items()
        }
    )
    return {grid: grids[grid][: len(bands)] for grid, bands in SURFACE_BANDS_OF_GRID.items()}


def whole_samples(seen: NDArray[np.bool_], grid: Grid) -> NDArray[np.bool_]:
    """The samples of ``grid`` whose every pixel that the image has is ``seen`` (row, col)."""
    pad = [(0, -size % PAD_PX) for size in seen.shape]
    pitch = int(grid)

    def any_of(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
        padded = np.pad(pixels, pad)
        rows, cols = (size // pitch for size in padded.shape)
        found: NDArray[np.bool_] = padded.reshape(rows, pitch, cols, pitch).any(axis=(1, 3))
        return found

    return any_of(seen) & ~any_of(~seen)


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
    seen = seen_in(planes) & seen_in(below)
    whole = {grid: whole_samples(seen, grid) for grid in Grid}
    masks: dict[str, Masks] = {
        "clear": {grid: whole[grid] & flown.is_clear(classes, grid) for grid in Grid},
        "all": whole,
    }
    counted = masks["clear"][Grid.R10M][whole[Grid.R10M]]
    clear_share = float(counted.mean()) if counted.size else None
    figures: dict[str, Any] = {"clear_share": clear_share, "clear": None}
    found = {OURS: ours.reflectance} | {name: rivals.correct(name, planes) for name in rivals.names}
    for kind, mask in masks.items():
        if kind == "clear" and (clear_share is None or clear_share < LEAST_CLEAR_SHARE):
            continue
        figures[kind] = {name: metrics.figures(truth, grids, mask) for name, grids in found.items()}
        figures[kind]["confidence"] = confidence_figures(truth, ours, mask)
    return Scored(entry, figures, native_grids(planes), truth, ours.reflectance, classes, masks)


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
    """RMSE per band and method, averaged over the pairs that have it (rule 4)."""
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


Measured = tuple[dict[Band, float], dict[Band, float]]
"""Reflectance at the top and below, of one place."""


def score_truths(path: Path, surface: flown.Answer) -> dict[str, Any]:
    """A table of measured places (as RadCalNet's): what we make of their TOA beside their surface.

    A place is seen as a uniform patch.

    Raises:
        FolderError: it is no such table.
    """
    report = {}
    for name, (seen, below) in read_truths(path).items():
        planes = {band: np.full((96, 96), seen[band], np.float32) for band in FILE_BANDS}
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


def read_truths(path: Path) -> dict[str, Measured]:
    """Measured places by name.

    CSV with a header: name, kind (toa or surface), then band names; reflectance, toa of all 13 bands.

    Raises:
        FolderError: it cannot be read, a column or row is missing or there twice, or a value is none of
            a reflectance.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: cannot be read: {error}") from error
    header, *lines = [
        [word.strip() for word in line.split(",")] for line in text.splitlines() if line.strip()
    ] or [[]]
    if header[:2] != ["name", "kind"] or not lines:
        raise FolderError(f"{path}: the first columns must be name,kind, and rows must follow")
    rows = {tuple(line[:2]): line[2:] for line in lines}
    if len(rows) < len(lines):
        raise FolderError(f"{path}: a place has two rows of one kind")
    places: dict[str, Measured] = {}
    for name in dict.fromkeys(line[0] for line in lines):
        try:
            seen, below = (_reflectances(header[2:], rows[name, kind]) for kind in ("toa", "surface"))
        except (KeyError, ValueError) as error:
            raise FolderError(
                f"{path}: {name}: needs rows toa and surface of reflectance: {error}"
            ) from error
        missing = [band.value for band in FILE_BANDS if band not in seen]
        if missing:
            raise FolderError(f"{path}: {name}: toa needs all 13 bands; without {', '.join(missing)}")
        places[name] = seen, below
    return places


def _reflectances(bands: Sequence[str], words: Sequence[str]) -> dict[Band, float]:
    found = {Band(band): float(word) for band, word in zip(bands, words, strict=True) if word}
    for band, value in found.items():
        if not LEAST_REFLECTANCE < value <= LARGEST_MEASURED:
            raise ValueError(f"{band.value} is {value}")
    return found
