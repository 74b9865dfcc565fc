"""Scores class maps over a folder of labelled patches, ours and the rivals'."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from payload.core.surface import CELL_PX
from payload.types import F32, U8, Band, SceneClass
from tools import progress
from tools.evaluate import flown
from tools.evaluate import scene_scores as scoring
from tools.evaluate.folders import Entry, read_label, read_stack, seen_in
from tools.evaluate.rivals import Rival
from tools.evaluate.surface_metrics import band_places
from tools.material import FILE_BANDS, IGNORED_LABEL
from tools.networks.profiles import FULL, PROFILES

OURS = "Skysift INT8"
MOSTLY = 0.7

Judge = Callable[[Entry], flown.Answer]
"""The network that answers for an entry: one for all, or the one whose training left its place out."""


@dataclass(eq=False)
class SceneRun:
    """Confusion of every method on every patch, and one map of ours per patch for pictures."""

    groups: dict[str, str] = field(default_factory=dict)
    matrices: dict[str, dict[str, scoring.Matrix]] = field(default_factory=dict)

    def add(self, entry: Entry, method: str, label: U8, classes: U8) -> None:
        self.groups[entry.stem] = entry.group
        self.matrices.setdefault(method, {})[entry.stem] = scoring.count(label, classes)

    def figures(self) -> dict[str, Any]:
        """Everything for JSON: pooled, by group, by patch, confusion, median F2."""
        report: dict[str, Any] = {}
        for method, by_patch in self.matrices.items():
            by_group = scoring.grouped(by_patch, self.groups)
            pooled = sum(by_patch.values())
            report[method] = {
                "pooled": scoring.rounded(scoring.scores_of(pooled)),
                "confusion": pooled.tolist(),
                "median_f2_per_patch": scoring.median_f2(list(by_patch.values())),
                "groups": {g: scoring.rounded(scoring.scores_of(m)) for g, m in by_group.items()},
                "patches": {s: scoring.rounded(scoring.scores_of(m)) for s, m in by_patch.items()},
                "patch_confusion": {s: m.tolist() for s, m in by_patch.items()},
            }
        return report


@dataclass(frozen=True, eq=False)
class Seen:
    """One patch, read and classified; nobody is judged where our class map has no data."""

    entry: Entry
    planes: Mapping[Band, F32]
    label: U8
    classes: U8


def classify_all(entries: Sequence[Entry], judge: Judge) -> Iterator[Seen]:
    """Every patch with our classes, one at a time."""
    for number, entry in enumerate(entries):
        planes = read_stack(entry.image, FILE_BANDS)
        rows, cols = planes[Band.B02].shape
        label = read_label(entry.truth, (rows, cols))
        classes = flown.classify(flown.counts_of(planes), judge(entry))[:rows, :cols]
        label[classes == SceneClass.NO_DATA] = IGNORED_LABEL
        progress.show(f"{number + 1}/{len(entries)} {entry.stem:60.60}")
        yield Seen(entry, planes, label, classes)
    progress.end()


def losses() -> dict[str, tuple[Band, ...]]:
    """What may be missing: nothing, each band alone, and all that a few-band sensor lacks."""
    lost: dict[str, tuple[Band, ...]] = {"nothing": ()}
    lost |= {band.value: (band,) for band in FILE_BANDS}
    for name, kept in PROFILES.items():
        if name == FULL:
            continue
        lost[f"all but {name}"] = tuple(band for band in FILE_BANDS if band not in kept)
    return lost


def score_without(entries: Sequence[Entry], judge: Judge) -> dict[str, scoring.Scores]:
    """Our pooled scores where the instrument lacks bands, and the board knows it."""
    totals = {name: np.zeros((4, 4), np.int64) for name in losses()}
    for entry in entries:
        planes = read_stack(entry.image, FILE_BANDS)
        rows, cols = planes[Band.B02].shape
        label = read_label(entry.truth, (rows, cols))
        nothing = np.zeros((rows, cols), np.float32)
        for name, bands in losses().items():
            left = {band: nothing if band in bands else plane for band, plane in planes.items()}
            classes = flown.classify(flown.counts_of(left), judge(entry), bands)[:rows, :cols]
            totals[name] += scoring.count(label, classes)
    return {name: scoring.scores_of(total) for name, total in totals.items()}


def sigma_as_cloud_mask(entries: Sequence[Entry], surface: flown.Answer) -> dict[str, float | None]:
    """Does the surface network know that it does not see the ground? Per band, the area under the
    curve of sigma as a detector of cells that are mostly cloud: 0.5 is chance, 1 is perfect; None where
    not both kinds of cells are there. Pixels without data are of neither kind."""
    sigmas: dict[str, list[F32]] = {}
    clouds: list[NDArray[np.bool_]] = []
    for entry in entries:
        planes = read_stack(entry.image, FILE_BANDS)
        rows, cols = planes[Band.B02].shape
        label = np.where(seen_in(planes), read_label(entry.truth, (rows, cols)), IGNORED_LABEL)
        cells = (rows // CELL_PX, cols // CELL_PX)
        cut = label[: cells[0] * CELL_PX, : cells[1] * CELL_PX]
        blocks = cut.reshape(cells[0], CELL_PX, cells[1], CELL_PX)
        cloudy = np.isin(blocks, scoring.TARGETS["cloud"]).mean(axis=(1, 3))
        clear = (blocks == 0).mean(axis=(1, 3))
        found = flown.correct(flown.counts_of(planes), surface)
        spread = {
            band: found.sigma[grid][index, : cells[0], : cells[1]]
            for band, (grid, index) in band_places().items()
        }
        sure = ((cloudy > MOSTLY) | (clear > MOSTLY)) & (np.min(list(spread.values()), axis=0) > 0)
        clouds.append((cloudy > MOSTLY)[sure])
        for band, sigma in spread.items():
            sigmas.setdefault(band.value, []).append(sigma[sure])
    truth = np.concatenate(clouds)
    return {band: area_under_curve(np.concatenate(parts), truth) for band, parts in sigmas.items()}


def area_under_curve(score: F32, is_true: NDArray[np.bool_]) -> float | None:
    """The chance that a true one scores higher than a false one (Mann and Whitney 1947); None where
    there are not both."""
    true, false = int(is_true.sum()), int((~is_true).sum())
    if not true or not false:
        return None
    ranks = rankdata(score)
    return float((ranks[is_true].sum() - true * (true + 1) / 2) / (true * false))


def score_all(seen: Iterator[Seen], rivals: Mapping[str, Rival]) -> SceneRun:
    """The confusion of ours and of every rival."""
    run = SceneRun()
    for patch in seen:
        run.add(patch.entry, OURS, patch.label, patch.classes)
        for name, rival in rivals.items():
            run.add(patch.entry, name, patch.label, rival(patch.entry, patch.planes))
    return run
