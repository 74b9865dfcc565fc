"""The steps of a training, from the first or from where one was cut off.

Random numbers come from the seed and the number of the stretch of steps, so that none have to
be kept; a run that is taken up at the start of a stretch ends with the same weights as one
that was never cut off.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from tools import resumable
from tools.networks.averaging import RunningAverage

STRETCH_STEPS = 500
SHOWN_EVERY_STEPS = 200
WARM_SHARE = 0.15
LEAST_RATE_RATIO = 1 / 250


class Recipe(Protocol):
    """What decides a descent besides the network and its samples; its ``repr`` names all of it."""

    @property
    def steps(self) -> int: ...
    @property
    def peak_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def average_decay(self) -> float: ...
    @property
    def seed(self) -> int: ...


class Stream(Protocol):
    """Where samples come from."""

    def restart(self, rng: np.random.Generator) -> None:
        """Forget what was drawn and draw from ``rng`` from now on."""


def descend(
    network: nn.Module,
    stream: Stream,
    loss: Callable[[], tuple[Tensor, Tensor]],
    recipe: Recipe,
    *,
    clip: float,
    name: str,
    progress: Path | None,
) -> None:
    """The weights of ``network`` are their average after ``recipe.steps`` more steps.

    Args:
        network: has parameters alone, no other state.
        stream: what ``loss`` draws from.
        loss: of the next batch, and what is shown of it.
        recipe: everything else that decides the result.
        clip: no gradient is longer.
        name: of what is shown, on stderr.
        progress: a file to keep the state in, and to go on from if it is there and of this recipe.
    """
    average = RunningAverage(network, recipe.average_decay)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay)
    state, told = nn.ModuleList([network, average]), repr(recipe)
    first = 0
    if progress is not None and resumable.holds_training(progress, told):
        first = resumable.load_training(progress, state, optimizer, told)
    shown = 0.0
    for step in range(first, recipe.steps):
        if step % STRETCH_STEPS == 0:
            if progress is not None and step > first:
                resumable.save_training(progress, state, optimizer, step, told)
            stream.restart(np.random.default_rng([recipe.seed, step // STRETCH_STEPS]))
        set_rate(optimizer, rate_at(step, recipe.steps, recipe.peak_rate))
        value, seen = loss()
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        average.update(step)
        shown += (float(seen.detach()) - shown) * (0.02 if step > first + 50 else 1 / (step - first + 1))
        if (step + 1) % SHOWN_EVERY_STEPS == 0:
            print(f"{name} {shown:.4f} at step {step + 1}/{recipe.steps}", file=sys.stderr)
    average.write_back()
    if progress is not None:
        progress.unlink(missing_ok=True)


def rate_at(step: int, steps: int, peak_rate: float) -> float:
    """The learning rate of one cycle: up by a cosine for the first part, down by one to the end."""
    warm = max(1.0, WARM_SHARE * steps)
    least = peak_rate * LEAST_RATE_RATIO
    if step < warm:
        rise = 0.5 - 0.5 * math.cos(math.pi * step / warm)
        return least * 10 + (peak_rate - least * 10) * rise
    fall = 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1.0, steps - warm))
    return least + (peak_rate - least) * fall


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
