"""Figures as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tools.evaluate.clear_run import KINDS, Called
from tools.evaluate.scene_scores import TARGETS
from tools.evaluate.surface_metrics import BANDS

SCORE_NAMES = ("f1", "f2", "iou", "precision", "recall", "false_alarms")
SCORE_HEADS = ("F1", "F2", "IoU", "precision", "recall", "false alarms")
CLASS_HEADS = ("clear", "thick", "thin", "shadow")
FILE_ORDER = sorted((band.value for band in BANDS), key=lambda name: name.replace("B8A", "B08A"))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """One table."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def share_text(clear_share: float | None) -> str:
    """What is said of how much of a pair is clear."""
    if clear_share is None:
        return "no sample with data in both images"
    return f"{clear_share:.1%} clear by our class map"


def pooled_table(figures: Mapping[str, Any]) -> str:
    """Every method and target, pooled over pixels."""
    rows = []
    for target in TARGETS:
        for method, report in figures.items():
            scores = report["pooled"][target]
            cells = [number(scores[name]) for name in SCORE_NAMES]
            median = number(report["median_f2_per_patch"]) if target == "contaminated" else ""
            rows.append([target, method, *cells, median])
    return markdown(["target", "method", *SCORE_HEADS, "median F2 per patch"], rows)


def target_table(first: str, scores: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> str:
    """F1, F2 and false alarms of every target; ``first`` says what the rows are."""
    rows = []
    for name, by_target in scores.items():
        parts = [[by_target[target][part] for part in ("f1", "f2", "false_alarms")] for target in TARGETS]
        rows.append([name, *(" / ".join(map(number, cell)) for cell in parts)])
    return markdown([first, *(f"{target}: F1 / F2 / false alarms" for target in TARGETS)], rows)


def confusion_table(matrix: Sequence[Sequence[int]]) -> str:
    rows = [[name, *(f"{count:,}" for count in line)] for name, line in zip(CLASS_HEADS, matrix, strict=True)]
    return markdown(["true \\ said", *CLASS_HEADS], rows)


def rmse_table(table: Mapping[str, Mapping[str, float]], title: str = "RMSE") -> str:
    """Methods by band, with the mean of the bands."""
    rows = []
    for method, values in table.items():
        cells = [number(values.get(band), 4) for band in FILE_ORDER]
        mean = sum(values.values()) / len(values) if values else None
        rows.append([method, *cells, number(mean, 4)])
    return markdown([title, *FILE_ORDER, "mean"], rows)


def band_rows(report: Mapping[str, Any], name: str) -> dict[str, float]:
    """One figure of every band that has it."""
    found = {band: row.get(name) for band, row in report["bands"].items()}
    return {band: value for band, value in found.items() if value is not None}


def image_table(by_method: Mapping[str, Any]) -> str:
    """Figures of a whole pair: SAM, ERGAS, error of the range, NDVI error, mean SSIM and detail."""
    rows = []
    for method, report in by_method.items():
        if method == "confidence":
            continue
        ssim, detail, uiqi, ce90, ce99 = (
            band_rows(report, name) for name in ("ssim", "detail_kept", "uiqi", "ce90", "ce99")
        )
        mean = [sum(v.values()) / len(v) if v else None for v in (ssim, detail, uiqi)]
        tail = [sum(v.values()) / len(v) if v else None for v in (ce90, ce99)]
        rows.append(
            [
                method,
                number(report["sam_deg"], 2),
                number(report["ergas"], 2),
                *(number(value) for value in mean),
                *(number(value, 4) for value in tail),
                number(report["range_error_percent"], 2),
                number(report["ndvi_error"], 4),
            ]
        )
    head = ["method", "SAM deg", "ERGAS", "SSIM", "detail kept", "UIQI", "CE90", "CE99"]
    return markdown([*head, "error, % of 0..12000", "NDVI error"], rows)


def confidence_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    names = ("mean_sigma", "rmse", "within_90_percent")
    lines = [[band, *(number(rows[band][name], 4) for name in names)] for band in FILE_ORDER if band in rows]
    return markdown(["band", "mean sigma", "RMSE", "within 1.64 sigma (should be 0.90)"], lines)


def curve_table(found: Mapping[str, float | None]) -> str:
    """Area under the curve of sigma as a cloud mask, by band."""
    bands = [band for band in FILE_ORDER if band in found]
    return markdown(["sigma of", *bands], [["area under the curve", *(number(found[b]) for b in bands)]])


def clear_table(by_image: Mapping[str, Mapping[str, Called]]) -> str:
    """Clear pixels called cloud / shadow, and how many there are, by image and kind of ground."""
    rows = []
    for stem, found in by_image.items():
        cells = []
        for kind in KINDS:
            called = found[kind]
            ratios = f"{number(called.cloud_ratio)} / {number(called.shadow_ratio)}"
            cells.append(f"{ratios} of {called.pixels:,}" if called.pixels else "-")
        rows.append([stem, *cells])
    return markdown(["called cloud / shadow", *KINDS], rows)
