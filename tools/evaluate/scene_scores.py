"""What is said of a class map: scores of cloud, shadow and contaminated, each with its false alarms.

Rules:
1. Pixels whose label is 255, and pixels without data, are not counted.
2. cloud is thick or thin (1, 2), shadow is 3, contaminated is any of them (1, 2, 3).
3. False alarms are the share of what is not the target that is called the target. For
   contaminated that is: of the clear pixels, those called anything else.
4. A score without anything to find or to be wrong about is not a number: it is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.types import U8
from tools.networks.scores import CLASSES, confusion

TARGETS = {"cloud": (1, 2), "shadow": (3,), "contaminated": (1, 2, 3)}
"""Classes of each target."""

Matrix = NDArray[np.int64]
Scores = dict[str, dict[str, float | None]]


def count(label: U8, classes: U8) -> Matrix:
    """Pixels by (true class, predicted class); rule 1."""
    sure = np.where(classes < CLASSES, label, 255).astype(np.uint8)
    return confusion(sure, np.where(classes < CLASSES, classes, 0).astype(np.uint8))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _f_score(hit: int, missed: int, false: int, beta: float) -> float | None:
    square = beta * beta
    return _share_of(1 + square, hit, (1 + square) * hit + square * missed + false)


def _share_of(weight: float, part: int, whole: float) -> float | None:
    return weight * part / whole if whole else None


def scores_of(matrix: Matrix) -> Scores:
    """F1, F2, IoU, precision, recall and false alarms of every target."""
    found: Scores = {}
    for target, members in TARGETS.items():
        inside = list(members)
        hit = int(matrix[np.ix_(inside, inside)].sum())
        true = int(matrix[inside].sum())
        said = int(matrix[:, inside].sum())
        missed, false = true - hit, said - hit
        found[target] = {
            "f1": _f_score(hit, missed, false, 1.0) if true else None,
            "f2": _f_score(hit, missed, false, 2.0) if true else None,
            "iou": _share(hit, hit + missed + false) if true else None,
            "precision": _share(hit, said),
            "recall": _share(hit, true),
            "false_alarms": _share(false, int(matrix.sum()) - true),
            "pixels": true,
        }
    return found


def median_f2(matrices: Sequence[Matrix], target: str = "contaminated") -> float | None:
    """The median over patches that hold any of the target."""
    values = [scores_of(matrix)[target]["f2"] for matrix in matrices]
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def grouped(matrices: Mapping[str, Matrix], groups: Mapping[str, str]) -> dict[str, Matrix]:
    """The matrices of patches, added up by their group."""
    total: dict[str, Matrix] = {}
    for stem, matrix in matrices.items():
        group = groups[stem]
        total[group] = total[group] + matrix if group in total else matrix.copy()
    return total


def rounded(scores: Scores) -> dict[str, dict[str, Any]]:
    """Four digits, for JSON."""
    return {
        target: {name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()}
        for target, row in scores.items()
    }
