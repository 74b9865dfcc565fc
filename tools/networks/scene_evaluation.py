"""Cross-validates the scene recipe by place, beside the threshold rule on the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.types import U8, Grid
from tools.material import Patch, labelled_patches, window_codes
from tools.networks import scores, threshold_rule
from tools.networks.folds import FOLDS, fold_folder, fold_of_place, inside, outside
from tools.networks.profiles import seen_by
from tools.networks.scene_making import kept, simulated_folder, undecided, unsimulated_folder
from tools.networks.scene_network import RECEPTIVE_PX
from tools.networks.scene_samples import SceneRecipe
from tools.networks.scene_training import PHASE_PX, classify

Score = Callable[[Mapping[Grid, U8]], NDArray[np.generic]]
"""From the codes of a window to class scores (4, rows, cols)."""


def cross_validate(shared: Path, recipe: SceneRecipe, folder: Path) -> dict[str, Any]:
    """Scores over the out-of-fold pixels of the kept networks (float32), of those before `decide`, of
    the network that saw simulated scenes alone, of those that saw none if they are there, and of the rule."""
    labelled = [seen_by(patch, recipe.profile) for patch in labelled_patches(shared)]
    folds = fold_of_place(labelled)
    untuned, unsimulated = kept(simulated_folder(folder)), unsimulated_folder(folder)
    totals: dict[str, NDArray[np.int64]] = {}
    for fold in range(FOLDS):
        own = fold_folder(folder, fold)
        networks = {
            "float32": kept(own),
            "undecided": undecided(own),
            "simulation_alone": untuned,
        }
        if unsimulated.exists():
            networks["without_simulation"] = undecided(fold_folder(unsimulated, fold))
        thresholds = threshold_rule.tune(outside(labelled, folds, fold), recipe.seed)
        for patch in inside(labelled, folds, fold):
            assert patch.label is not None
            answers = {name: classify(network, patch) for name, network in networks.items()}
            answers["rule"] = threshold_rule.apply_rule(threshold_rule.features_of(patch), thresholds)
            for name, answer in answers.items():
                totals[name] = totals.get(name, 0) + scores.confusion(patch.label, answer)
    found: dict[str, Any] = {name: scores.class_scores(total) for name, total in totals.items()}
    found |= {f"confusion_{name}": total.tolist() for name, total in totals.items()}
    return found | {"recipe": asdict(recipe), "folds": folds}


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
