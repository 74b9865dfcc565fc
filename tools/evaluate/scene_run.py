"""Scores class maps over a folder of labelled patches, ours and the rivals'."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from payload.types import F32, U8, Band
from tools.evaluate import flown
from tools.evaluate import scene_scores as scoring
from tools.evaluate.folders import Entry, read_label, read_stack
from tools.evaluate.rivals import Rival
from tools.material import FILE_BANDS

OURS = "Skysift INT8"

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
    """One patch, read and classified."""

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
        if sys.stderr.isatty():
            print(f"\r{number + 1}/{len(entries)} {entry.stem:60.60}", end="", file=sys.stderr, flush=True)
        yield Seen(entry, planes, label, classes)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def score_all(seen: Iterator[Seen], rivals: Mapping[str, Rival]) -> SceneRun:
    """The confusion of ours and of every rival."""
    run = SceneRun()
    for patch in seen:
        run.add(patch.entry, OURS, patch.label, patch.classes)
        for name, rival in rivals.items():
            run.add(patch.entry, name, patch.label, rival(patch.planes))
    return run
