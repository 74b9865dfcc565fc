"""Harmonise a fine image with a coarse one: Pleiades-like 2 m with Sentinel-2-like 10 m.

  compare   train all models on simulated pairs and print what each is worth
  simulate  write one simulated pair
  train     train one model on a pair of yours or a simulated one
  apply     harmonise a fine image with a trained model, at its own resolution

A pair is a folder with fine.tif and coarse.tif: blue, green, red, near infrared, reflectance x
10000 (0: no data), the fine one exactly 5 times the size of the coarse one on the same ground.
docs/harmonisation.md has the figures and what they mean.
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

from tools.harmonise import comparison, linear, pair, simulation
from tools.harmonise.networks import MODELS, build
from tools.harmonise.training import PAPER, Recipe
from tools.material import clear_patches
from tools.networks import checkpoint
from tools.whole import make_way

EXIT_USAGE = 2
CLOUDY_PAIRS_RATIO = 0.04
SYNTHETIC_SEEN, SYNTHETIC_HELD = 6, 2
BLOCK_ROWS = 512


def _grounds(shared: Path | None, seed: int) -> tuple[simulation.Instruments, list[Any], list[Any]]:
    """(instruments, grounds to train on, grounds to judge on)."""
    instruments = simulation.read_instruments(shared)
    if shared is None:
        made = simulation.synthetic_ground(seed, SYNTHETIC_SEEN + SYNTHETIC_HELD)
        return instruments, made[:SYNTHETIC_SEEN], made[SYNTHETIC_SEEN:]
    splits = []
    for split in (simulation.SPLIT_OF_SEEN, simulation.SPLIT_OF_HELD):
        chosen = simulation.textured(clear_patches(shared, split))
        folder = shared / "data" / "l1c" / split / "clear"
        assert instruments.sentinel is not None
        splits.append(
            [simulation.real_ground(folder / f"{p.name}.tif", instruments.sentinel) for p in chosen]
        )
    return instruments, *splits


def _simulated(asked: argparse.Namespace, seed: int, cloud_ratio: float) -> pair.Pair:
    shared = None if asked.synthetic else asked.shared
    instruments, seen, held = _grounds(shared, asked.seed)
    recipe = simulation.PairRecipe(
        seed=seed,
        is_top=asked.level == "toa",
        misregistration_m=asked.misregistration_m,
        cloud_ratio=cloud_ratio,
    )
    return simulation.make_pair(seen, held, instruments, recipe)


def _recipe(asked: argparse.Namespace) -> Recipe:
    chosen = PAPER if asked.paper else Recipe()
    changes = {name: getattr(asked, name) for name in ("steps", "batch") if getattr(asked, name) is not None}
    return dataclasses.replace(chosen, seed=asked.seed, **changes)


def run_simulate(asked: argparse.Namespace) -> None:
    made = _simulated(asked, asked.seed, asked.cloud_ratio)
    pair.write_pair(made, asked.out)
    print(f"{asked.out}: fine {made.fine.shape[1:]}, coarse {made.coarse.shape[1:]}, held {list(made.held)}")


def run_train(asked: argparse.Namespace) -> None:
    given = pair.read_pair(asked.pair, asked.seed)
    network = comparison.make(given, asked.model, _recipe(asked), asked.out / f"{asked.model}.training.npz")
    table = comparison.evaluate(network, given)
    record = {"model": asked.model, "pair": given.story, "scores": table}
    checkpoint.save(network, record, asked.out, asked.model)
    (asked.out / f"{asked.model}.training.npz").unlink(missing_ok=True)
    print(comparison.as_text({asked.model: table}))
    print(f"Network: {asked.out / asked.model}.npz    Use it: python -m tools.harmonise apply")


def run_apply(asked: argparse.Namespace) -> None:
    folder, name = asked.network.parent, asked.network.stem
    if not asked.network.with_suffix(".npz").is_file():
        raise pair.PairError(f"{asked.network}: no such network; `train` writes NAME.npz")
    model = checkpoint.load_record(folder, name)["model"]
    network = linear.Linear() if model in linear.LINEAR_MODELS else build(model)
    checkpoint.load_weights(network, folder, name)
    network.eval()
    if asked.confidence is not None and model != "bcnet_confidence":
        raise pair.PairError(f"{model} says no confidence; train --model bcnet_confidence")
    fine = pair.read_bands(asked.fine)
    made, scales = [], []
    for row in range(0, fine.shape[1], BLOCK_ROWS):
        # Three rows more on either side are what ConvCalibNet sees; the others need none.
        first = max(row - 3, 0)
        block, scale = comparison.harmonise(network, fine[:, first : row + BLOCK_ROWS + 3])
        inner = slice(row - first, row - first + min(BLOCK_ROWS, fine.shape[1] - row))
        made.append(block[:, inner])
        if scale is not None:
            scales.append(scale[:, inner])
    tags = pair.geography_of(asked.fine)
    pair.write_bands(asked.out, np.concatenate(made, axis=1), tags)
    if asked.confidence is not None:
        pair.write_bands(asked.confidence, np.concatenate(scales, axis=1), tags)
    print(f"{asked.out}: harmonised by {model}")


def run_compare(asked: argparse.Namespace) -> None:
    from tools.harmonise.picture import write_picture

    recipe = _recipe(asked)
    record: dict[str, Any] = {"recipe": dataclasses.asdict(recipe), "simulated": True, "level": asked.level}
    for kind, models, count in (
        ("clear", comparison.ALL_MODELS, asked.pairs),
        ("cloudy", comparison.CLOUDY_MODELS, asked.cloudy_pairs),
    ):
        results: list[dict[str, Any]] = []
        for number in range(count):
            made = _simulated(asked, asked.seed + number, CLOUDY_PAIRS_RATIO if kind == "cloudy" else 0.0)
            print(f"harmonise: {kind} pair {number + 1}/{count} {json.dumps(made.story)}", file=sys.stderr)
            tables, networks = comparison.compare(made, models, recipe, asked.out / f"{kind}_{number}")
            results.append({"pair": made.story, "models": tables})
            means = {model: comparison.mean_of([one["models"][model] for one in results]) for model in tables}
            record[kind] = {"mean": means, "pairs": results}
            # After every pair: a run of an hour that is cut off leaves what it found.
            (asked.out / "comparison.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
            write_picture(made, networks, asked.out / f"{kind}_{number}.png")
            print(f"\n{kind} simulated pairs: {number + 1}; fine image {made.story['level']}; held windows")
            print(comparison.as_text(means), flush=True)
    print(f"\nFigures: {asked.out}/comparison.json    Pictures: {asked.out}/*.png")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.harmonise",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    simulated = argparse.ArgumentParser(add_help=False)
    simulated.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    simulated.add_argument(
        "--synthetic", action="store_true", help="made-up ground and nominal bands, no sky; needs no material"
    )
    simulated.add_argument(
        "--level", choices=["toa", "surface"], default="toa", help="what the fine image is given as (toa)"
    )
    simulated.add_argument(
        "--misregistration-m", type=float, default=6.0, help="largest shift a side, metres (6)"
    )
    seeded = argparse.ArgumentParser(add_help=False)
    seeded.add_argument("--seed", type=int, default=0, help="of skies, shifts, batches and weights (0)")
    trained = argparse.ArgumentParser(add_help=False)
    trained.add_argument("--paper", action="store_true", help="steps, batch and rate of the paper; hours")
    trained.add_argument("--steps", type=int, help=f"training steps ({Recipe.steps})")
    trained.add_argument("--batch", type=int, help=f"windows a step ({Recipe.batch})")

    one = commands.add_parser("compare", parents=[simulated, seeded, trained], help="all models, simulated")
    one.add_argument("--pairs", type=int, default=3, help="clear pairs (3)")
    one.add_argument("--cloudy-pairs", type=int, default=1, help="pairs with unmasked clouds (1)")
    one.add_argument("--out", type=Path, default=Path("build/harmonise"), help="tables and pictures")
    one.set_defaults(run=run_compare)
    two = commands.add_parser("simulate", parents=[simulated, seeded], help="write a simulated pair")
    two.add_argument("--cloud-ratio", type=float, default=0.0, help="share under unmasked clouds (0)")
    two.add_argument("--out", type=Path, default=Path("build/pair"), help="folder of the pair")
    two.set_defaults(run=run_simulate)
    three = commands.add_parser("train", parents=[seeded, trained], help="train a model on a pair")
    three.add_argument("pair", type=Path, help="folder with fine.tif and coarse.tif")
    three.add_argument("--model", choices=[*linear.LINEAR_MODELS, *MODELS], default="bcnet")
    three.add_argument("--out", type=Path, default=Path("build/harmonise"), help="folder of the network")
    three.set_defaults(run=run_train)
    four = commands.add_parser("apply", help="harmonise a fine image")
    four.add_argument("network", type=Path, help="NAME.npz as train wrote it")
    four.add_argument("fine", type=Path, help="TIFF with four bands; its georeference is kept")
    four.add_argument("--out", type=Path, required=True, help="TIFF to write, reflectance x 10000")
    four.add_argument(
        "--confidence", type=Path, help="TIFF for the expected relative error x 10000 (bcnet_confidence)"
    )
    four.set_defaults(run=run_apply)
    return parser


def _prepare(asked: argparse.Namespace) -> None:
    """What is to be written can be written: asked before the work.

    Raises:
        OSError: it cannot.
    """
    if asked.command == "apply":
        for path in filter(None, (asked.out, asked.confidence)):
            make_way(path)
    else:
        asked.out.mkdir(parents=True, exist_ok=True)


def main(arguments: list[str] | None = None) -> int:
    parser = build_parser()
    asked = parser.parse_args(arguments)
    if hasattr(asked, "synthetic") and not asked.synthetic and not (asked.shared / "data").is_dir():
        parser.error(f"{asked.shared}: no shared material here; see --shared, or use --synthetic")
    if asked.command == "compare" and (
        min(asked.pairs, asked.cloudy_pairs) < 0 or not asked.pairs + asked.cloudy_pairs
    ):
        parser.error("--pairs and --cloudy-pairs: at least one pair of either is needed")
    try:
        _prepare(asked)
    except OSError as error:
        parser.error(f"{error}")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    begun = time.monotonic()
    try:
        asked.run(asked)
    except ValueError as error:
        print(f"harmonise: {error}", file=sys.stderr)
        return EXIT_USAGE
    print(f"harmonise: {asked.command} done in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
