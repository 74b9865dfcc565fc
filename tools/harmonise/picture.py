"""One PNG to judge a pair by: what each model makes of the same ground, and the detail in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage
from torch import nn

from payload.types import F32
from tools.harmonise.comparison import harmonise
from tools.harmonise.networks import BCNet
from tools.harmonise.pair import RATIO, Pair

SHOWN_PX = 100
RED = 2


def write_picture(pair: Pair, networks: dict[str, nn.Module], path: Path) -> None:
    """Top row: true colour of one held window. Bottom row: its red detail below 20 m, and the
    point spread that BCNet learned. All images share one stretch."""
    number = _liveliest(pair)
    cut = (slice(None), slice(75, 75 + SHOWN_PX), slice(75, 75 + SHOWN_PX))
    fine = pair.fine_window(number)
    coarse = pair.coarse_window(number).repeat(RATIO, axis=1).repeat(RATIO, axis=2)
    shown: dict[str, F32] = {"fine, as seen": fine[cut], "coarse, 10 m": coarse[cut]}
    for name, network in networks.items():
        shown[name] = harmonise(network, fine)[0][cut]
    if pair.truth is not None:
        shown["truth, 2 m"] = pair.fine_window(number, pair.truth)[cut]
    reference = shown.get("truth, 2 m", coarse[cut])
    low, high = (np.quantile(reference[:3], share, axis=(1, 2)) for share in (0.01, 0.99))
    figure = Figure(figsize=(2.2 * len(shown), 5.0), dpi=110)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(shown), squeeze=False)
    width = 3 * float(_detail(reference[RED]).std())
    for column, (name, image) in enumerate(shown.items()):
        top, bottom = axes[0, column], axes[1, column]
        colour = (image[:3] - low[:, None, None]) / (high - low)[:, None, None]
        top.imshow(np.clip(colour[::-1].transpose(1, 2, 0), 0, 1), interpolation="nearest")
        top.set_title(name, fontsize=9)
        bottom.imshow(_detail(image[RED]), cmap="gray", vmin=-width, vmax=width, interpolation="nearest")
        bottom.set_xlabel("red, detail below 20 m", fontsize=7)
    found = next((network for network in networks.values() if isinstance(network, BCNet)), None)
    if found is not None:
        taps = found.spread.taps().detach().numpy()[RED]
        axes[1, 1].clear()
        axes[1, 1].imshow(taps, cmap="viridis", interpolation="nearest")
        axes[1, 1].plot([10], [10], "r+")
        axes[1, 1].set_xlabel("learned point spread, red (+ centre)", fontsize=7)
    for axis in axes.ravel():
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle(f"{pair.story.get('source', '')} pair, {pair.story.get('level', '')}", fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _liveliest(pair: Pair) -> int:
    """The held window with the most detail in the fine image's red band."""
    return max(pair.held, key=lambda number: float(_detail(pair.fine_window(number)[RED]).std()))


def _detail(plane: F32) -> F32:
    return plane - ndimage.gaussian_filter(plane, RATIO / 2)
