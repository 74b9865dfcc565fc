"""How much clear ground is called cloud, by what kind of ground it is.

Rules:
1. What counts is clear beyond doubt: pixels labelled clear, or every pixel with data of an image
   that the caller names as free of clouds.
2. Snow: NDSI above 0.4 and B08 above 0.11 (Hall et al. 1995; Zhu and Woodcock 2012).
3. Bright: B02 above 0.2 and not snow: roofs, sand, salt, quarries.
4. Glint: water (NDWI above 0, B08 below 0.15) with B11 above 0.02, where still water is black.
5. Other: the rest. Every pixel is of one kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.types import F32, Band, SceneClass
from tools.evaluate import flown
from tools.evaluate.folders import Entry, FolderError, group_of, labelled_entries, read_label, read_stack
from tools.evaluate.scene_run import Judge
from tools.material import FILE_BANDS

KINDS = ("snow", "bright", "glint", "other")
CLOUD = (SceneClass.THICK_CLOUD, SceneClass.THIN_CLOUD)
SNOW_NDSI, SNOW_B08 = 0.4, 0.11
BRIGHT_B02 = 0.2
WATER_B08, GLINT_B11 = 0.15, 0.02


@dataclass(frozen=True)
class Called:
    """Clear pixels of one kind of ground in one image, and how many of them are called cloud or shadow."""

    pixels: int
    cloud: int
    shadow: int

    def __add__(self, other: Called) -> Called:
        return Called(self.pixels + other.pixels, self.cloud + other.cloud, self.shadow + other.shadow)

    @property
    def cloud_ratio(self) -> float | None:
        return self.cloud / self.pixels if self.pixels else None

    @property
    def shadow_ratio(self) -> float | None:
        return self.shadow / self.pixels if self.pixels else None


def _index(first: F32, second: F32) -> F32:
    return np.asarray((first - second) / np.maximum(first + second, 1e-6))


def is_snow(planes: Mapping[Band, F32]) -> NDArray[np.bool_]:
    """Where B03, B08 and B11 (row, col) show snow (rule 2)."""
    b03, b08, b11 = (planes[band] for band in (Band.B03, Band.B08, Band.B11))
    return (_index(b03, b11) > SNOW_NDSI) & (b08 > SNOW_B08)


def kinds_of(planes: Mapping[Band, F32]) -> dict[str, NDArray[np.bool_]]:
    """A mask (row, col) of every kind of ground (rules 2 to 5)."""
    b02, b03, b08, b11 = (planes[band] for band in (Band.B02, Band.B03, Band.B08, Band.B11))
    snow = is_snow(planes)
    bright = (b02 > BRIGHT_B02) & ~snow
    glint = (_index(b03, b08) > 0) & (b08 < WATER_B08) & (b11 > GLINT_B11) & ~snow & ~bright
    return {"snow": snow, "bright": bright, "glint": glint, "other": ~(snow | bright | glint)}


def entries_of(folder: Path, *, is_clear: bool) -> list[Entry]:
    """Labelled images of ``folder``; with ``is_clear``, every .tif that ends like an L1C image, truth aside.

    Raises:
        FolderError: there are none.
    """
    if not is_clear:
        return labelled_entries(folder)
    endings = ("_S2L1C.tif", "_l1c.tif")
    images = sorted(path for path in folder.rglob("*.tif") if path.name.endswith(endings))
    if not images:
        raise FolderError(f"{folder}: no <stem>{endings[0]} or <stem>{endings[1]} in it")
    stems = [path.name.removesuffix(endings[0]).removesuffix(endings[1]) for path in images]
    return [Entry(stem, group_of(stem), path, path) for stem, path in zip(stems, images, strict=True)]


def judge_clear(
    entries: list[Entry], judge: Judge, *, is_clear: bool
) -> Iterator[tuple[str, dict[str, Called]]]:
    """(stem, what is called what by kind of ground) of every image."""
    for entry in entries:
        planes = read_stack(entry.image, FILE_BANDS)
        rows, cols = planes[Band.B02].shape
        classes = flown.classify(flown.counts_of(planes), judge(entry))[:rows, :cols]
        clear = classes != SceneClass.NO_DATA
        if not is_clear:
            clear &= read_label(entry.truth, (rows, cols)) == SceneClass.CLEAR
        found = {}
        for kind, mask in kinds_of(planes).items():
            said = classes[mask & clear]
            cloud = int(np.isin(said, CLOUD).sum())
            found[kind] = Called(said.size, cloud, int((said == SceneClass.CLOUD_SHADOW).sum()))
        yield entry.stem, found


def pooled(by_image: Mapping[str, Mapping[str, Called]]) -> dict[str, Called]:
    """The sums over images, by kind."""
    return {kind: sum((found[kind] for found in by_image.values()), start=Called(0, 0, 0)) for kind in KINDS}
