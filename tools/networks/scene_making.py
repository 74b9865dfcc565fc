"""Makes the scene network: simulated scenes, then every fold and all places, a choice, and the lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from payload.types import Band, Task
from tools.evaluate.clear_run import CLOUD, is_snow
from tools.material import Patch, clear_patches, labelled_patches, simulated_patches
from tools.networks import checkpoint, decision, second_look_fit
from tools.networks.folds import FOLDS, fold_folder, fold_of_place, inside, outside
from tools.networks.profiles import FULL, PROFILES, seen_by
from tools.networks.scene_network import SceneNetwork, recorded_network
from tools.networks.scene_samples import Grounds, SceneRecipe
from tools.networks.scene_training import classify, train_scene
from tools.networks.second_look import COARSE, FINE
from tools.networks.vapour_gate import NEEDED
from tools.simulate.patch_files import at_10m

UNDECIDED = "scene_undecided"
PROGRESS = "scene_progress.npz"


def simulated_folder(folder: Path) -> Path:
    return folder / "simulated"


def pretrain(simulated: Path, recipe: SceneRecipe, folder: Path) -> None:
    """The network that saw simulated scenes alone, kept in ``folder``/simulated."""
    own = simulated_folder(folder)
    record = {"widths": list(recipe.widths), "recipe": asdict(recipe)}
    if not checkpoint.holds(record, own, Task.SCENE.value):
        grounds = Grounds([], [], simulated_patches(simulated))
        network = train_scene(grounds, recipe, "simulated", own / PROGRESS, None)
        checkpoint.save(network, record, own, Task.SCENE.value)


def candidate_folder(folder: Path, seed: int) -> Path:
    """Where a network of all places is kept, one of several that differ by their seed."""
    return folder / "all_places" / str(seed)


def unsimulated_folder(folder: Path) -> Path:
    """Where the folds are kept that never saw a simulated scene."""
    return folder / "without_simulation"


def train_one(
    shared: Path, simulated: Path | None, fold: int | None, recipe: SceneRecipe, folder: Path
) -> None:
    """Tune the pretrained network for one fold, or with ``fold`` None a candidate for all places.

    What is there already, of the same recipe, is not trained again. Clear patches of a place
    that is held out are held out too. With ``simulated`` None it begins from random weights.
    """
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    labelled, clear = labelled_patches(shared), clear_patches(shared, "train")
    note, target = f"all places, seed {recipe.seed}", candidate_folder(folder, recipe.seed)
    if fold is not None:
        folds = fold_of_place(labelled)
        labelled, clear = outside(labelled, folds, fold), outside(clear, folds, fold)
        note, target = f"fold {fold}", fold_folder(folder, fold)
    record = {"widths": list(recipe.widths), "recipe": asdict(recipe)}
    if checkpoint.holds(record, target, UNDECIDED):
        return
    grounds, start = Grounds(labelled, clear), None
    if simulated is not None:
        grounds = Grounds(labelled, clear, simulated_patches(simulated))
        start = kept(simulated_folder(folder))
    network = train_scene(grounds, recipe, note, target / PROGRESS, start)
    checkpoint.save(network, record, target, UNDECIDED)


def snow_called_cloud(network: SceneNetwork, scenes: Sequence[Patch], profile: str = FULL) -> float:
    """Of the clear snow of simulated scenes, the share that the ``network`` of a sensor calls cloud."""
    called = clear = 0
    for scene in scenes:
        assert scene.label is not None
        is_clear_snow = is_snow(dict(zip(Band, at_10m(scene.grids), strict=True))) & (scene.label == 0)
        clear += int(is_clear_snow.sum())
        classes = classify(network, seen_by(scene, profile))
        called += int(np.isin(classes[is_clear_snow], CLOUD).sum())
    return called / max(clear, 1)


def choose(
    folder: Path, recipe: SceneRecipe, seeds: Sequence[int], scenes: Sequence[Patch]
) -> dict[str, Any]:
    """Keep that candidate for all places which calls the least snow of ``scenes``, which none saw, cloud."""
    shares = {}
    for seed in seeds:
        network = undecided(candidate_folder(folder, seed))
        shares[seed] = round(snow_called_cloud(network, scenes, recipe.profile), 4)
    best = min(shares, key=lambda seed: (shares[seed], seed))
    own = candidate_folder(folder, best)
    record = checkpoint.load_record(own, UNDECIDED)
    checkpoint.save(undecided(own), record, folder, UNDECIDED)
    return {"seed": best, "clear_snow_called_cloud": {str(seed): share for seed, share in shares.items()}}


def decide(shared: Path, recipe: SceneRecipe, folder: Path) -> dict[str, dict[str, float]]:
    """Give every trained network its gate of B09 (`vapour_gate`) and its second look (`second_look`), move
    the lines between its classes (`decision`), and say by how much. Look and lines come from what the
    networks of other folds said of their own.

    The networks as trained stay beside them as `scene_undecided`; deciding twice changes nothing.
    """
    labelled = [seen_by(patch, recipe.profile) for patch in labelled_patches(shared)]
    folds = fold_of_place(labelled)
    places = {fold: inside(labelled, folds, fold) for fold in range(FOLDS)}
    networks: dict[int | None, SceneNetwork] = {None: undecided(folder)}
    networks |= {fold: undecided(fold_folder(folder, fold)) for fold in range(FOLDS)}
    is_gated, looks_twice = (set(bands) <= set(PROFILES[recipe.profile]) for bands in (NEEDED, FINE + COARSE))
    if is_gated:
        for network in networks.values():
            network.gate_vapour()
    if looks_twice:
        evidence = {f: [second_look_fit.evidence_of(networks[f], p) for p in places[f]] for f in places}
        for fold, network in networks.items():
            network.take(second_look_fit.fit(_of_others(evidence, fold)))
    judged = {f: [decision.judge(networks[f], patch) for patch in places[f]] for f in places}
    given_back = decision.GIVEN_BACK if looks_twice else 0.0
    shifts = {}
    for fold, network in networks.items():
        shift = decision.even(decision.best_shift(_of_others(judged, fold), given_back))
        target = folder if fold is None else fold_folder(folder, fold)
        decision.apply_shift(network, shift)
        record = checkpoint.load_record(target, UNDECIDED) | {
            "vapour_gate": is_gated,
            "second_look": looks_twice,
        }
        checkpoint.save(network, record, target, Task.SCENE.value)
        shifts["all places" if fold is None else f"fold {fold}"] = decision.named(shift)
    return shifts


Found = TypeVar("Found")


def _of_others(found: Mapping[int, Sequence[Found]], fold: int | None) -> list[Found]:
    """What all folds but one have found."""
    return [one for number, some in found.items() if number != fold for one in some]


def undecided(folder: Path) -> SceneNetwork:
    """The network of a folder as trained."""
    return kept(folder, UNDECIDED)


def kept(folder: Path, name: str = Task.SCENE.value) -> SceneNetwork:
    """The network that a folder keeps by that name."""
    network = recorded_network(checkpoint.load_record(folder, name))
    checkpoint.load_weights(network, folder, name)
    return network.eval()
