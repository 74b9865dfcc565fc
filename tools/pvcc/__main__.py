"""PV-CC transfer: a network trained on Sentinel-2-like input (B2 B4 B8 B11 at 100 m), used on the
Proba-V profile without training on it; SMAC (Rahman and Dedieu 1994) as the baseline.

Trains two small networks on simulated skies over real clear ground, then prints the four cases
of ratios on 100 held places, errors against the simulated truth, and, on real pairs, errors
beside Sen2Cor at 100 m. Writes pvcc.json and ratios.png. docs/harmonisation.md explains.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from tools.networks import checkpoint
from tools.pvcc import cases, places
from tools.pvcc.picture import write_picture
from tools.pvcc.training import Recipe, SurfaceNet, draw_places, train


def train_both(shared: Path, out: Path, recipe: Recipe) -> tuple[places.Instruments, dict[str, SurfaceNet]]:
    """The networks of Sentinel-2 (learns the surface) and of Proba-V (learns SMAC's product)."""
    instruments = places.read_instruments(shared)
    grounds = places.read_grounds(shared, "train", instruments.coefficients)
    networks = {}
    for name, instrument, target in (
        ("sentinel2", instruments.sentinel, "surface"),
        ("proba_v", instruments.proba, "by_smac"),
    ):
        chosen = dataclasses.replace(recipe, target=target)
        tops, targets = draw_places(grounds, instrument, instruments.coefficients, chosen)
        networks[name] = train(tops, targets, name, chosen, out / f"{name}.training.npz")
        checkpoint.save(networks[name], {"recipe": dataclasses.asdict(chosen)}, out, name)
    return instruments, networks


def as_text(record: dict[str, Any]) -> str:
    """The tables to read."""
    names = places.BAND_NAMES
    lines = ["Ratios on 100 held places (simulated): median, and share within 10 % of one"]
    lines.append(f"{'':16}" + "".join(f"{name:>16}" for name in names))
    for case, bands in record["cases"].items():
        cells = (f"{bands[name]['median']:9.3f}{100 * bands[name]['near_ratio']:5.0f} %" for name in names)
        lines.append(f"{case:16}" + "".join(cells))
    lines += [f"  {case}: {words}" for case, words in cases.CASES.items()]
    lines += ["", "RMSE against the true surface in the instrument's own bands (simulated)"]
    lines.append(f"{'':30}" + "".join(f"{name:>9}" for name in names))
    lines += [_row(name, values) for name, values in record["errors"].items()]
    for pair, rows in record["real_pairs"].items():
        lines += ["", f"RMSE beside Sen2Cor at 100 m, real pair {pair}"]
        lines += [_row(name, values) for name, values in rows.items()]
    return "\n".join(lines)


def _row(name: str, values: list[float]) -> str:
    return f"{name:30}" + "".join(f"{value:9.4f}" for value in values)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.pvcc",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument("--out", type=Path, default=Path("build/pvcc"), help="tables, picture, networks")
    parser.add_argument("--seed", type=int, default=0, help="of skies, grounds, batches, weights (0)")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help=f"training steps ({Recipe.steps})")
    parser.add_argument(
        "--places", type=int, default=Recipe.places, help=f"places to train on ({Recipe.places})"
    )
    asked = parser.parse_args(arguments)
    if not (asked.shared / "data" / "DATA.md").exists():
        parser.error(f"{asked.shared}: no shared material (data/DATA.md) here; see --shared")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    begun = time.monotonic()
    recipe = Recipe(steps=asked.steps, places=asked.places, seed=asked.seed)
    instruments, networks = train_both(asked.shared, asked.out, recipe)
    held = cases.held_places(
        places.read_grounds(asked.shared, "val", instruments.coefficients), instruments, asked.seed
    )
    both = networks["sentinel2"], networks["proba_v"]
    record = {
        "simulated": True,
        "recipe": dataclasses.asdict(recipe),
        "cases": cases.four_cases(held, *both),
        "errors": cases.errors(held, *both),
        "real_pairs": cases.real_pairs(asked.shared, instruments, networks["sentinel2"]),
    }
    (asked.out / "pvcc.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    write_picture(record["cases"], asked.out / "ratios.png")
    print(as_text(record))
    print(f"\nFigures: {asked.out}/pvcc.json    Picture: {asked.out}/ratios.png")
    print(f"pvcc: done in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
