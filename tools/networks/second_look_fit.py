"""Finds the weights of the second look, from what networks said of places they never saw.

A network's own training cannot teach what to doubt: there it makes hardly a mistake on bright ground. So
the evidence is out of fold: bright pixels called cloud, wrongly (of patches that are mostly
clear: gaps between clouds are a matter of opinion) and rightly; and some cloud in coarser pixels, so
that cloud is not doubted for its outlines. A logistic regression weighs the features; doubt begins
where it takes 1 - KEPT of the true cloud.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from payload.types import F32, Grid, SceneClass
from tools.evaluate.clear_run import CLOUD
from tools.material import Patch, average_blocks, window_codes
from tools.networks.clear_grounds import average_zero_too
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork
from tools.networks.scene_training import PHASE_PX, classify
from tools.networks.second_look import FEATURES, GATE, SecondLook

KEPT = 0.992
RAMP = 16.0
"""From no doubt to all of it in a quarter of the regression's unit."""

PIXEL_STRIDE = 20
COARSER = (4, 8)
COARSE_SHARE = 0.15
MOSTLY_CLOUD = 0.6
MOSTLY_CLEAR = 0.35
"""Less than this share of such a patch is labelled cloud."""
RIDGE, STEPS = 0.02, 30


@dataclass(frozen=True, eq=False)
class Evidence:
    """Features (count, FEATURES) of bright pixels that are called cloud or, seen coarser, are cloud."""

    wrong: F32
    right: F32
    coarse: F32


def _look(network: SceneNetwork, patch: Patch) -> tuple[F32, NDArray[np.bool_]]:
    """Features (FEATURES, row, col) of every pixel, and whether the second look is for it."""
    codes = window_codes(patch.grids, RECEPTIVE_PX, PHASE_PX)
    b10, b20 = (torch.from_numpy(codes[grid][None]).float() for grid in (Grid.R10M, Grid.R20M))
    with torch.no_grad():
        fine, coarse = network.blocks(b10, b20)
        features = SecondLook().features(fine, coarse)[0].numpy()
    level = fine[0, 0].numpy()  # of B02
    rows, cols = patch.grids[Grid.R10M].shape[1:]
    inner = (..., slice(RECEPTIVE_PX, RECEPTIVE_PX + rows), slice(RECEPTIVE_PX, RECEPTIVE_PX + cols))
    features = features.repeat(8, axis=1).repeat(8, axis=2)[inner]
    return features, level.repeat(4, axis=0).repeat(4, axis=1)[inner] > sum(GATE) / 2


def evidence_of(network: SceneNetwork, patch: Patch) -> Evidence:
    """What a labelled patch says that ``network`` was not trained on."""
    assert patch.label is not None
    features, is_bright = _look(network, patch)
    called = np.isin(classify(network, patch), CLOUD) & is_bright
    is_cloud = np.isin(patch.label, CLOUD)
    is_judged = is_cloud.mean() < MOSTLY_CLEAR
    wrong = called & (patch.label == SceneClass.CLEAR) & is_judged
    right = called & is_cloud
    coarse = [_of_coarse_cloud(network, patch, times) for times in COARSER]
    return Evidence(features[:, wrong].T, features[:, right].T[::PIXEL_STRIDE], np.concatenate(coarse))


def _of_coarse_cloud(network: SceneNetwork, patch: Patch, times: int) -> F32:
    """Features of thick cloud in pixels ``times`` as wide."""
    assert patch.label is not None
    rows, cols = (size // (6 * times) * (6 * times) for size in patch.label.shape)
    grids = {g: average_blocks(p[:, : rows // g, : cols // g], times) for g, p in patch.grids.items()}
    thick = (patch.label[:rows, :cols] == SceneClass.THICK_CLOUD).astype(np.float32)
    features, is_bright = _look(network, Patch(patch.name, patch.group, grids, None))
    return np.asarray(features[:, (average_zero_too(thick, times) > MOSTLY_CLOUD) & is_bright].T)


def fit(evidence: Sequence[Evidence]) -> SecondLook:
    """The second look that doubts what went wrong; one that never doubts where nothing did."""
    wrong, right, coarse = (
        np.concatenate([getattr(one, name) for one in evidence]) for name in ("wrong", "right", "coarse")
    )
    look = SecondLook()
    if not len(wrong) or not len(right):
        return look
    features = np.concatenate([wrong, right, coarse]).astype(np.float64)
    is_cloud = np.repeat([0.0, 1.0, 1.0], [len(wrong), len(right), len(coarse)])
    coarse_share = COARSE_SHARE if len(coarse) else 0.0
    shares = (0.5, (1 - coarse_share) / 2, coarse_share / 2)
    parts = zip(shares, (wrong, right, coarse), strict=True)
    weights = np.concatenate([np.full(len(part), share / max(len(part), 1)) for share, part in parts])
    slope = _regress(features, is_cloud, weights)
    doubted = np.quantile(right @ slope, 1 - KEPT)
    with torch.no_grad():
        look.weigh.weight.copy_(torch.from_numpy(-RAMP * slope).reshape(1, FEATURES, 1, 1))
        look.weigh.bias.fill_(RAMP * float(doubted))  # type: ignore[union-attr,operator]
    return look


def _regress(
    features: NDArray[np.float64], is_cloud: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The slope of a logistic regression by Newton's method; the ridge is on features of deviation 1."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    x = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    ridge = RIDGE * np.eye(x.shape[1])
    found = np.zeros(x.shape[1])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-(x @ found)))
        gradient = x.T @ (weights * (likely - is_cloud)) + ridge @ found
        curvature = (x * (weights * likely * (1 - likely))[:, None]).T @ x + ridge
        found -= np.linalg.solve(curvature, gradient)
    return np.asarray(found[:-1] / deviation)
