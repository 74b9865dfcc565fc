"""Make the networks again from the shared material.

scene: trains a network on simulated scenes, tunes and cross-validates it by place, then trains the
network that ships on all places with the same recipe and number of steps, three times, and keeps the one
that calls the least simulated snow cloud. All get a second look at what is bright, and their lines
between classes. With --without-simulation also networks of the folds that never see a simulated scene,
to compare. Simulated scenes that are missing are made. surface: trains on simulated pairs alone. With
--profile either is a network of a sensor with fewer bands, below OUT/profiles, where one scene network
of all places is trained. rivals: trains on the same pairs what the surface network is measured against.
peer: trains DTACSNet's scene network on what ours is trained on. All are seeded; the last step's average
is kept. Weights and a record go to OUT; a run that was cut off is taken up where it was when the same
command is given again.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tools import material
from tools.networks import card, checkpoint, dtacsnet_peer
from tools.networks.folds import FOLDS
from tools.networks.profiles import FULL, PROFILES
from tools.networks.scene_evaluation import cross_validate
from tools.networks.scene_making import choose, decide, pretrain, train_one, unsimulated_folder
from tools.networks.scene_samples import PRETRAINING, TUNING, SceneRecipe
from tools.networks.simulated_scenes import HELD_OUT, TRAINING, Scenes, make_missing
from tools.networks.surface_evaluation import calibrate_sigma, simulated_errors
from tools.networks.surface_rivals import train_rivals
from tools.networks.surface_training import SECOND, SurfaceRecipe, build_surface_network, train_surface

CANDIDATES = 3
QUICK_SCENE_STEPS = 60
QUICK_SURFACE_STEPS = 30
QUICK_PAIRS = 8
QUICK_SCENES = 8
VALIDATION_PAIRS = 120


def _seeded(recipe: SceneRecipe, seed: int, profile: str = FULL, *, quick: bool) -> SceneRecipe:
    steps = QUICK_SCENE_STEPS if quick else recipe.steps
    return dataclasses.replace(recipe, seed=seed, profile=profile, steps=steps)


def _fewer(wanted: Scenes, *, quick: bool) -> Scenes:
    """``wanted``, or a few of them to try the path."""
    return dataclasses.replace(wanted, count=QUICK_SCENES) if quick else wanted


def _in_processes(jobs: int, work: Callable[..., None], calls: Sequence[tuple[Any, ...]]) -> None:
    """Every call of ``work``, ``jobs`` at a time, each in a process that began fresh."""
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in [pool.submit(work, *call) for call in calls]:
            future.result()


def make_unsimulated(
    shared: Path, out: Path, seed: int, jobs: int, profile: str = FULL, *, quick: bool
) -> None:
    """Write networks of the folds that never see a simulated scene; `make_scene` scores them too."""
    recipe = dataclasses.replace(_seeded(TUNING, seed, profile, quick=quick), simulated_share=0.0)
    own = unsimulated_folder(out)
    _in_processes(jobs, train_one, [(shared, None, fold, recipe, own) for fold in range(FOLDS)])


def make_scene(
    shared: Path,
    simulated: Path,
    held_out: Path,
    out: Path,
    seed: int,
    jobs: int,
    profile: str = FULL,
    *,
    quick: bool,
) -> None:
    """Write scene.npz, scene.json, the pretrained network, those of the folds and those of all places."""
    first, recipe = (_seeded(recipe, seed, profile, quick=quick) for recipe in (PRETRAINING, TUNING))
    seeds = range(seed, seed + (CANDIDATES if profile == FULL else 1))
    pretrain(simulated, first, out)
    wanted: list[tuple[int | None, SceneRecipe]] = [(fold, recipe) for fold in range(FOLDS)]
    wanted += [(None, dataclasses.replace(recipe, seed=other)) for other in seeds]
    _in_processes(jobs, train_one, [(shared, simulated, *what, out) for what in wanted])
    chosen = choose(out, recipe, seeds, material.simulated_patches(held_out))
    shifts = decide(shared, recipe, out)
    crossed = cross_validate(shared, recipe, out) | {"shifts": shifts}
    training = {
        "summary": "Pretrained on simulated scenes, tuned on all places of labels/dev and the clear patches "
        "of l1c/train with synthetic clouds; scores are out-of-fold, cross-validated by place.",
        "pretraining": dataclasses.asdict(first),
        "tuning": dataclasses.asdict(recipe),
        "chosen": chosen,
        "simulated_patches": len(list(simulated.glob("*.npz"))),
        "seed": seed,
        "labelled_patches": len(material.labelled_patches(shared)),
        "clear_patches": len(material.clear_patches(shared, "train")),
        "cross_validation": crossed,
    }
    record = checkpoint.load_record(out, "scene") | {"training": training}
    checkpoint.save_record(record, out, "scene")
    print(f"{profile}, out of fold:\n{card.target_table(crossed)}")


def make_surface(shared: Path, out: Path, recipe: SurfaceRecipe, *, quick: bool) -> None:
    """Write surface.npz and surface.json of the recipe's sensor; surface_first.npz on the way."""
    clear = material.clear_patches(shared, "train")
    second = dataclasses.replace(SECOND, seed=recipe.seed + 1000, profile=recipe.profile)
    if recipe.steps < SurfaceRecipe.steps:  # a shorter run is shorter in both stages
        second = dataclasses.replace(second, steps=recipe.steps)
    network, bounds = build_surface_network(recipe)
    record: dict[str, Any] = {"widths": list(recipe.widths), **bounds, "recipe": dataclasses.asdict(recipe)}
    if checkpoint.holds(record, out, "surface_first"):
        checkpoint.load_weights(network, out, "surface_first")
    else:
        network = train_surface(network, clear, recipe, out / "surface_progress.npz")
        checkpoint.save(network, record, out, "surface_first")
    network = train_surface(network, clear, second, out / "surface_second_progress.npz")
    validation = material.clear_patches(shared, "val")
    pairs = QUICK_PAIRS if quick else VALIDATION_PAIRS
    factors = calibrate_sigma(network, validation, pairs, recipe.seed + 2, recipe.profile)
    training = {
        "summary": "Trained on simulated pairs only: clear patches of l1c/train seen again through "
        "random atmospheres of the simulator. Real L1C/L2A pairs were never trained or selected on.",
        "seed": recipe.seed,
        "recipe": dataclasses.asdict(recipe),
        "second": dataclasses.asdict(second),
        "clear_patches": len(clear),
        "sigma_factors": factors,
        "simulated_validation": simulated_errors(network, validation, pairs, recipe.seed + 1, recipe.profile),
    }
    checkpoint.save(network, record | {"training": training}, out, "surface")


