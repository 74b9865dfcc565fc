"""How much clear ground is called cloud, by what kind of ground it is.

Rules:
1. What counts is clear beyond doubt: pixels labelled clear, or every pixel with data of an image
   that the caller names as free of clouds.
2. Snow: NDSI above 0.4 and B08 above 0.11 (Hall et al. 1995; Zhu and Woodcock 2012).
3. Bright: B02 above 0.2 and not snow: roofs, sand, salt, quarries.
4. Glint: water (NDWI above 0, B08 below 0.15) with B11 above 0.02, where still water is black.
5. Other: the rest. Every pixel is of one kind.
6. What lies within 100 m of a pixel labelled cloud or not sure is summed by itself, and so is what lies
   farther: how bright a pixel is says nothing of the ground where the edge of a cloud lies in it or by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from payload.types import F32, U8, Band, SceneClass
from tools.evaluate import flown
from tools.evaluate.folders import (
    LABELLED,
    PAIRED,
    Entry,
    FolderError,
    group_of,
    labelled_entries,
    read_label,
    read_stack,
    stems_of,
)
from tools.evaluate.rivals import Rival
from tools.evaluate.scene_run import OURS, Judge
from tools.material import FILE_BANDS, IGNORED_LABEL

KINDS = ("snow", "bright", "glint", "other")
CLOUD = (SceneClass.THICK_CLOUD, SceneClass.THIN_CLOUD)
SNOW_NDSI, SNOW_B08 = 0.4, 0.11
BRIGHT_B02 = 0.2
WATER_B08, GLINT_B11 = 0.15, 0.02
NEAR_PX = 10
"""100 m."""


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
    """One image: what its clear ground is called, by kind; near cloud and far from it (rule 6)."""

    stem: str
    near: Mapping[str, Called]
    far: Mapping[str, Called]

    @property
    def called(self) -> Mapping[str, Called]:
        """Near and far together."""
        return {kind: self.near[kind] + self.far[kind] for kind in KINDS}


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
    endings = (PAIRED[0], LABELLED[0])
    images = sorted(path for path in folder.rglob("*.tif") if path.name.endswith(endings))
    if not images:
        raise FolderError(f"{folder}: no <stem>{endings[0]} or <stem>{endings[1]} in it")
    bare = [path.name.removesuffix(endings[0]).removesuffix(endings[1]) for path in images]
    stems = stems_of(folder, images, bare)
    return [
        Entry(stem, group_of(own), path, path) for stem, own, path in zip(stems, bare, images, strict=True)
    ]


def judge_clear(
    entries: list[Entry], judge: Judge, rivals: Mapping[str, Rival], *, is_clear: bool
) -> Iterator[dict[str, Judged]]:
    """Every image in turn, by ours and by every rival; one without a label has no cloud."""
    for entry in entries:
        planes = read_stack(entry.image, FILE_BANDS)
        rows, cols = planes[Band.B02].shape
        ours = flown.classify(flown.counts_of(planes), judge(entry))[:rows, :cols]
        clear, is_near = ours != SceneClass.NO_DATA, np.zeros((rows, cols), np.bool_)
        if not is_clear:
            label = read_label(entry.truth, (rows, cols))
            clear &= label == SceneClass.CLEAR
            is_near = near(np.isin(label, (*CLOUD, IGNORED_LABEL)))
        kinds = kinds_of(planes)
        maps = {OURS: ours} | {name: rival(entry, planes) for name, rival in rivals.items()}
        yield {
            name: Judged(
                entry.stem,
                *(
                    {kind: _called(classes[mask & clear & where]) for kind, mask in kinds.items()}
                    for where in (is_near, ~is_near)
                ),
            )
            for name, classes in maps.items()
        }


def near(cloud: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Within NEAR_PX of where ``cloud`` (row, col; 10 m) is."""
    if not cloud.any():
        return cloud
    return np.asarray(ndimage.distance_transform_edt(~cloud) <= NEAR_PX)


def _called(said: U8) -> Called:
    """``said``: the classes of the pixels that count."""
    cloud = int(np.isin(said, CLOUD).sum())
    return Called(said.size, cloud, int((said == SceneClass.CLOUD_SHADOW).sum()))


def table_of(judged: Sequence[Mapping[str, Judged]]) -> dict[str, Mapping[str, Called]]:
    """Ours by image; then everybody's sums: near cloud and far from it (rule 6), and both."""
    rows: dict[str, Mapping[str, Called]] = {one[OURS].stem: one[OURS].called for one in judged}
    for name in judged[0]:
        whose = "" if name == OURS else f"{name}: "
        found = [one[name] for one in judged]
        if any(called.pixels for one in found for called in one.near.values()):
            rows[f"{whose}within {10 * NEAR_PX} m of cloud"] = _pooled([one.near for one in found])
            rows[f"{whose}farther"] = _pooled([one.far for one in found])
        rows[f"{whose}all images"] = _pooled([one.called for one in found])
    return rows


def _pooled(found: Sequence[Mapping[str, Called]]) -> dict[str, Called]:
    """The sums over images, by kind."""
    return {kind: sum((one[kind] for one in found), start=Called(0, 0, 0)) for kind in KINDS}
