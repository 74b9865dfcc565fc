"""A contact sheet: simulated patches beside real ones, for a person's eye."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from payload.types import U8
from tools import material
from tools.simulate.backgrounds import real_backgrounds
from tools.simulate.patch_files import CLASS_COLOURS
from tools.simulate.patches import make_patch

ROWS, PAIRS_A_ROW = 6, 3
TILE_PX, GAP_PX = 252, 6


def contact_sheet(shared: Path, seed: int) -> U8:
    """Picture (row, col, 3): on the left labelled real patches, on the right simulated ones.

    Each patch is true colour beside its classes; pixels of which nobody is sure are black in
    real labels and darker in simulated ones. Half of the simulated patches lie on real ground.
    """
    rng = np.random.default_rng(seed)
    labelled = [patch for patch in material.labelled_patches(shared) if patch.label is not None]
    chosen = rng.permutation(len(labelled))[: ROWS * PAIRS_A_ROW]
    real = [_pair(material.true_colour(labelled[i].grids), CLASS_COLOURS[labelled[i].label]) for i in chosen]
    made = list(_simulated(shared, seed, ROWS * PAIRS_A_ROW))
    gap = np.full((TILE_PX * ROWS + GAP_PX * (ROWS - 1), 4 * GAP_PX, 3), 255, np.uint8)
    return np.concatenate([_grid(real), gap, _grid(made)], axis=1)


def _simulated(shared: Path, seed: int, count: int) -> Iterator[U8]:
    grounds = real_backgrounds(shared, "val")
    for number in range(count):
        patch = make_patch((seed, number), TILE_PX, grounds)
        classes = CLASS_COLOURS[patch.label].copy()
        classes[patch.doubtful] //= 2
        yield _pair(material.true_colour(patch.grids), classes)


def _pair(colours: U8, classes: U8) -> U8:
    pair = np.zeros((TILE_PX, 2 * TILE_PX, 3), np.uint8)
    for number, picture in enumerate((colours, classes)):
        part = picture[:TILE_PX, :TILE_PX]
        pair[: part.shape[0], number * TILE_PX : number * TILE_PX + part.shape[1]] = part
    return pair


def _grid(pairs: list[U8]) -> U8:
    blank = np.full_like(pairs[0], 255)
    pairs = pairs + [blank] * (-len(pairs) % PAIRS_A_ROW)
    rows = [_row(pairs[first : first + PAIRS_A_ROW]) for first in range(0, len(pairs), PAIRS_A_ROW)]
    gap = np.full((GAP_PX, rows[0].shape[1], 3), 255, np.uint8)
    parts: list[U8] = []
    for row in rows:
        parts += [gap, row] if parts else [row]
    return np.concatenate(parts)


def _row(pairs: list[U8]) -> U8:
    gap = np.full((TILE_PX, GAP_PX, 3), 255, np.uint8)
    parts: list[U8] = []
    for pair in pairs:
        parts += [gap, pair] if parts else [pair]
    return np.concatenate(parts, axis=1)
