"""Training that can be taken up again: everything a step depends on, in one file of arrays.

Random numbers come from the seed and the number of the stretch of steps, so that none have to
be kept; a run that is taken up at the start of a stretch ends with the same weights as one
that was never cut off.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tools.networks.averaging import RunningAverage
from tools.whole import whole

STRETCH_STEPS = 500
WARM_SHARE = 0.15
LEAST_RATE_RATIO = 1 / 250


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


def stretch_rng(seed: int, step: int) -> np.random.Generator:
    """The random numbers of the stretch that begins at ``step``."""
    return np.random.default_rng([seed, step // STRETCH_STEPS])


def save_progress(
    path: Path, step: int, network: nn.Module, optimizer: torch.optim.Optimizer, average: RunningAverage
) -> None:
    """Keep the state before ``step``; the file is complete or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {"step": np.array(step)}
    for number, parameter in enumerate(network.parameters()):
        arrays[f"parameter{number}"] = parameter.detach().contiguous().numpy()
        arrays[f"mean{number}"] = average.means[number].contiguous().numpy()
        for name, value in optimizer.state[parameter].items():
            arrays[f"{name}{number}"] = value.detach().contiguous().numpy()
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def load_progress(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, average: RunningAverage
) -> int:
    """Take up what `save_progress` kept; the step to go on with, 0 where nothing is kept."""
    if not path.exists():
        return 0
    with np.load(path, allow_pickle=False) as arrays, torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.from_numpy(arrays[f"parameter{number}"]))
            average.means[number].copy_(torch.from_numpy(arrays[f"mean{number}"]))
            optimizer.state[parameter] = {
                "step": torch.from_numpy(arrays[f"step{number}"]),
                "exp_avg": torch.empty_like(parameter).copy_(torch.from_numpy(arrays[f"exp_avg{number}"])),
                "exp_avg_sq": torch.empty_like(parameter).copy_(
                    torch.from_numpy(arrays[f"exp_avg_sq{number}"])
                ),
            }
        return int(arrays["step"])
