"""The ground's half: learn, round to the frozen scales, evaluate old against new, write the folder."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from payload.types import Grid
from tools.material import IGNORED_LABEL, Patch
from tools.networks import scores
from tools.networks.fine_tuning import FineTuning, fine_tune
from tools.networks.frozen import int8_weights, replaced
from tools.networks.runtime import Runner
from tools.networks.scene_evaluation import score_patches
from tools.simulate.patches import make_patch

TRAIN_SEED, TEST_SEED = 61_000, 62_000
"""Seeds of simulated patches to learn from, and of others to be judged on; never the same."""


def simulated(first_seed: int, count: int) -> list[Patch]:
    """Simulated patches with the labels of their own truth; what is doubtful is not sure."""
    found = []
    for seed in range(first_seed, first_seed + count):
        patch = make_patch(seed)
        label = np.where(patch.doubtful, IGNORED_LABEL, patch.label).astype(np.uint8)
        grids = {
            grid: np.where(patch.counts[grid] != 0, np.maximum(plane, 1e-5), 0).astype(np.float32)
            for grid, plane in patch.grids.items()
        }
        assert set(grids) == set(Grid)
        found.append(Patch(patch.name, patch.name, grids, label))
    return found


def judged(folder: Path, patches: Sequence[Patch]) -> dict[str, dict[str, float]]:
    """Scores of a model folder's INT8 network, as it flies, over labelled patches."""
    (topology,) = folder.glob("*.xml")
    return scores.class_scores(score_patches(Runner(topology), patches))


def retrain(old: Path, new: Path, patches: Sequence[Patch], recipe: FineTuning) -> int:
    """Write model folder ``new``: ``old`` with retrained weights; how many INT8 weights changed."""
    topology, weights = _files(old)
    others = replaced(weights, fine_tune(topology, weights, patches, recipe))
    summary = (
        f"Layers {', '.join(recipe.layers)} of {old.name} learnt {recipe.steps} steps from {len(patches)} "
        "simulated patches; scales, ranges and all other layers are those of the old version."
    )
    write_folder(old, new, others, {"summary": summary, "seed": recipe.seed, "steps": recipe.steps})
    return sum(
        int(np.count_nonzero(one.values(weights) != one.values(others))) for one in int8_weights(topology)
    )


def spoil(old: Path, new: Path) -> None:
    """Write model folder ``new``: ``old`` without its INT8 weights, a network that answers a constant."""
    topology, weights = _files(old)
    nothing = {one: np.zeros(one.shape, np.int8) for one in int8_weights(topology)}
    write_folder(old, new, replaced(weights, nothing), {"summary": "Spoilt on purpose: all weights are 0."})


def write_folder(old: Path, new: Path, weights: bytes, training: Mapping[str, Any]) -> None:
    """A model folder with other weights and the next version's name; hashes are those of its files."""
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    manifest = json.loads((old / "manifest.json").read_text())
    manifest["version"] += 1
    manifest["name"] = re.sub(r"v\d+$", f"v{manifest['version']}", manifest["name"])
    manifest["training"] = dict(training)
    for file in (file for artifact in manifest["artifacts"] for file in artifact["files"]):
        content = weights if file["path"].endswith(".bin") else (old / file["path"]).read_bytes()
        (new / file["path"]).write_bytes(content)
        file["sha256"] = hashlib.sha256(content).hexdigest()
    (new / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    before = f"Before it: `{old.name}`, whose card says the rest."
    card = f"# {manifest['name']}\n\n{training['summary']}\n\n{before}\n"
    (new / "card.md").write_text(card)


def _files(folder: Path) -> tuple[bytes, bytes]:
    (topology,), (weights,) = folder.glob("*.xml"), folder.glob("*.bin")
    return topology.read_bytes(), weights.read_bytes()
