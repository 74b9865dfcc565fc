"""Speed against accuracy of the scene network: widths, each trained alike, timed as it flies.

    python -m tools.train scene                            # leaves build/sim and build/sim_held_out
    python -m tools.networks.speed_curve --out build/curve

All widths see the same simulated scenes in the same number of steps, fewer than the network that flies, so
only their order means something. Scores are of INT8, on simulated scenes held out and on labels/dev,
which none of them saw. Time is CPU time of one thread on the flatsat's window, the least of some runs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from payload.types import Grid, Task
from tools import material
from tools.evaluate import scene_scores
from tools.networks import scores
from tools.networks.runtime import Runner
from tools.networks.scene_evaluation import score_patches
from tools.networks.scene_making import pretrain, simulated_folder
from tools.networks.scene_network import SceneNetwork
from tools.networks.scene_samples import PRETRAINING
from tools.quantize import calibration_feeds, quantize_task

WIDTHS = ((8, 16, 32), (16, 32, 64), (32, 64, 128))
STEPS = 300
WINDOW_PX = (480, 1152)
INNER_PX = 336 * 1008
TILE_PX = 10980
RUNS = 15


def cpu_s_of_tile(runner: Runner) -> float:
    """CPU seconds that the network takes for a whole 10980 x 10980 tile, on one thread."""
    rng = np.random.default_rng(0)
    rows, cols = WINDOW_PX
    bands = {Grid.R10M: 4, Grid.R20M: 6, Grid.R60M: 3}
    codes = {g: rng.integers(1, 256, (n, rows // g, cols // g)).astype(np.uint8) for g, n in bands.items()}
    runner(codes)
    least = float("inf")
    for _ in range(RUNS):
        begun = time.process_time()
        runner(codes)
        least = min(least, time.process_time() - begun)
    return least * TILE_PX**2 / INNER_PX


def measure(widths: tuple[int, int, int], asked: argparse.Namespace) -> dict[str, Any]:
    """Train, quantize, time and score one size."""
    folder = asked.out / "x".join(map(str, widths))
    recipe = dataclasses.replace(PRETRAINING, widths=widths, steps=asked.steps)
    pretrain(asked.simulated, recipe, folder)
    trained = simulated_folder(folder)
    feeds = calibration_feeds(material.all_patches(asked.shared, "train"), with_geometry=False)
    runner = Runner(quantize_task(Task.SCENE, trained, trained, feeds)[0])
    row: dict[str, Any] = {
        "widths": list(widths),
        "weights": sum(p.numel() for p in SceneNetwork(widths).parameters()),
        "cpu_s_of_tile": round(cpu_s_of_tile(runner), 2),
    }
    for name, patches in (
        ("simulated", material.simulated_patches(asked.held_out)),
        ("real", material.labelled_patches(asked.shared)),
    ):
        matrix = score_patches(runner, patches)
        row[name] = scene_scores.rounded(scene_scores.scores_of(matrix))
        right = int(np.trace(matrix)) / int(matrix.sum())
        macro = np.mean([scores.class_scores(matrix)[c]["f1"] for c in scores.CLASS_NAMES])
        row[name] |= {"accuracy": round(right, 4), "macro_f1": round(float(macro), 4)}
    print(json.dumps(row), file=sys.stderr)
    return row


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The figure: CPU seconds of a tile against the mean F1 of the four classes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.8), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    times = [row["cpu_s_of_tile"] for row in rows]
    axes.plot(times, [row["simulated"]["macro_f1"] for row in rows], "o-", label="simulated scenes, held out")
    axes.plot(times, [row["real"]["macro_f1"] for row in rows], "s--", label="real patches, never trained on")
    for row in rows:
        label = "-".join(map(str, row["widths"]))
        axes.annotate(
            label, (row["cpu_s_of_tile"], row["simulated"]["macro_f1"]), (4, 6), textcoords="offset points"
        )
    axes.set(xlabel="CPU s for a 10980 x 10980 tile, INT8, one thread", ylabel="mean F1 of four classes")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(str(path))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.networks.speed_curve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument("--simulated", type=Path, default=Path("build/sim"), help="to train on")
    parser.add_argument("--held-out", type=Path, default=Path("build/sim_held_out"), help="to score on")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of every size ({STEPS})")
    parser.add_argument("--out", type=Path, default=Path("build/curve"), help="weights and curve.json")
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/speed_curve.png"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(widths, asked) for widths in WIDTHS]
    (asked.out / "curve.json").write_text(json.dumps(rows, indent=2) + "\n")
    draw(rows, asked.figure)
    print(asked.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
