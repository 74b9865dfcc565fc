"""What the surface network must beat, trained on the same simulated pairs.

linear: one linear map from 13 bands to 12, closed form. pixel: DTACSNet's correction network, a
residual of two 1 x 1 layers, 13 -> 52 -> 12. context: the same with the mean and the minimum of
the surroundings beside the pixel, as many squares as the surface network sees.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.types import F32, Grid
from tools.material import Patch
from tools.networks import descent
from tools.networks.surface_training import Pair, PairStream, SurfaceRecipe

INPUTS, OUTPUTS = 13, 12
PIXEL_WIDTHS = (52,)
CONTEXT_WIDTHS = (96, 64)
CONTEXT_SQUARES = 17
"""60 m squares on a side that the context network looks over: 102 of the 168 px that ours sees."""
STEPS = 1500
RATE = 4e-3
RIDGE = 1e-4
SAMPLES_OF_PAIR = 96


def inputs_of(pair: Pair) -> F32:
    """Reflectance (13, R/6, C/6) of a pair: the twelve bands with a surface, then B10."""
    b10 = (pair.codes[Grid.R60M][2:3].astype(np.float32) / 255) ** 2 * np.float32(FULL_SCALE_REFLECTANCE)
    return np.concatenate([pair.top, b10])


def surroundings(planes: Tensor, squares: int = CONTEXT_SQUARES) -> Tensor:
    """Mean and minimum of (N, 13, R, C) over the squares around each; edges see fewer."""
    reach = squares // 2
    mean = nn.functional.avg_pool2d(planes, squares, 1, reach, count_include_pad=False)
    least = -nn.functional.max_pool2d(-planes, squares, 1, reach)
    return torch.cat([mean, least], 1)


class Corrector(nn.Module):
    """A residual of 1 x 1 layers: what to take away from the reflectance of 12 bands."""

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        sizes = [inputs, *widths]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.last = nn.Linear(sizes[-1], OUTPUTS)
        with torch.no_grad():
            self.last.weight.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        """(sample, inputs) to (sample, 12)."""
        hidden = features
        for layer in self.layers:
            hidden = torch.relu(layer(hidden))
        found: Tensor = features[:, :OUTPUTS] - self.last(hidden)
        return found


def _samples(rng: np.random.Generator, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """(39 inputs, 12 truths) of pixels drawn from the middle of every pair."""
    features, truths = [], []
    for pair in pairs:
        planes = torch.from_numpy(inputs_of(pair))
        around = surroundings(planes[None])[0]
        whole = torch.cat([planes, around]).flatten(1)
        seen = np.flatnonzero((pair.top != 0).all(axis=0).ravel())
        if seen.size == 0:
            continue
        chosen = torch.from_numpy(rng.choice(seen, SAMPLES_OF_PAIR))
        features.append(whole[:, chosen].T)
        truths.append(torch.from_numpy(pair.surface).flatten(1)[:, chosen].T)
    return torch.cat(features), torch.cat(truths)


def train_rivals(patches: Sequence[Patch], recipe: SurfaceRecipe) -> dict[str, NDArray[np.float32]]:
    """Weights of all three, by the names that `tools.evaluate.pixel_rivals` reads."""
    torch.manual_seed(recipe.seed)
    stream = PairStream(patches, recipe)
    stream.restart(np.random.default_rng([recipe.seed, 77]))
    rng = np.random.default_rng([recipe.seed, 78])
    networks = {"pixel": Corrector(INPUTS, PIXEL_WIDTHS), "context": Corrector(3 * INPUTS, CONTEXT_WIDTHS)}
    optimizers = {name: torch.optim.AdamW(net.parameters(), RATE) for name, net in networks.items()}
    normal, right = (
        RIDGE * torch.eye(INPUTS + 1, dtype=torch.float64),
        torch.zeros(INPUTS + 1, OUTPUTS).double(),
    )
    for step in range(STEPS):
        features, truth = _samples(rng, stream.batch())
        for name, network in networks.items():
            descent.set_rate(optimizers[name], descent.rate_at(step, STEPS, RATE))
            used = features[:, :INPUTS] if name == "pixel" else features
            loss = (network(used) - truth).abs().mean()
            optimizers[name].zero_grad()
            loss.backward()
            optimizers[name].step()
        ones = torch.cat([features[:, :INPUTS], torch.ones(len(features), 1)], 1).double()
        normal += ones.T @ ones / len(ones)
        right += ones.T @ truth.double() / len(ones)
        if (step + 1) % 300 == 0:
            print(f"rivals step {step + 1}/{STEPS} context error {loss.item():.4f}", file=sys.stderr)
    weights: dict[str, NDArray[np.float32]] = {
        "linear": torch.linalg.solve(normal, right).float().numpy().astype(np.float32)
    }
    for name, network in networks.items():
        for key, value in network.state_dict().items():
            weights[f"{name}.{key}"] = value.numpy().astype(np.float32)
    return weights
