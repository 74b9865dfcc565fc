"""Turn trained networks into the model folders that fly: INT8, measured, with manifests.

Reads what `python -m tools.train` left (scene and surface, whichever is there), quantizes
with patches of l1c/train for calibration, measures memory in fresh processes, looks for failure cases
among simulated scenes that no network was trained on (made where they are missing), and writes
MODELS/scene_s2_v7 and MODELS/surface_s2_v5.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from payload.types import Grid, Task
from tools import material
from tools.evaluate.pixel_rivals import RIVALS_FILE
from tools.networks import checkpoint, export, failures, footprint, model_folder, scores
from tools.networks.card import write_card
from tools.networks.folds import fold_folder, inside
from tools.networks.runtime import GEOMETRY, INPUT_OF_GRID, Runner
from tools.networks.scene_evaluation import score_patches
from tools.networks.scene_network import SceneNetwork, recorded_network
from tools.networks.simulated_scenes import HELD_OUT, make_missing
from tools.networks.surface_evaluation import beside_sen2cor, real_pairs
from tools.networks.surface_network import CELL_PX, SurfaceNetwork

WINDOW_MULTIPLE_PX = 48


def calibration_feeds(patches: Iterable[material.Patch], *, with_geometry: bool) -> list[export.Feed]:
    """Windows of the patches with a border of no data, geometry known to every other one."""
    feeds = []
    for number, patch in enumerate(patches):
        codes = material.window_codes(patch.grids, WINDOW_MULTIPLE_PX, WINDOW_MULTIPLE_PX)
        feed = {INPUT_OF_GRID[grid]: codes[grid][None].astype(np.float32) for grid in Grid}
        if with_geometry:
            known = number % 2 == 0
            feed[GEOMETRY] = np.float32([1, 0.8, 1, 0] if known else [0, 0, 0, 0]).reshape(1, 4, 1, 1)
        feeds.append(feed)
    return feeds


def load_network(folder: Path, task: Task) -> SceneNetwork | SurfaceNetwork:
    """The network that `tools.train` left in ``folder``."""
    record = checkpoint.load_record(folder, task.value)
    network: SceneNetwork | SurfaceNetwork
    if task is Task.SCENE:
        network = recorded_network(record)
    else:
        network = SurfaceNetwork(record["low"], record["high"], record["prior"], record["widths"])
    checkpoint.load_weights(network, folder, task.value)
    return network


def quantize_task(task: Task, trained: Path, folder: Path, feeds: list[export.Feed]) -> list[Path]:
    """Write fp32.onnx and the INT8 files of a trained network into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx_path = folder / "fp32.onnx"
    export.export_onnx(load_network(trained, task), onnx_path)
    model = export.read_codes(export.quantize(onnx_path, feeds, export.FLOAT_PART[task]))
    if task is Task.SCENE:
        model = export.answer_scores(model)
    return export.save(model, folder)


def score_folds(
    trained: Path, shared: Path, feeds: list[export.Feed], folds: dict[str, int]
) -> dict[str, NDArray[np.int64]]:
    """Out-of-fold confusion by place of the networks of the folds, quantized as the shipped one is."""
    labelled = material.labelled_patches(shared)
    places = {}
    for fold in sorted(set(folds.values())):
        folder = fold_folder(trained, fold)
        runner = Runner(quantize_task(Task.SCENE, folder, folder, feeds)[0])
        own = inside(labelled, folds, fold)
        for place in sorted({patch.group for patch in own}):
            places[place] = score_patches(runner, [patch for patch in own if patch.group == place])
    return places


def build_folder(
    task: Task, trained: Path, models: Path, shared: Path, held_out: Sequence[failures.HeldOut]
) -> Path:
    """Write the model folder of one task."""
    folder = models / model_folder.FOLDER_OF_TASK[task]
    feeds = calibration_feeds(material.all_patches(shared, "train"), with_geometry=task is Task.SURFACE)
    files = quantize_task(task, trained, folder, feeds)
    training = checkpoint.load_record(trained, task.value)["training"]
    if task is Task.SCENE and fold_folder(trained, 0).exists():
        places = score_folds(trained, shared, feeds, training["cross_validation"]["folds"])
        found = np.sum(list(places.values()), axis=0)
        training["cross_validation"]["int8"] = scores.class_scores(found)
        training["cross_validation"]["confusion_int8"] = found.tolist()
        training["cross_validation"]["places_int8"] = {name: one.tolist() for name, one in places.items()}
    runner = Runner(files[0])
    if task is Task.SURFACE:
        if (trained / RIVALS_FILE).exists():
            shutil.copyfile(trained / RIVALS_FILE, folder / RIVALS_FILE)
        training["sen2cor_int8"] = beside_sen2cor(real_pairs(shared), runner)
    show = failures.show_scene if task is Task.SCENE else failures.show_surface
    training["failures"] = show(runner, held_out, folder)
    cell_px = CELL_PX if task is Task.SURFACE else None
    host_line = footprint.measure_line(files[0])
    content = model_folder.manifest(task, files, host_line, training, cell_px)
    model_folder.write_manifest(content, folder)
    write_card(task, content, folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.quantize", description=__doc__)
    parser.add_argument("trained", type=Path, help="folder that tools.train wrote, e.g. build/networks")
    parser.add_argument("--out", type=Path, default=Path("models"), help="where model folders go (models)")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument(
        "--held-out",
        type=Path,
        default=Path("build/sim_held_out"),
        help="simulated scenes to fail on (%(default)s)",
    )
    parser.add_argument("--task", choices=[task.value for task in Task], help="only this one")
    asked = parser.parse_args()
    tasks = [Task(asked.task)] if asked.task else list(Task)
    tasks = [task for task in tasks if (asked.trained / f"{task.value}.npz").exists()]
    if not tasks:
        parser.error(f"{asked.trained}: no scene.npz or surface.npz; run python -m tools.train first")
    make_missing(asked.held_out, HELD_OUT, 1)
    held_out = failures.held_out(asked.held_out)
    for task in tasks:
        print(f"quantize: {task.value}", file=sys.stderr)
        print(build_folder(task, asked.trained, asked.out, asked.shared, held_out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
