"""Make the networks again from the shared material.

scene: cross-validates the recipe by place, then trains the network that ships on all places
with the same recipe and number of steps. surface: trains on simulated pairs alone. rivals: trains
on the same pairs what the surface network is measured against. All are seeded; the last step's
average is kept, no checkpoint is chosen. Weights and a record go to OUT; a run that was cut off
is taken up where it was when the same command is given again.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from tools import material
from tools.networks import checkpoint
from tools.networks.folds import FOLDS
from tools.networks.scene_evaluation import cross_validate, train_one
from tools.networks.scene_samples import SceneRecipe
from tools.networks.surface_evaluation import simulated_errors
from tools.networks.surface_rivals import train_rivals
from tools.networks.surface_training import SurfaceRecipe, train_surface

QUICK_SCENE_STEPS = 60
QUICK_SURFACE_STEPS = 30
QUICK_PAIRS = 8
VALIDATION_PAIRS = 120


def make_scene(shared: Path, out: Path, seed: int, jobs: int, *, quick: bool) -> None:
    """Write scene.npz, scene.json and the networks of the folds."""
    recipe = SceneRecipe(seed=seed)
    if quick:
        recipe = dataclasses.replace(recipe, steps=QUICK_SCENE_STEPS)
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh) as pool:
        started = [pool.submit(train_one, shared, fold, recipe, out) for fold in (*range(FOLDS), None)]
        for future in started:
            future.result()
    crossed = cross_validate(shared, recipe, out)
    training = {
        "summary": "Trained on all places of labels/dev and the clear patches of l1c/train with "
        "synthetic clouds; scores are out-of-fold, cross-validated by place.",
        "seed": seed,
        "labelled_patches": len(material.labelled_patches(shared)),
        "clear_patches": len(material.clear_patches(shared, "train")),
        "cross_validation": crossed,
    }
    record = checkpoint.load_record(out, "scene") | {"training": training}
    checkpoint.save_record(record, out, "scene")


def make_surface(shared: Path, out: Path, seed: int, *, quick: bool) -> None:
    """Write surface.npz and surface.json."""
    recipe = SurfaceRecipe(seed=seed)
    if quick:
        recipe = dataclasses.replace(recipe, steps=QUICK_SURFACE_STEPS)
    clear = material.clear_patches(shared, "train")
    network, bounds = train_surface(clear, recipe, out / "surface_progress.npz")
    validation = material.clear_patches(shared, "val")
    pairs = QUICK_PAIRS if quick else VALIDATION_PAIRS
    training = {
        "summary": "Trained on simulated pairs only: clear patches of l1c/train seen again through "
        "random atmospheres of the simulator. Real L1C/L2A pairs were never trained or selected on.",
        "seed": seed,
        "recipe": dataclasses.asdict(recipe),
        "clear_patches": len(clear),
        "simulated_validation": simulated_errors(network, validation, pairs, seed + 1),
    }
    record = {"widths": list(recipe.widths), **bounds, "training": training}
    checkpoint.save(network, record, out, "surface")


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
    parser.add_argument("network", choices=["scene", "surface", "rivals"], help="which network to train")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument("--out", type=Path, default=Path("build/networks"), help="where weights go")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, batches and skies (0)")
    parser.add_argument("--jobs", type=int, default=1, help="scene networks trained at a time (1)")
    parser.add_argument("--quick", action="store_true", help="a few steps, to try the path")
    asked = parser.parse_args()
    if not (asked.shared / "data" / "DATA.md").exists():
        parser.error(f"{asked.shared}: no shared material (data/DATA.md) here; see --shared")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    begun = time.monotonic()
    if asked.network == "scene":
        make_scene(asked.shared, asked.out, asked.seed, asked.jobs, quick=asked.quick)
    elif asked.network == "rivals":
        make_rivals(asked.shared, asked.out, asked.seed)
    else:
        make_surface(asked.shared, asked.out, asked.seed, quick=asked.quick)
    print(f"train: {asked.network} done in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
