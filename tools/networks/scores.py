"""Scores of class maps and of reflectance, and tables of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.types import U8

CLASS_NAMES = ("clear", "thick", "thin", "shadow")
CLASSES = len(CLASS_NAMES)


def confusion(truth: U8, predicted: U8) -> NDArray[np.int64]:
    """Pixels by (true class, predicted class); truth above 3 is left out."""
    sure = truth < CLASSES
    pairs = truth[sure].astype(np.int64) * CLASSES + predicted[sure]
    return np.bincount(pairs, minlength=CLASSES * CLASSES).reshape(CLASSES, CLASSES)


def _ratios(hit: int, predicted: int, true: int) -> dict[str, float]:
    precision = hit / predicted if predicted else 0.0
    recall = hit / true if true else 0.0

    def f_score(beta: float) -> float:
        bottom = beta**2 * precision + recall
        return (1 + beta**2) * precision * recall / bottom if bottom else 0.0

    values = {"precision": precision, "recall": recall, "f1": f_score(1.0), "f2": f_score(2.0)}
    return {name: round(value, 4) for name, value in values.items()}


def class_scores(matrix: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and F2 of each class and of cloud (thick or thin)."""
    rows = {}
    for index, name in enumerate(CLASS_NAMES):
        rows[name] = _ratios(int(matrix[index, index]), int(matrix[:, index].sum()), int(matrix[index].sum()))
    hit = int(matrix[1:3, 1:3].sum())
    rows["cloud"] = _ratios(hit, int(matrix[:, 1:3].sum()), int(matrix[1:3].sum()))
    return rows


def class_table(scores: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """A Markdown table: one row a class, precision / recall / F1 / F2 of each method."""
    methods = list(scores)
    lines = ["| class | " + " | ".join(f"{m}: P / R / F1 / F2" for m in methods) + " |"]
    lines.append("|---" * (len(methods) + 1) + "|")
    for name in (*CLASS_NAMES, "cloud"):
        cells = []
        for method in methods:
            row = scores[method][name]
            cells.append(" / ".join(f"{row[key]:.3f}" for key in ("precision", "recall", "f1", "f2")))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def band_table(rows: Mapping[str, Sequence[float]], bands: Sequence[str]) -> str:
    """A Markdown table of one number a band, with the mean at the end."""
    lines = ["| RMSE | " + " | ".join(bands) + " | mean |", "|---" * (len(bands) + 2) + "|"]
    for name, values in rows.items():
        known = [v for v in values if v == v]
        cells = [f"{v:.4f}" if v == v else "-" for v in values]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {float(np.mean(known)):.4f} |")
    return "\n".join(lines)


def rounded(values: Sequence[float]) -> list[Any]:
    """Four digits for JSON; None where there is no value."""
    return [round(float(v), 4) if v == v else None for v in values]
