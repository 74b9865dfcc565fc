"""What a person looks at: reduced true colour, class map and surface, side by side.

Rules:
1. A reduced pixel is the mean of those samples of its square that have data.
2. Brightness is the square root of reflectance up to 0.5: shadows and clouds both show.
3. Nothing is stretched by its own contents: the same ground looks the same in every picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from payload.core.tiling import grid_size
from payload.types import (
    BANDS_OF_GRID,
    COUNTS_OFFSET,
    COUNTS_PER_REFLECTANCE,
    NO_DATA_COUNTS,
    U8,
    U16,
    Band,
    Grid,
    SceneClass,
    TileGrid,
    TileRecord,
)

BRIGHTEST_REFLECTANCE = 0.5
GAP_PX = 6
PICTURE_SIDE_MAX_PX = 1000
"""Longest side of one panel of the strip's picture."""

CLASS_COLOURS: Mapping[SceneClass, tuple[int, int, int]] = {
    SceneClass.CLEAR: (96, 136, 72),
    SceneClass.THICK_CLOUD: (255, 255, 255),
    SceneClass.THIN_CLOUD: (132, 196, 255),
    SceneClass.CLOUD_SHADOW: (74, 48, 110),
    SceneClass.NO_DATA: (0, 0, 0),
}

_TRUE_COLOUR = [BANDS_OF_GRID[Grid.R10M].index(b) for b in (Band.B04, Band.B03, Band.B02)]
_NO_SURFACE = 48  # a dark grey: cloud, where there is no surface to show
_GAP = 128


def picture_pitch_px(tiles: TileGrid, rows: int, columns: int) -> int:
    """The finest reduction, whole in every inner, that keeps a panel at 1000 pixels.

    Strips too long for that get the coarsest there is, and a longer picture.
    """
    coarsest = math.gcd(tiles.inner_rows_px, tiles.inner_columns_px)
    for pitch in range(1, coarsest):
        if coarsest % pitch == 0 and max(rows, columns) <= PICTURE_SIDE_MAX_PX * pitch:
            return pitch
    return coarsest


def picture_bytes(tiles: TileGrid, rows: int, columns: int) -> int:
    """What `compose` and coding its picture take: the picture, its coded form, a copy."""
    pitch = picture_pitch_px(tiles, rows, columns)
    return 3 * 3 * (3 * grid_size(rows, pitch) * grid_size(columns, pitch))


def true_colour(counts: U16, pitch_px: int) -> U8:
    """Red, green and blue, uint8 (3, row, col), from 10 m ``counts`` (4, row, col)."""
    means = np.stack([_reduce(counts[band], pitch_px) for band in _TRUE_COLOUR])
    reflectance = (means - COUNTS_OFFSET) / COUNTS_PER_REFLECTANCE
    bright = np.sqrt(np.clip(reflectance / BRIGHTEST_REFLECTANCE, 0, 1))
    colour: U8 = np.rint(bright * 255).astype(np.uint8)
    return colour


def _reduce(band: U16, pitch: int) -> NDArray[np.float64]:
    """Means of squares; 0 where no sample has data."""
    rows, columns = band.shape
    if pitch == 1:
        return band.astype(np.float64)
    if band.all():  # as nearly everywhere
        return _sums(band, pitch) / np.outer(_spans(rows, pitch), _spans(columns, pitch))
    seen = _sums((band != NO_DATA_COUNTS).view(np.uint8), pitch)
    return _sums(band, pitch) / np.maximum(seen, 1)


def _sums(band: NDArray[np.unsignedinteger], pitch: int) -> NDArray[np.uint32]:
    rows, columns = band.shape
    high, wide = grid_size(rows, pitch), grid_size(columns, pitch)
    if (rows, columns) != (high * pitch, wide * pitch):
        band = np.pad(band, ((0, high * pitch - rows), (0, wide * pitch - columns)))
    # Rows first, in whole rows: four times as fast as np.add.reduceat.
    along = band.reshape(high, pitch, -1).sum(axis=1, dtype=np.uint32)
    both: NDArray[np.uint32] = along.reshape(high, wide, pitch).sum(axis=2, dtype=np.uint32)
    return both


def _spans(size: int, pitch: int) -> NDArray[np.int64]:
    return np.diff(np.append(np.arange(0, size, pitch), size))


def thumbnail(top: U8, classes: U8 | None, surface: U16 | None, pitch_px: int) -> U8:
    """A finished tile in small, uint8 (7, row, col): true colour, class, surface true colour.

    Args:
        top: `true_colour` of what was received, at the same pitch.
        classes: None where no pixel has one.
    """
    out = np.full((7, *top.shape[1:]), _NO_SURFACE, dtype=np.uint8)
    out[:3] = top
    out[3] = SceneClass.NO_DATA if classes is None else classes[::pitch_px, ::pitch_px]
    if surface is not None:
        out[4:] = true_colour(surface, pitch_px)
    return out


def compose(records: Iterable[TileRecord], rows: int, columns: int, pitch_px: int) -> U8:
    """The whole strip, uint8 (row, col, 3): true colour, classes, surface side by side."""
    high, wide = grid_size(rows, pitch_px), grid_size(columns, pitch_px)
    picture = np.full((high, 3 * wide + 2 * GAP_PX, 3), _GAP, dtype=np.uint8)
    panels = [picture[:, i * (wide + GAP_PX) :][:, :wide] for i in range(3)]
    for panel in panels:
        panel[...] = 0
    colours = class_palette()
    for record in records:
        row, col = record.inner.row // pitch_px, record.inner.col // pitch_px
        _, tile_high, tile_wide = record.thumbnail.shape
        place = (slice(row, row + tile_high), slice(col, col + tile_wide))
        panels[0][place] = record.thumbnail[:3].transpose(1, 2, 0)
        panels[1][place] = colours[record.thumbnail[3]]
        panels[2][place] = record.thumbnail[4:].transpose(1, 2, 0)
    return picture


def class_palette() -> U8:
    """The colour of every class number: uint8 (256, 3)."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    for scene_class, colour in CLASS_COLOURS.items():
        palette[scene_class] = colour
    return palette
