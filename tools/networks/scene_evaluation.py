"""Cross-validates the scene recipe by place, beside the threshold rule on the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from payload.types import U8, Grid, Task
from tools.material import Patch, clear_patches, labelled_patches, window_codes
from tools.networks import checkpoint, scores, threshold_rule
from tools.networks.folds import FOLDS, fold_folder, fold_of_place, inside, outside
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork
from tools.networks.scene_samples import Grounds, SceneRecipe
from tools.networks.scene_training import PHASE_PX, classify, train_scene

Score = Callable[[Mapping[Grid, U8]], NDArray[np.generic]]
"""From the codes of a window to class scores (4, rows, cols)."""


def train_one(shared: Path, fold: int | None, recipe: SceneRecipe, folder: Path) -> None:
    """Train the network of one fold, or with None the one of all places, and keep it.

    One that is there already, of the same recipe, is not trained again. Clear patches of a
    place that is held out are held out too.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    labelled, clear = labelled_patches(shared), clear_patches(shared, "train")
    note, target = "all places", folder
    if fold is not None:
        folds = fold_of_place(labelled)
        labelled, clear = outside(labelled, folds, fold), outside(clear, folds, fold)
        note, target = f"fold {fold}", fold_folder(folder, fold)
    grounds = Grounds(labelled, clear)
    record = {"widths": list(recipe.widths), "recipe": checkpoint.plain(asdict(recipe))}
    if checkpoint.holds(record, target, Task.SCENE.value):
        return
    network = train_scene(grounds, recipe, note, target / "scene_progress.npz")
    checkpoint.save(network, record, target, Task.SCENE.value)


def cross_validate(shared: Path, recipe: SceneRecipe, folder: Path) -> dict[str, Any]:
    """Scores over the out-of-fold pixels of the kept networks (float32) and of the rule."""
    labelled = labelled_patches(shared)
    folds = fold_of_place(labelled)
    by_network = np.zeros((scores.CLASSES, scores.CLASSES), np.int64)
    by_rule = by_network.copy()
    for fold in range(FOLDS):
        network = SceneNetwork(recipe.widths)
        checkpoint.load_weights(network, fold_folder(folder, fold), Task.SCENE.value)
        thresholds = threshold_rule.tune(outside(labelled, folds, fold), recipe.seed)
        for patch in inside(labelled, folds, fold):
            assert patch.label is not None
            by_network += scores.confusion(patch.label, classify(network, patch))
            rule = threshold_rule.apply_rule(threshold_rule.features_of(patch), thresholds)
            by_rule += scores.confusion(patch.label, rule)
    return {
        "recipe": asdict(recipe),
        "float32": scores.class_scores(by_network),
        "rule": scores.class_scores(by_rule),
        "confusion_float32": by_network.tolist(),
        "confusion_rule": by_rule.tolist(),
        "folds": folds,
    }


def classify_window(score: Score, patch: Patch) -> U8:
    """Classes of a patch, cut as flight cuts a strip of one tile."""
    answered = score(window_codes(patch.grids, RECEPTIVE_PX, PHASE_PX))
    rows, cols = patch.grids[Grid.R10M].shape[1:]
    kept = answered[:, RECEPTIVE_PX : RECEPTIVE_PX + rows, RECEPTIVE_PX : RECEPTIVE_PX + cols]
    return kept.argmax(axis=0).astype(np.uint8)


def score_patches(score: Score, patches: Sequence[Patch]) -> NDArray[np.int64]:
    """The confusion of one network over labelled patches."""
    total = np.zeros((scores.CLASSES, scores.CLASSES), np.int64)
    for patch in patches:
        assert patch.label is not None
        total += scores.confusion(patch.label, classify_window(score, patch))
    return total