def make_peer(shared: Path, simulated: Path, out: Path, seed: int, jobs: int, *, quick: bool) -> None:
    """Write DTACSNet's scene network, of all places and of each fold, below ``out``."""
    first = _seeded(dtacsnet_peer.FIRST, seed, quick=quick)
    second = _seeded(dtacsnet_peer.SECOND, seed + 1, quick=quick)
    dtacsnet_peer.pretrain_peer(simulated, first, out)
    folds = (*range(FOLDS), None)
    _in_processes(jobs, dtacsnet_peer.tune_peer, [(shared, simulated, fold, second, out) for fold in folds])


def make_rivals(shared: Path, out: Path, seed: int) -> None:
    """Write rivals.npz: what the surface network is measured against, on the same pairs."""
    weights = train_rivals(material.clear_patches(shared, "train"), SurfaceRecipe(seed=seed))
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "rivals.npz", **weights)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "network", choices=["scene", "surface", "rivals", "peer"], help="which network to train"
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument(
        "--simulated", type=Path, default=Path("build/sim"), help="simulated scenes (scene, peer)"
    )
    parser.add_argument(
        "--held-out", type=Path, default=Path("build/sim_held_out"), help="more, to choose by (scene)"
    )
    parser.add_argument("--out", type=Path, default=Path("build/networks"), help="where weights go")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, batches and skies (0)")
    parser.add_argument("--jobs", type=int, default=1, help="scene networks trained at a time (1)")
    parser.add_argument(
        "--without-simulation", action="store_true", help="also folds without simulation, to compare (scene)"
    )
    parser.add_argument(
        "--profile", choices=list(PROFILES), default=FULL, help=f"whose bands (scene, surface; {FULL})"
    )
    parser.add_argument("--surface-steps", type=int, metavar="N", help="instead of those of the recipe")
    parser.add_argument("--quick", action="store_true", help="a few steps, to try the path")
    asked = parser.parse_args()
    if not (asked.shared / "data" / "DATA.md").exists():
        parser.error(f"{asked.shared}: no shared material (data/DATA.md) here; see --shared")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    begun = time.monotonic()
    out = asked.out if asked.profile == FULL else asked.out / "profiles" / asked.profile
    if asked.network in ("scene", "peer"):
        make_missing(asked.simulated, _fewer(TRAINING, quick=asked.quick), asked.jobs)
        if asked.network == "peer":
            make_peer(asked.shared, asked.simulated, asked.out, asked.seed, asked.jobs, quick=asked.quick)
        else:
            make_missing(asked.held_out, _fewer(HELD_OUT, quick=asked.quick), asked.jobs)
            if asked.without_simulation:
                make_unsimulated(asked.shared, out, asked.seed, asked.jobs, asked.profile, quick=asked.quick)
            folders = asked.shared, asked.simulated, asked.held_out, out
            make_scene(*folders, asked.seed, asked.jobs, asked.profile, quick=asked.quick)
    elif asked.network == "rivals":
        make_rivals(asked.shared, asked.out, asked.seed)
    else:
        recipe = SurfaceRecipe(seed=asked.seed, profile=asked.profile)
        steps = QUICK_SURFACE_STEPS if asked.quick else asked.surface_steps or recipe.steps
        make_surface(asked.shared, out, dataclasses.replace(recipe, steps=steps), quick=asked.quick)
    print(f"train: {asked.network} done in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
