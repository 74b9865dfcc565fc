"""How much clear ground is called cloud, by what kind of ground it is.

Rules:
1. What counts is clear beyond doubt: pixels labelled clear, or every pixel with data of an image
   that the caller names as free of clouds.
2. Snow: NDSI above 0.4 and B08 above 0.11 (Hall et al. 1995; Zhu and Woodcock 2012).
3. Bright: B02 above 0.2 and not snow: roofs, sand, salt, quarries.
4. Glint: water (NDWI above 0, B08 below 0.15) with B11 above 0.02, where still water is black.
5. Other: the rest. Every pixel is of one kind.
6. Images of which less than 35 % is labelled cloud are also summed by themselves: among broken cloud,
   where bright ground ends and cloud begins is a matter of taste.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
LITTLE_CLOUD = 0.35


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


@dataclass(frozen=True)
class Judged:
    """One image: which share of it is labelled cloud, and what its clear ground is called, by kind."""

    stem: str
    cloud_ratio: float
    called: Mapping[str, Called]


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


def judge_clear(entries: list[Entry], judge: Judge, *, is_clear: bool) -> Iterator[Judged]:
    """Every image in turn; one without a label has no cloud."""
    for entry in entries:
        planes = read_stack(entry.image, FILE_BANDS)
        rows, cols = planes[Band.B02].shape
        classes = flown.classify(flown.counts_of(planes), judge(entry))[:rows, :cols]
        clear, cloud_ratio = classes != SceneClass.NO_DATA, 0.0
        if not is_clear:
            label = read_label(entry.truth, (rows, cols))
            clear &= label == SceneClass.CLEAR
            cloud_ratio = float(np.isin(label, CLOUD).mean())
        found = {}
        for kind, mask in kinds_of(planes).items():
            said = classes[mask & clear]
            cloud = int(np.isin(said, CLOUD).sum())
            found[kind] = Called(said.size, cloud, int((said == SceneClass.CLOUD_SHADOW).sum()))
        yield Judged(entry.stem, cloud_ratio, found)


def table_of(judged: Sequence[Judged]) -> dict[str, Mapping[str, Called]]:
    """By image, then the sums over those with little cloud (rule 6) and over all."""
    little = [one for one in judged if one.cloud_ratio < LITTLE_CLOUD]
    rows: dict[str, Mapping[str, Called]] = {one.stem: one.called for one in judged}
    if len(little) < len(judged):
        rows[f"images with less than {LITTLE_CLOUD:.0%} cloud"] = _pooled(little)
    return rows | {"all images": _pooled(judged)}


def _pooled(judged: Sequence[Judged]) -> dict[str, Called]:
    """The sums over images, by kind."""
    return {kind: sum((one.called[kind] for one in judged), start=Called(0, 0, 0)) for kind in KINDS}
