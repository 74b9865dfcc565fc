"""Where the scene network draws the line of shadow: a constant added to its logit.

Training weighs rare classes up, so that they are learnt at all; what then is the best answer
for the scores that count is another question. A constant for shadow is found on out-of-fold
logits: for the network of a fold on those of the other folds, for the one that ships on all.

Scores fly as whole numbers, and of equal ones the lowest class wins (`core.scene`), which is clear: one
pixel in 400 by out-of-fold scores. Half a step for both kinds of cloud makes that even.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from payload.core.scene import LOGIT_RANGE, SCORE_MAX
from payload.types import F32, U8, Grid
from tools.evaluate.clear_run import CLOUD
from tools.evaluate.scene_scores import count, scores_of
from tools.material import Patch, window_codes
from tools.networks.scene_network import CLASSES, RECEPTIVE_PX, STEM_PX, SceneNetwork
from tools.networks.scores import CLASS_NAMES

PHASE_PX = 48
STEPS = (0.8, 0.4, 0.2, 0.1)
MOST = 1.0
"""What four folds want beyond that is theirs alone: it cost the fifth more recall than it saved."""

MOVED = (3,)
"""Shadow alone: a constant for cloud did not carry over from the places of four folds to the fifth."""

HALF_STEP = LOGIT_RANGE / SCORE_MAX
GIVEN_BACK = 0.25
"""To both kinds of cloud where a second look takes some from them by mistake: of 0.35, 0.3 and 0.25 the
least with which the INT8 networks find enough of it (docs/decisions/0073)."""

PIXEL_STRIDE = 3
MAX_FALSE_ALARMS = 0.045
PENALTY = 10.0

Judged = tuple[F32, U8]
"""Logits (4, pixel) and labels (pixel,)."""


def judge(network: SceneNetwork, patch: Patch) -> Judged:
    """Logits and labels of a patch the network was not trained on, every third row and column."""
    assert patch.label is not None
    codes = window_codes(patch.grids, RECEPTIVE_PX, PHASE_PX)
    with torch.no_grad():
        logits = network(*(torch.from_numpy(codes[grid][None]).float() for grid in Grid))[0].numpy()
    rows, cols = patch.label.shape
    kept = logits[:, RECEPTIVE_PX : RECEPTIVE_PX + rows, RECEPTIVE_PX : RECEPTIVE_PX + cols]
    every = slice(None, None, PIXEL_STRIDE)
    return kept[:, every, every].reshape(CLASSES, -1), patch.label[every, every].ravel()


def worth(logits: F32, label: U8, shift: NDArray[np.float64]) -> float:
    """F1 and F2 of contaminated, F2 of cloud and F1 of shadow, less what false alarms exceed."""
    classes = (logits + shift[:, None].astype(np.float32)).argmax(axis=0).astype(np.uint8)
    scores = scores_of(count(label, classes))
    wanted = [("contaminated", "f1"), ("contaminated", "f2"), ("cloud", "f2"), ("shadow", "f1")]
    total = sum(scores[target][name] or 0.0 for target, name in wanted)
    excess = max(0.0, (scores["contaminated"]["false_alarms"] or 0.0) - MAX_FALSE_ALARMS)
    return total - PENALTY * excess


def best_shift(judged: Sequence[Judged], cloud: float) -> NDArray[np.float64]:
    """The constant of every class: 0 of clear, ``cloud`` of both its kinds, and of shadow that with the
    greatest worth, by steps."""
    logits = np.concatenate([part for part, _ in judged], axis=1)
    label = np.concatenate([part for _, part in judged])
    shift = np.zeros(CLASSES)
    shift[list(CLOUD)] = cloud
    best = worth(logits, label, shift)
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for index in MOVED:
                for move in (-step, step):
                    tried = shift.copy()
                    tried[index] = np.clip(tried[index] + move, -MOST, MOST)
                    value = worth(logits, label, tried)
                    if value > best + 1e-6:
                        best, shift, improved = value, tried, True
    return shift


def even(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """``shift`` with what gives cloud its half of the ties with clear."""
    evened = shift.copy()
    evened[list(CLOUD)] += HALF_STEP
    return evened


def apply_shift(network: SceneNetwork, shift: NDArray[np.float64]) -> None:
    """Move the constants into the head's bias, in place: nothing is added in flight."""
    per_class = STEM_PX * STEM_PX
    with torch.no_grad():
        assert network.head.bias is not None
        network.head.bias += torch.from_numpy(np.repeat(shift, per_class)).float()


def named(shift: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(value), 3) for name, value in zip(CLASS_NAMES, shift, strict=True)}
