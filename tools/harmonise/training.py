"""Trains one network on one pair, in minutes: this file is the whole job.

A step draws windows of the pair, brings the fine image to 10 m (BCNet by the point spread that
it learns, the others by the nominal one), cuts 32 x 32 pixels out of each, and compares with
the coarse image. What a step draws depends on seed and step alone, so a training that was cut
off and goes on ends with the same weights.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tools import resumable
from tools.harmonise.networks import (
    CONV_REACH_PX,
    SPREAD_PAD_PX,
    SPREAD_TAPS,
    BCNet,
    PointSpread,
    build,
    pixelwise,
)
from tools.harmonise.pair import BANDS, RATIO, WINDOW_PX, Pair, PairError

CROP_PX = 32
MARGIN_PX = 2
"""Coarse pixels at a window's edge that no crop holds: the point spread would reach outside."""
EPSILON = 0.01
"""Keeps the relative error finite over dark water; the paper does not state its own."""


@dataclass(frozen=True)
class Recipe:
    """What decides a training besides the pair. ``spread_rate`` is the rate of the point
    spread's logits, which must travel farther than weights do."""

    steps: int = 1500
    batch: int = 4
    rate: float = 2e-3
    spread_rate: float = 2e-2
    seed: int = 0


PAPER = Recipe(steps=5000, batch=100, rate=2e-4, spread_rate=2e-4)
"""The numbers that the paper states; hours on two cores."""


def relative_error(harmonised: Tensor, target: Tensor) -> Tensor:
    """|t - r| / (eps + t). The measured target stands below, not the prediction, which could
    make its error small by being large (decision 0020)."""
    return (harmonised - target).abs() / (EPSILON + target.clamp(min=0))


def loss_of(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean relative error; with a confidence head the likelihood of a Laplace law of scale b,
    e / b + log b: the same error, discounted where the network expects it to be large."""
    error = relative_error(output[:, :BANDS], target)
    if output.shape[1] > BANDS:
        scale = output[:, BANDS:]
        error = error / scale + scale.log()
    return (error * weight).sum() / (weight.sum() * BANDS).clamp(min=1)


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows that training may use: fine (N, 4, 250, 250), nominally blurred and coarse
    (N, 4, 50, 50), and where both have data (N, 1, 50, 50); elsewhere blurred is 0."""

    fine: Tensor
    blurred: Tensor
    coarse: Tensor
    known: Tensor


def known_at_coarse(fine: Tensor, coarse: Tensor) -> Tensor:
    """Where (N, 1, R, C) a coarse pixel has data, and all that a point spread and a network of 3x3 layers
    see around it in ``fine`` (N, 4, 5 R, 5 C) has, too."""
    unseen = (fine <= 0).any(1, keepdim=True).float()
    around = functional.pad(unseen, (SPREAD_PAD_PX,) * 4, mode="replicate")
    touched = functional.max_pool2d(around, SPREAD_TAPS, stride=RATIO)
    touched = functional.max_pool2d(touched, 2 * CONV_REACH_PX + 1, stride=1, padding=CONV_REACH_PX)
    return (touched == 0) & (coarse > 0).all(1, keepdim=True)


def seen_windows(pair: Pair) -> Windows:
    """The windows that training may use.

    Raises:
        PairError: none of them has a place with data in both images.
    """
    numbers = pair.seen()
    fine = torch.from_numpy(np.stack([pair.fine_window(number) for number in numbers]))
    coarse = torch.from_numpy(np.stack([pair.coarse_window(number) for number in numbers]))
    known = known_at_coarse(fine, coarse)
    inner = slice(CONV_REACH_PX, -CONV_REACH_PX)
    if not known[..., inner, inner].any():
        raise PairError("no window to train on has data in both images")
    with torch.no_grad():
        return Windows(fine, torch.where(known, PointSpread()(fine), 0), coarse, known)


def _draw(rng: np.random.Generator, network: nn.Module, windows: Windows, batch: int) -> tuple[Tensor, ...]:
    """(input at 10 m, target, weight) of a batch of crops; weight 0 at edges and where no data is."""
    chosen = torch.from_numpy(rng.integers(0, len(windows.coarse), batch))
    row, col = (int(v) for v in rng.integers(MARGIN_PX, WINDOW_PX - CROP_PX - MARGIN_PX + 1, 2))
    span = (chosen, slice(None), slice(row, row + CROP_PX), slice(col, col + CROP_PX))
    target = windows.coarse[span]
    if isinstance(network, BCNet):
        rows, cols = (
            slice(RATIO * first - SPREAD_PAD_PX, RATIO * (first + CROP_PX) + SPREAD_PAD_PX)
            for first in (row, col)
        )
        at_coarse = network.spread.inner(windows.fine[chosen, :, rows, cols])
    else:
        at_coarse = windows.blurred[span]
    known = windows.known[span] & (at_coarse > 0).all(1, keepdim=True)
    weight = torch.zeros_like(target[:, :1])
    inner = slice(CONV_REACH_PX, -CONV_REACH_PX)
    weight[..., inner, inner] = known[..., inner, inner].float()
    return at_coarse, target, weight


def train(pair: Pair, model: str, recipe: Recipe, keep: Path | None = None) -> nn.Module:
    """The network after ``recipe.steps`` steps, ready for use.

    Args:
        keep: file for the state of the training; one that is there is gone on with.
    """
    torch.manual_seed(recipe.seed)
    network = build(model)
    windows = seen_windows(pair)
    pixelwise(network).norm.fit(windows.blurred)
    spread = list(network.spread.parameters()) if isinstance(network, BCNet) else []
    groups = [{"params": list(pixelwise(network).parameters())}, {"params": spread}]
    optimizer = torch.optim.Adam([group for group in groups if group["params"]])
    rates = [recipe.rate, recipe.spread_rate][: len(optimizer.param_groups)]
    about = json.dumps({"model": model, **asdict(recipe), "pair": pair.story}, sort_keys=True)

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng([recipe.seed, step])
        at_coarse, target, weight = _draw(rng, network, windows, recipe.batch)
        return loss_of(pixelwise(network)(at_coarse), target, weight)

    resumable.run(
        network, optimizer, loss_at, recipe.steps, rates, name=f"harmonise: {model}", recipe=about, keep=keep
    )
    return network
