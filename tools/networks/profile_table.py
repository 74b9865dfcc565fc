"""How little the error grows with fewer bands: one network per sensor, all trained alike.

    python -m tools.networks.profile_table --out build/profiles

Each sensor's network is the context network of `surface_rivals` (a residual of 1 x 1 layers over a pixel and
the mean and minimum around it) that reads that sensor's bands alone; own weights each. All see
the same simulated pairs. It says what bands are worth; the closed-form network of a sensor is trained by
`python -m tools.train surface --profile NAME`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from payload.types import SURFACE_BANDS_OF_GRID, Band
from tools import material
from tools.networks import descent
from tools.networks.profiles import PROFILES
from tools.networks.surface_rivals import CONTEXT_WIDTHS, INPUTS, Corrector, inputs_of, surroundings
from tools.networks.surface_training import draw_pair

PAIRS, HELD_OUT_PAIRS = 1200, 200
STEPS, BATCH, RATE = 1200, 4096, 4e-3
SAMPLES_OF_PAIR = 96
ORDER = [band for bands in SURFACE_BANDS_OF_GRID.values() for band in bands]
INPUT_ORDER = [*ORDER, Band.B10]


def draw_samples(split: str, pairs: int, seed: int, shared: Path) -> tuple[Tensor, Tensor]:
    """(39 features, 12 truths) of pixels of simulated pairs over l1c/``split``."""
    rng = np.random.default_rng(seed)
    patches = material.clear_patches(shared, split)
    features, truths = [], []
    for number in range(pairs):
        pair = draw_pair(rng, patches[number % len(patches)], 1.0)
        planes = torch.from_numpy(inputs_of(pair))
        whole = torch.cat([planes, surroundings(planes[None])[0]]).flatten(1)
        seen = np.flatnonzero((pair.top != 0).all(axis=0).ravel())
        if seen.size:
            chosen = torch.from_numpy(rng.choice(seen, SAMPLES_OF_PAIR))
            features.append(whole[:, chosen].T)
            truths.append(torch.from_numpy(pair.surface).flatten(1)[:, chosen].T)
    return torch.cat(features), torch.cat(truths)


def hide(features: Tensor, bands: tuple[Band, ...]) -> Tensor:
    """The features with 0 for every band that the sensor lacks, around the pixel too."""
    kept = torch.tensor([band in bands for band in INPUT_ORDER]).float()
    return features * kept.repeat(3)


def train(features: Tensor, truth: Tensor, bands: tuple[Band, ...], seed: int) -> Corrector:
    """The network of a sensor; only its own bands are judged."""
    torch.manual_seed(seed)
    network = Corrector(3 * INPUTS, CONTEXT_WIDTHS)
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    judged = torch.tensor([band in bands for band in ORDER])
    order = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        descent.set_rate(optimizer, descent.rate_at(step, STEPS, RATE))
        chosen = torch.randint(0, len(features), (BATCH,), generator=order)
        loss = (network(features[chosen]) - truth[chosen])[:, judged].abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.networks.profile_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument("--out", type=Path, default=Path("build/profiles"), help="weights and profiles.json")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    features, truth = draw_samples("train", PAIRS, asked.seed, asked.shared)
    held, below = draw_samples("val", HELD_OUT_PAIRS, asked.seed + 1, asked.shared)
    asked.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, float]] = {}
    for name, bands in PROFILES.items():
        network = train(hide(features, bands), truth, bands, asked.seed)
        np.savez(asked.out / f"{name}.npz", **{k: v.numpy() for k, v in network.state_dict().items()})
        with torch.no_grad():
            error = (network(hide(held, bands)) - below).square()
        own = [(i, band) for i, band in enumerate(ORDER) if band in bands]
        rows[name] = {band.value: round(float(error[:, i].mean().sqrt()), 4) for i, band in own}
        print(f"{name}: {rows[name]}", file=sys.stderr)
    rows["no correction"] = {
        band.value: round(float((held[:, i] - below[:, i]).square().mean().sqrt()), 4)
        for i, band in enumerate(ORDER)
    }
    (asked.out / "profiles.json").write_text(json.dumps(rows, indent=2) + "\n")
    print(json.dumps(rows, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
