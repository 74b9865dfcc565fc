"""The ratio histograms as one PNG: a column per case, a row per band."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tools.pvcc.cases import CASES, HISTOGRAM_EDGES
from tools.pvcc.places import BAND_NAMES


def write_picture(cases: dict[str, Any], path: Path) -> None:
    figure = Figure(figsize=(13, 9), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(BAND_NAMES), len(CASES), sharex=True, squeeze=False)
    for column, (case, title) in enumerate(CASES.items()):
        axes[0, column].set_title(title.replace(", over", ",\nover"), fontsize=8)
        for row, band in enumerate(BAND_NAMES):
            axis, found = axes[row, column], cases[case][band]
            axis.stairs(found["histogram"], HISTOGRAM_EDGES, fill=True, color="#4477aa")
            axis.axvline(1.0, color="black", linewidth=0.8)
            axis.axvline(found["median"], color="#cc3311", linewidth=0.8)
            label = f"median {found['median']:.3f}\n{100 * found['near_ratio']:.0f} % within 10 %"
            axis.text(0.03, 0.95, label, transform=axis.transAxes, ha="left", va="top", fontsize=7)
            axis.set_yticks([])
            if column == 0:
                axis.set_ylabel(band)
            if row == len(BAND_NAMES) - 1:
                axis.set_xlabel("ratio of surface reflectances")
    figure.suptitle("Simulated places, never trained on", fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
