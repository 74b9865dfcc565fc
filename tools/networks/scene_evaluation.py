"""Cross-validates the scene recipe by place, beside the threshold rule on the same pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from payload.types import U8, Grid, Task
from tools.material import Patch, clear_patches, labelled_patches, simulated_patches, window_codes
from tools.networks import checkpoint, decision, scores, threshold_rule
from tools.networks.folds import FOLDS, fold_folder, fold_of_place, inside, outside
from tools.networks.scene_grounding import Grounding, ground, network_of_onnx
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork
from tools.networks.scene_samples import AVERAGED, Grounds, SceneRecipe
from tools.networks.scene_training import PHASE_PX, classify, train_scene

Score = Callable[[Mapping[Grid, U8]], NDArray[np.generic]]
"""From the codes of a window to class scores (4, rows, cols)."""


UNDECIDED = "scene_undecided"


def simulated_folder(folder: Path) -> Path:
    return folder / "simulated"


def stage_folder(folder: Path, stage: str) -> Path:
    """Where the network of a stage is kept."""
    return folder / stage


def _keep(
    grounds: Grounds, recipe: SceneRecipe, folder: Path, note: str, start: SceneNetwork | None
) -> SceneNetwork:
    """The network of a recipe, trained unless ``folder`` has it already."""
    record = {"widths": list(recipe.widths), "recipe": checkpoint.plain(asdict(recipe))}
    if checkpoint.holds(record, folder, Task.SCENE.value):
        network = SceneNetwork(recipe.widths)
        checkpoint.load_weights(network, folder, Task.SCENE.value)
        return network
    network = train_scene(grounds, recipe, note, folder / "scene_progress.npz", start)
    checkpoint.save(network, record, folder, Task.SCENE.value)
    return network


def pretrain(simulated: Path, recipe: SceneRecipe, folder: Path) -> SceneNetwork:
    """The network that saw simulated scenes alone, kept in ``folder``/simulated."""
    grounds = Grounds([], [], simulated_patches(simulated))
    return _keep(grounds, recipe, simulated_folder(folder), "simulated", None)


def train_one(
    shared: Path, simulated: Path, fold: int | None, stages: Mapping[str, SceneRecipe], folder: Path
) -> None:
    """Take the pretrained network through the stages for one fold, or with None for all places.

    What is there already, of the same recipe, is not trained again. Clear patches of a place
    that is held out are held out too.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    labelled, clear = labelled_patches(shared), clear_patches(shared, "train")
    note, target = "all places", folder
    if fold is not None:
        folds = fold_of_place(labelled)
        labelled, clear = outside(labelled, folds, fold), outside(clear, folds, fold)
        note, target = f"fold {fold}", fold_folder(folder, fold)
    grounds = Grounds(labelled, clear, simulated_patches(simulated))
    network = SceneNetwork(next(iter(stages.values())).widths)
    checkpoint.load_weights(network, simulated_folder(folder), Task.SCENE.value)
    kept = {}
    for stage, recipe in stages.items():
        network = _keep(grounds, recipe, stage_folder(target, stage), f"{note}, {stage}", network)
        kept[stage] = network
    average = mean_network([kept[stage] for stage in AVERAGED])
    record = checkpoint.load_record(stage_folder(target, AVERAGED[-1]), Task.SCENE.value)
    checkpoint.save(average, record, target, UNDECIDED)


def mean_network(networks: Sequence[SceneNetwork]) -> SceneNetwork:
    """The network whose weights are the means of those of ``networks``."""
    mean = SceneNetwork(networks[0].widths)
    states = [network.state_dict() for network in networks]
    mean.load_state_dict({name: torch.stack([s[name] for s in states]).mean(dim=0) for name in states[0]})
    return mean


GROUNDING_FOLDS = 3


