"""An image through the flight code: counts, codes, windows, INT8 network, classes, surface.

Nothing is computed here that flight computes: `payload.core` makes counts, codes, classes and
surface reflectance, and the engine's own code compiles the network.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.core import radiometry, scene, surface
from payload.core.arithmetic import NumpyArithmetic
from payload.core.missing_bands import fill_codes
from payload.types import (
    COUNTS_OFFSET,
    COUNTS_PER_REFLECTANCE,
    F32,
    SURFACE_BANDS_OF_GRID,
    U8,
    U16,
    Band,
    Grid,
    SceneClass,
    Task,
    TileGrid,
    Window,
)
from tools.evaluate.folders import FolderError, seen_in
from tools.material import Grids, native_grids
from tools.networks.runtime import Runner

INNER_PX = 960
"""Pieces of a large image; tiled equals untiled, so this is a matter of memory alone."""

PHASE_PX = 48
HALO_PX = 72
QUANTITIES = 4
SAMPLE_PX = 6
DARK_REFLECTANCE = 1e-6
"""What is 0 in some bands only is dark there, not missing."""

Answer = Callable[[Mapping[Grid, U8]], NDArray[np.generic]]
"""From the codes of a window to what the network says of it."""

Counts = dict[Grid, U16]


@dataclass(frozen=True, eq=False)
class Model:
    """A model folder: its manifest and its INT8 network."""

    folder: Path
    manifest: dict[str, Any]
    answer: Answer


_ARITHMETIC = NumpyArithmetic()
"""Codes as flown, to the bit; surface counts within one of those of the compiled formulas."""


def open_model(folder: Path, task: Task) -> Model:
    """The model folder as it flies.

    Raises:
        FolderError: there is no manifest, its network is for another task, or is not there.
    """
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        xml, found = folder / manifest["artifacts"][0]["files"][0]["path"], manifest["task"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise FolderError(f"{folder}: not a model folder: {error}") from error
    if found != task.value:
        raise FolderError(f"{folder}: its network is for {found}; one for {task.value} is wanted here")
    if not xml.exists():
        raise FolderError(f"{xml}: the manifest names it, but it is not there")
    return Model(folder, manifest, Runner(xml))


def counts_of(planes: Mapping[Band, F32]) -> Counts:
    """Counts on the native grids, as a source would deliver them; no data where all bands are 0."""
    seen = seen_in(planes)
    kept = {band: np.where(seen, np.maximum(plane, DARK_REFLECTANCE), 0) for band, plane in planes.items()}
    return counts_on(native_grids(kept))


def counts_on(grids: Grids) -> Counts:
    """Counts of reflectance (band, row, col) on the native grids; 0 is no data."""
    counts: Counts = {}
    for grid, reflectance in grids.items():
        scaled = np.rint(reflectance * COUNTS_PER_REFLECTANCE) + COUNTS_OFFSET
        counts[grid] = np.where(reflectance != 0, np.clip(scaled, 1, 65535), 0).astype(np.uint16)
    return counts


def tiles_over(rows: int, cols: int) -> Iterator[tuple[Window, TileGrid]]:
    """Inners that cover an image whose size is a multiple of 6 px, and the windows they need."""
    for row in range(0, rows, INNER_PX):
        for col in range(0, cols, INNER_PX):
            inner = Window(row, col, min(INNER_PX, rows - row), min(INNER_PX, cols - col))
            inner_rows, inner_cols = (-(-size // PHASE_PX) * PHASE_PX for size in (inner.rows, inner.cols))
            yield inner, TileGrid(inner_rows, inner_cols, HALO_PX)


def window_codes(
    counts: Counts, inner: Window, tiles: TileGrid, missing: Collection[Band] = ()
) -> dict[Grid, U8]:
    """Codes of the window around ``inner``; what lies outside the image is no data."""
    window: dict[Grid, U8] = {}
    for grid, plane in counts.items():
        pitch = int(grid)
        halo = tiles.halo_px // pitch
        shape = (len(plane), tiles.window_rows_px // pitch, tiles.window_columns_px // pitch)
        cut = np.zeros(shape, np.uint16)
        first_row, first_col = inner.row // pitch - halo, inner.col // pitch - halo
        rows = slice(max(first_row, 0), min(first_row + shape[1], plane.shape[1]))
        cols = slice(max(first_col, 0), min(first_col + shape[2], plane.shape[2]))
        cut[
            :, rows.start - first_row : rows.stop - first_row, cols.start - first_col : cols.stop - first_col
        ] = plane[:, rows, cols]
        codes = np.empty(shape, np.uint8)
        _ARITHMETIC.encode(cut, codes)
        window[grid] = codes
    fill_codes(window, missing)
    return window


def _inner_counts(counts: Counts, inner: Window) -> Counts:
    return {
        grid: plane[
            :,
            inner.row // grid : (inner.row + inner.rows) // grid,
            inner.col // grid : (inner.col + inner.cols) // grid,
        ]
        for grid, plane in counts.items()
    }


def classify(counts: Counts, answer: Answer, missing: Collection[Band] = ()) -> U8:
    """SceneClass of every pixel, (row, col) of the padded image; ``missing``: what the instrument lacks."""
    rows, cols = counts[Grid.R10M].shape[1:]
    classes = np.empty((rows, cols), np.uint8)
    for inner, tiles in tiles_over(rows, cols):
        scores = np.asarray(answer(window_codes(counts, inner, tiles, missing)), np.uint8)
        valid = radiometry.valid_mask(_inner_counts(counts, inner), inner.rows, inner.cols)
        found, _ = scene.classify(scene.inner_scores(scores, tiles, inner), valid)
        classes[inner.row : inner.row + inner.rows, inner.col : inner.col + inner.cols] = found
    return classes


@dataclass(frozen=True, eq=False)
class Surface:
    """Surface reflectance on the native grids, and sigma on cells of 24 px; 0 is no data."""

    reflectance: dict[Grid, F32]
    sigma: dict[Grid, F32]


def correct(counts: Counts, answer: Answer) -> Surface:
    """Surface reflectance of every band but B10, as the flight product holds it before coding."""
    rows, cols = counts[Grid.R10M].shape[1:]
    cells = [-(-size // surface.CELL_PX) for size in (rows, cols)]
    found = {
        grid: np.zeros((len(bands), rows // grid, cols // grid), np.float32)
        for grid, bands in SURFACE_BANDS_OF_GRID.items()
    }
    sigma = {
        grid: np.zeros((len(bands), *cells), np.float32) for grid, bands in SURFACE_BANDS_OF_GRID.items()
    }
    for inner, tiles in tiles_over(rows, cols):
        said = np.asarray(answer(window_codes(counts, inner, tiles)), np.float32)
        atmosphere = said.reshape(QUANTITIES, -1, *said.shape[1:])
        own = _inner_counts(counts, inner)
        for grid in found:
            kept = surface.surface_counts(
                np.ascontiguousarray(own[grid]), atmosphere, grid, tiles, _ARITHMETIC
            )
            value = (kept.astype(np.float32) - COUNTS_OFFSET) / np.float32(COUNTS_PER_REFLECTANCE)
            value[kept == 0] = 0
            place = (
                slice(None),
                slice(inner.row // grid, (inner.row + inner.rows) // grid),
                slice(inner.col // grid, (inner.col + inner.cols) // grid),
            )
            found[grid][place] = value
            spread = surface.sigma_counts(atmosphere, grid, tiles, inner) / COUNTS_PER_REFLECTANCE
            top, left = inner.row // surface.CELL_PX, inner.col // surface.CELL_PX
            sigma[grid][:, top : top + spread.shape[1], left : left + spread.shape[2]] = spread
    return Surface(found, sigma)


def is_clear(classes: U8, grid: Grid) -> NDArray[np.bool_]:
    """Where every 10 m pixel of a sample of ``grid`` is clear by the class map."""
    pitch = int(grid)
    rows, cols = classes.shape
    clear = classes == SceneClass.CLEAR
    result: NDArray[np.bool_] = clear.reshape(rows // pitch, pitch, cols // pitch, pitch).all(axis=(1, 3))
    return result
