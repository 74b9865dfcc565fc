"""Pictures to look at: many small images side by side in one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from payload.core.pictures import class_palette
from payload.types import U8

GAP_PX = 4


def colour_classes(classes: U8) -> U8:
    """(row, col) classes as a picture (row, col, 3)."""
    return class_palette()[classes]


def join(rows: Sequence[Sequence[U8]], columns: int = 1) -> U8:
    """Each row of pictures side by side, and the rows under each other in ``columns`` columns."""
    height = max(picture.shape[0] for row in rows for picture in row) + GAP_PX
    width = max(picture.shape[1] for row in rows for picture in row) + GAP_PX
    per_row = max(len(row) for row in rows)
    lines = -(-len(rows) // columns)
    sheet = np.full((lines * height, columns * (per_row * width + GAP_PX), 3), 40, np.uint8)
    for number, row in enumerate(rows):
        top, left = (number // columns) * height, (number % columns) * (per_row * width + GAP_PX)
        for place, picture in enumerate(row):
            at = left + place * width
            sheet[top : top + picture.shape[0], at : at + picture.shape[1]] = picture
    return sheet


def enlarge(picture: NDArray[np.uint8], factor: int) -> U8:
    return np.kron(picture, np.ones((factor, factor, 1), np.uint8))


def write_png(path: Path, picture: U8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(picture)))