def ground_all(shared: Path, simulated: Path, model: Path, folder: Path, recipe: Grounding) -> dict[str, Any]:
    """Take the network of a model folder through `scene_grounding`; what the training record says of it.

    The network of all places goes to ``folder``, those whose stage left a fold's patches out to
    its folds. They began with weights that had seen every place, so their scores say what the
    stage does to patches it does not look at, not how good the network is on new ground.
    """
    onnx = model / "fp32.onnx"
    digest = hashlib.sha256(onnx.read_bytes()).hexdigest()
    before = network_of_onnx(onnx).eval()
    labelled, clear = labelled_patches(shared), clear_patches(shared, "train")
    folds = fold_of_place(labelled, GROUNDING_FOLDS)
    scenes = simulated_patches(simulated)
    names = ("before", "float32")
    totals = {name: np.zeros((scores.CLASSES, scores.CLASSES), np.int64) for name in names}
    record = {"widths": list(before.widths), "begun_with": digest, "recipe": asdict(recipe)}
    for fold in (None, *range(GROUNDING_FOLDS)):
        target = folder if fold is None else fold_folder(folder, fold)
        note = "all places" if fold is None else f"without fold {fold}"
        if checkpoint.holds(record, target, Task.SCENE.value):
            network = SceneNetwork(before.widths)
            checkpoint.load_weights(network, target, Task.SCENE.value)
        else:
            parts = labelled, clear
            if fold is not None:
                parts = outside(labelled, folds, fold), outside(clear, folds, fold)
            network = ground(before, Grounds(*parts, scenes), recipe, note)
            checkpoint.save(network, record, target, Task.SCENE.value)
        for patch in inside(labelled, folds, fold) if fold is not None else ():
            assert patch.label is not None
            for name, judge in zip(names, (before, network.eval()), strict=True):
                totals[name] += scores.confusion(patch.label, classify(judge, patch))
    found: dict[str, Any] = {f"confusion_{name}": total.tolist() for name, total in totals.items()}
    started = {"model": model.name, "sha256": digest, "recipe": asdict(recipe), "simulated": len(scenes)}
    return {"grounding": started, "cross_validation": found | {"folds": folds}}


def decide(shared: Path, recipe: SceneRecipe, folder: Path) -> dict[str, dict[str, float]]:
    """Move the lines between the classes of every trained network (`decision`), and say by how much.

    The networks as trained stay beside them as `scene_undecided`; deciding twice changes nothing.
    """
    labelled = labelled_patches(shared)
    folds = fold_of_place(labelled)
    judged: dict[int, list[decision.Judged]] = {}
    for fold in range(FOLDS):
        network = _undecided(fold_folder(folder, fold), recipe)
        judged[fold] = [decision.judge(network, patch) for patch in inside(labelled, folds, fold)]
    shifts = {}
    for fold in (None, *range(FOLDS)):
        others = [part for number, parts in judged.items() if number != fold for part in parts]
        shift = decision.best_shift(others)
        target = folder if fold is None else fold_folder(folder, fold)
        network = _undecided(target, recipe)
        decision.apply_shift(network, shift)
        checkpoint.save(network, checkpoint.load_record(target, UNDECIDED), target, Task.SCENE.value)
        shifts["all places" if fold is None else f"fold {fold}"] = decision.named(shift)
    return shifts


def _undecided(folder: Path, recipe: SceneRecipe) -> SceneNetwork:
    """The network of a folder as trained."""
    network = SceneNetwork(recipe.widths)
    checkpoint.load_weights(network, folder, UNDECIDED)
    return network.eval()


def cross_validate(shared: Path, recipe: SceneRecipe, folder: Path) -> dict[str, Any]:
    """Scores over the out-of-fold pixels of the kept networks (float32), of the network that saw
    simulated scenes alone, of those only tuned, of those before `decide`, and of the rule."""
    labelled = labelled_patches(shared)
    folds = fold_of_place(labelled)
    methods = ("float32", "undecided", "tuned", "simulation_alone", "rule")
    totals = {name: np.zeros((scores.CLASSES, scores.CLASSES), np.int64) for name in methods}
    untuned = SceneNetwork(recipe.widths)
    checkpoint.load_weights(untuned, simulated_folder(folder), Task.SCENE.value)
    for fold in range(FOLDS):
        own = fold_folder(folder, fold)
        networks = {"simulation_alone": untuned, "undecided": _undecided(own, recipe)}
        for name, kept in (("float32", own), ("tuned", stage_folder(own, "tuned"))):
            networks[name] = SceneNetwork(recipe.widths)
            checkpoint.load_weights(networks[name], kept, Task.SCENE.value)
        thresholds = threshold_rule.tune(outside(labelled, folds, fold), recipe.seed)
        for patch in inside(labelled, folds, fold):
            assert patch.label is not None
            for name, network in networks.items():
                totals[name] += scores.confusion(patch.label, classify(network, patch))
            rule = threshold_rule.apply_rule(threshold_rule.features_of(patch), thresholds)
            totals["rule"] += scores.confusion(patch.label, rule)
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
