"""Scene scores to classes and statistics.

Rules:
1. A pixel's class is the one with the highest score; of equals, the lowest class number.
2. A pixel without data is NO_DATA, whatever the network said.
3. Ratios are of the valid pixels; a tile without any has ratios of 0.
4. Scores are logits from -6 to 6 in 255 steps. How sure the network is of a pixel is the
   probability of the best class against the second best: 1 / (1 + exp(-their difference)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from payload.types import U8, SceneClass, SceneStats, TileGrid, Window

LOGIT_RANGE = 6.0
SCORE_MAX = 255

_CONFIDENCE = 1 / (1 + np.exp(-np.arange(SCORE_MAX + 1) * (2 * LOGIT_RANGE / SCORE_MAX)))
"""Probability of the best of two classes, by how many steps it is ahead."""


def inner_scores(scores: U8, grid: TileGrid, inner: Window) -> U8:
    """The part of window scores (class, row, col) that belongs to the inner, as a view."""
    halo = grid.halo_px
    return scores[:, halo : halo + inner.rows, halo : halo + inner.cols]


def classify(scores: U8, valid: NDArray[np.bool_]) -> tuple[U8, SceneStats]:
    """Classes (SceneClass as uint8, row, col) and their statistics.

    Args:
        scores: uint8 (4, row, col), logits in steps (rule 4).
        valid: bool (row, col).
    """
    # Bytes compared pairwise: argmax over an axis of four costs thirty times as much.
    first = np.maximum(scores[0], scores[1])
    second = np.maximum(scores[2], scores[3])
    classes = (scores[1] > scores[0]).view(np.uint8)
    cloudy = (scores[3] > scores[2]).view(np.uint8) + np.uint8(2)
    cloudy -= classes
    cloudy *= second > first
    classes += cloudy
    loser = np.minimum(scores[0], scores[1])
    np.maximum(loser, np.minimum(scores[2], scores[3]), out=loser)
    np.maximum(loser, np.minimum(first, second), out=loser)
    ahead = np.maximum(first, second) - loser
    if not valid.all():
        classes[~valid] = SceneClass.NO_DATA
        ahead = ahead[valid]
    return classes, _statistics(classes, ahead)


def _statistics(classes: U8, ahead: U8) -> SceneStats:
    """``ahead``: for each valid pixel, the best score less the second best."""
    counts = {c: int(np.count_nonzero(classes == c)) for c in SceneClass if c != SceneClass.NO_DATA}
    valid_px = sum(counts.values())
    per_px = 1 / valid_px if valid_px else 0.0
    confidence = np.bincount(ahead.ravel(), minlength=SCORE_MAX + 1) @ _CONFIDENCE
    return SceneStats(
        valid_px=valid_px,
        no_data_px=classes.size - valid_px,
        clear_ratio=counts[SceneClass.CLEAR] * per_px,
        thick_cloud_ratio=counts[SceneClass.THICK_CLOUD] * per_px,
        thin_cloud_ratio=counts[SceneClass.THIN_CLOUD] * per_px,
        cloud_shadow_ratio=counts[SceneClass.CLOUD_SHADOW] * per_px,
        mean_confidence_ratio=float(confidence) * per_px,
    )


def no_data_stats(inner: Window) -> SceneStats:
    """The statistics of a tile without one valid pixel."""
    return SceneStats(0, inner.rows * inner.cols, 0.0, 0.0, 0.0, 0.0, 0.0)
