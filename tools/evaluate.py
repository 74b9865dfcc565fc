"""Score the model folders that fly, run through OpenVINO exactly as flight runs them.

scene: the out-of-fold scores from the manifest (what to expect on new places), and the
shipped file on labels/dev, which it was trained on (what it learnt). surface: the shipped
file beside Sen2Cor on real pairs it never saw, per pair, against no correction.
With --out, pictures to look at.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from payload.types import Grid, Task
from tools import material
from tools.networks import scores
from tools.networks.contact_sheet import colour_classes, enlarge, join, write_png
from tools.networks.model_folder import FOLDER_OF_TASK
from tools.networks.runtime import Runner
from tools.networks.scene_evaluation import classify_window
from tools.networks.surface_evaluation import beside_sen2cor, real_pairs

SHEET_COLUMNS = 4
SMALL_PX = 100
LAND_SCALE, SNOW_SCALE = 0.35, 1.2


def open_folder(models: Path, task: Task) -> tuple[Runner, dict[str, Any]]:
    """The artifact of the CPU and the manifest."""
    folder = models / FOLDER_OF_TASK[task]
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return Runner(folder / manifest["artifacts"][0]["files"][0]["path"]), manifest


def evaluate_scene(shared: Path, models: Path, out: Path | None) -> tuple[dict[str, Any], str]:
    """(figures, tables) of the scene network."""
    runner, manifest = open_folder(models, Task.SCENE)
    total = np.zeros((scores.CLASSES, scores.CLASSES), np.int64)
    rows = []
    for patch in material.labelled_patches(shared):
        assert patch.label is not None
        classes = classify_window(runner, patch)
        total += scores.confusion(patch.label, classes)
        seen = patch.grids[Grid.R10M][0] != 0
        shown = np.where(seen, classes, material.IGNORED_LABEL).astype(np.uint8)
        rows.append([material.true_colour(patch.grids), colour_classes(patch.label), colour_classes(shown)])
    crossed = manifest["training"]["cross_validation"]
    shipped = scores.class_scores(total)
    figures = {"out_of_fold": crossed, "shipped_on_its_training_places": shipped}
    columns = {"rule": crossed["rule"], "network, float32": crossed["float32"]}
    if "int8" in crossed:
        columns["network, INT8"] = crossed["int8"]
    tables = "Out-of-fold, by place (new ground):\n\n" + scores.class_table(columns)
    tables += "\n\nThe shipped INT8 file on the places it was trained on:\n\n"
    tables += scores.class_table({"shipped": shipped})
    if out is not None:
        write_png(out / "scene_dev.png", join(rows, SHEET_COLUMNS))
    return figures, tables


def evaluate_surface(shared: Path, models: Path, out: Path | None) -> tuple[dict[str, Any], str]:
    """(figures, tables) of the surface network."""
    runner, manifest = open_folder(models, Task.SURFACE)
    pairs = real_pairs(shared)
    figures, surfaces = beside_sen2cor(pairs, lambda codes: np.asarray(runner(codes), np.float32))
    figures["simulated_validation"] = manifest["training"].get("simulated_validation")
    rows = {
        name: [float("nan") if value is None else value for value in values]
        for name, values in figures["rmse"].items()
    }
    tables = "Beside Sen2Cor L2A (never trained on):\n\n" + scores.band_table(rows, figures["bands"])
    if out is not None:
        pictures = []
        for pair, found in zip(pairs, surfaces, strict=True):
            scale = SNOW_SCALE if pair.name == "609U" else LAND_SCALE
            triple = [material.true_colour(grids, scale) for grids in (pair.top, pair.bottom, found)]
            factor = 4 if triple[0].shape[0] < SMALL_PX else 1
            pictures.append([enlarge(picture, factor) for picture in triple])
        write_png(out / "surface_pairs.png", join(pictures))
    return figures, tables


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("network", choices=["scene", "surface"], help="which network to score")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument("--models", type=Path, default=Path("models"), help="where model folders are")
    parser.add_argument("--out", type=Path, help="write contact sheets (PNG) here")
    parser.add_argument("--json", action="store_true", help="figures for machines instead of tables")
    asked = parser.parse_args()
    if not (asked.shared / "data" / "DATA.md").exists():
        parser.error(f"{asked.shared}: no shared material (data/DATA.md) here; see --shared")
    evaluate = evaluate_scene if asked.network == "scene" else evaluate_surface
    figures, tables = evaluate(asked.shared, asked.models, asked.out)
    print(json.dumps(figures, sort_keys=True, indent=2) if asked.json else tables)
    return 0


if __name__ == "__main__":
    sys.exit(main())
