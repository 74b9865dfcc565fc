"""The figure: how much of the bound each way of choosing brings down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from tools.downlink.study import FAMILIES, Row

_WAYS = (
    ("ours", "value per byte + knapsack", "#1b7837"),
    ("noisy", "the same, noisy estimates", "#7fbf7b"),
    ("filtered", "cloud filter, best threshold", "#762a83"),
    ("fifo", "FIFO", "#999999"),
)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Boxes of all instances, family by family, into the PNG ``path``."""
    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for place, family in enumerate(FAMILIES):
        for step, (name, _, colour) in enumerate(_WAYS):
            found = [getattr(row, name) for row in rows if row.family == family]
            if None in found:
                continue
            axes.boxplot(
                [[100 * part for part in found]],
                positions=[place + 0.2 * (step - 1.5)],
                widths=0.16,
                whis=(0, 100),
                patch_artist=True,
                boxprops={"facecolor": colour, "edgecolor": "black", "linewidth": 0.6},
                medianprops={"color": "black"},
            )
    axes.axhline(100, color="black", linewidth=1)
    axes.text(0.45, 101, "bound: clairvoyant LP (lumpy: MILP)", fontsize=8)
    for _, label, colour in _WAYS:
        axes.plot([], [], color=colour, linewidth=6, label=label)
    seeds = 1 + max(row.seed for row in rows)
    axes.set_xticks(range(len(FAMILIES)), list(FAMILIES))
    axes.set_ylabel("value brought down, % of the bound")
    axes.set_ylim(0, 106)
    axes.set_title(
        f"Downlink order, {seeds} simulated instances each; whiskers: least and greatest", fontsize=10
    )
    figure.legend(fontsize=8, loc="outside lower center", ncols=len(_WAYS))
    axes.grid(axis="y", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)
