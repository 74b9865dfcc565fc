"""Trains the small fully convolutional network of the PV-CC seed: this file is the whole job.

        1x1 -> [sep 3x3, 32] -> /2 -> [sep 3x3, 64] -> /2 -> [sep 3x3, 64]
                     |                     |                     | x2
                     |                 [sep 3x3, 64] <-----------+
                     |                     | x2
               [sep 3x3, 32] <-------------+  -> 1x1, 4 -> + input

Its layers were never published; this is the group's public design of separable convolutions
(normalising 1x1, two steps down and up) made small, with mean squared error on reflectance.
Bands B2 B4 B8 B11 at 100 m in and out. What a step draws depends on seed and step alone, so
that a training that goes on after a cut ends with the same weights.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from payload.types import F32
from tools import resumable, smac
from tools.pvcc.places import BANDS, Instrument, look, vary

WIDTHS = (32, 64, 64)
TARGETS = ("surface", "by_smac")


@dataclass(frozen=True)
class Recipe:
    """What decides a training besides grounds and instrument. ``target``: what is learned, the
    true surface (as Sen2Cor's product stands for it) or SMAC's (as Proba-V's product is)."""

    steps: int = 1200
    batch: int = 24
    rate: float = 2e-3
    places: int = 1200
    target: str = "surface"
    seed: int = 0


class _Block(nn.Module):
    """Separable 3x3: one filter a channel, then 1x1, normalisation and ReLU."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.each = nn.Conv2d(given, given, 3, padding=1, padding_mode="replicate", groups=given)
        self.mix = nn.Conv2d(given, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, stack: Tensor) -> Tensor:
        return torch.relu(self.norm(self.mix(self.each(stack))))


class SurfaceNet(nn.Module):
    """Top-of-atmosphere reflectance (N, 4, R, C), R and C multiples of 4, to surface reflectance."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.normal = nn.Conv2d(len(BANDS), fine, 1)
        self.down1, self.down2, self.bottom = (
            _Block(fine, fine),
            _Block(fine, middle),
            _Block(middle, coarse),
        )
        self.up2, self.up1 = _Block(middle + coarse, middle), _Block(fine + middle, fine)
        self.head = nn.Conv2d(fine, len(BANDS), 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, top: Tensor) -> Tensor:
        fine = self.down1(self.normal(top))
        middle = self.down2(functional.max_pool2d(fine, 2))
        coarse = self.bottom(functional.max_pool2d(middle, 2))
        middle = self.up2(torch.cat([middle, functional.interpolate(coarse, scale_factor=2.0)], 1))
        fine = self.up1(torch.cat([fine, functional.interpolate(middle, scale_factor=2.0)], 1))
        return top + self.head(fine)


def draw_places(
    grounds: Sequence[F32], instrument: Instrument, coefficients: smac.Coefficients, recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """(top, target) of all places that a training uses, (N, 4, 24, 24)."""
    tops, targets = [], []
    for number in range(recipe.places):
        rng = np.random.default_rng([recipe.seed, 1, number])
        seen = look(rng, vary(rng, grounds), instrument, coefficients)
        tops.append(seen.top)
        targets.append(getattr(seen, recipe.target))
    return torch.from_numpy(np.stack(tops)), torch.from_numpy(np.stack(targets))


def train(tops: Tensor, targets: Tensor, name: str, recipe: Recipe, keep: Path | None = None) -> SurfaceNet:
    """The network after ``recipe.steps`` steps; ``keep`` holds a training that was cut off."""
    torch.manual_seed(recipe.seed)
    network = SurfaceNet()
    optimizer = torch.optim.Adam(network.parameters())
    about = json.dumps({"name": name, **asdict(recipe)}, sort_keys=True)

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([recipe.seed, 2, step])
        chosen = torch.from_numpy(rng.integers(0, len(tops), recipe.batch))
        return functional.mse_loss(network(tops[chosen]), targets[chosen])

    resumable.run(
        network,
        optimizer,
        loss_at,
        recipe.steps,
        [recipe.rate],
        name=f"pvcc: {name}",
        recipe=about,
        keep=keep,
    )
    return network


@torch.no_grad()
def correct(network: SurfaceNet, top: F32) -> F32:
    """Surface reflectance (4, row, col) of one place of any size, continued by its mirror image."""
    rows, cols = top.shape[1:]
    padded = np.pad(top, ((0, 0), (0, -rows % 4), (0, -cols % 4)), mode="symmetric")
    return network(torch.from_numpy(padded)[None])[0, :, :rows, :cols].numpy()
