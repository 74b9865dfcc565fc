"""The ground's half: learn, round to the frozen scales, evaluate old against new, write the folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from payload.core.manifest import parse_manifest
from payload.types import Grid
from tools.material import IGNORED_LABEL, Patch
from tools.networks import scores
from tools.networks.fine_tuning import FineTuning, fine_tune
from tools.networks.frozen import int8_weights, replaced
from tools.networks.runtime import Runner
from tools.networks.scene_evaluation import score_patches
from tools.package.making import cpu_files
from tools.retrain.weights import files_of, write_folder
from tools.simulate.patches import make_patch

TRAIN_SEED, TEST_SEED = 61_000, 62_000
"""Seeds of simulated patches to learn from, and of others to be judged on; never the same."""

TASK_BIOME = "snow"
"""What the shipped network does worst: it calls clear snow cloud (docs/networks.md)."""

GAIN_MIN, LOSS_MAX = 0.02, 0.01
"""Mean F1 that the task must gain, and that any ground may lose, or nothing is sent."""

Scores = Mapping[str, Mapping[str, float]]
"""Of each class: precision, recall, F1, F2."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """Labelled patches of the ``task`` and of ``any`` ground, as it comes."""

    task: list[Patch]
    any: list[Patch]


def drawn(first_seed: int, count: int) -> Material:
    """``count`` patches of the task and as many of any ground, all different."""
    return Material(simulated(first_seed, count, TASK_BIOME), simulated(first_seed + count, count, None))


def simulated(first_seed: int, count: int, biome: str | None) -> list[Patch]:
    """Simulated patches with the labels of their own truth; what is doubtful is not sure."""
    found = []
    for seed in range(first_seed, first_seed + count):
        patch = make_patch(seed, biome=biome)
        label = np.where(patch.doubtful, IGNORED_LABEL, patch.label).astype(np.uint8)
        grids = {
            grid: np.where(patch.counts[grid] != 0, np.maximum(plane, 1e-5), 0).astype(np.float32)
            for grid, plane in patch.grids.items()
        }
        assert set(grids) == set(Grid)
        found.append(Patch(patch.name, patch.name, grids, label))
    return found


def mean_f1(found: Scores) -> float:
    """Over the four classes; all clouds together count no second time."""
    return float(np.mean([found[name]["f1"] for name in scores.CLASS_NAMES]))


def is_worth_sending(old: Mapping[str, Scores], new: Mapping[str, Scores]) -> bool:
    """Whether the new network is better at its task and no worse elsewhere; by ground: task, any."""
    gained = {ground: mean_f1(new[ground]) - mean_f1(old[ground]) for ground in ("task", "any")}
    return gained["task"] >= GAIN_MIN and gained["any"] >= -LOSS_MAX


def judged(folder: Path, patches: Sequence[Patch]) -> dict[str, dict[str, float]]:
    """Scores of a model folder's INT8 network, as it flies, over labelled patches."""
    topology, _ = cpu_files(parse_manifest((folder / "manifest.json").read_bytes()))
    return scores.class_scores(score_patches(Runner(folder / topology), patches))


def retrain(old: Path, new: Path, patches: Sequence[Patch], recipe: FineTuning) -> int:
    """Write model folder ``new``: ``old`` with retrained weights; how many INT8 weights changed."""
    topology, weights = files_of(old)
    others = replaced(weights, fine_tune(topology, weights, patches, recipe))
    summary = (
        f"Layers {', '.join(recipe.layers)} of {old.name} learnt {recipe.steps} steps from {len(patches)} "
        f"simulated patches, half of them {TASK_BIOME}; scales, ranges and all other layers are those of the "
        "old version."
    )
    write_folder(old, new, others, {"summary": summary, "seed": recipe.seed, "steps": recipe.steps})
    return sum(
        int(np.count_nonzero(one.values(weights) != one.values(others))) for one in int8_weights(topology)
    )
