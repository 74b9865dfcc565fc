"""A training that can be cut off: weights, optimizer and step are kept in one file of arrays, no pickle.

For networks with normalisation, whose running means are no parameters but belong to the state,
and for runs that must not be mixed up: a file left by another recipe is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tools.whole import whole

SAVE_EVERY = SHOW_EVERY = 250


def run(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_at: Callable[[int], Tensor],
    steps: int,
    peak_rates: list[float],
    *,
    name: str,
    recipe: str,
    keep: Path | None,
) -> None:
    """Take ``steps`` steps on ``loss_at(step)``, which must hang on nothing but the step and the network.

    ``keep`` holds the state on the way; one that is there is gone on with, and the weights at the
    end are those of a training that was never cut off. ``name`` stands before what is printed.
    """
    begun = 0
    if keep is not None and keep.exists():
        begun = load_training(keep, network, optimizer, recipe)
    network.train()
    shown = 0.0
    for step in range(begun, steps):
        loss = loss_at(step)
        set_cosine_rate(optimizer, step, steps, peak_rates)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shown += (float(loss.detach()) - shown) / min(step - begun + 1, 50)
        if (step + 1) % SHOW_EVERY == 0:
            print(f"{name} step {step + 1}/{steps} loss {shown:.3g}", file=sys.stderr)
        if keep is not None and (step + 1) % SAVE_EVERY == 0:
            save_training(keep, network, optimizer, step + 1, recipe)
    network.eval()


def save_training(
    path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, step: int, recipe: str
) -> None:
    """Write the state after ``step`` steps; ``path`` holds the old state or the new one, whole.

    ``recipe`` names all that decides the run: `load_training` refuses another one.
    """
    arrays = {f"weight/{key}": value.detach().numpy() for key, value in network.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            arrays[f"optimizer/{number}/{key}"] = np.asarray(value)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, about=np.array(json.dumps({"step": step, "recipe": recipe})), **arrays)


def holds_training(path: Path, recipe: str) -> bool:
    """Whether ``path`` is there and belongs to ``recipe``."""
    if not path.exists():
        return False
    with np.load(path, allow_pickle=False) as arrays:
        return "about" in arrays and bool(json.loads(str(arrays["about"]))["recipe"] == recipe)


def load_training(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer, recipe: str) -> int:
    """Bring both back to where `save_training` left them; the number of steps done.

    Raises:
        ValueError: the file belongs to another recipe.
    """
    with np.load(path, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["about"]))
        if about["recipe"] != recipe:
            raise ValueError(f"{path}: left by another training; remove it or choose another folder")
        weights: dict[str, torch.Tensor] = {}
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name in arrays.files:
            kind, _, rest = name.partition("/")
            if kind == "weight":
                weights[rest] = torch.from_numpy(arrays[name])
            elif kind == "optimizer":
                number, _, key = rest.partition("/")
                moments.setdefault(int(number), {})[key] = torch.from_numpy(np.array(arrays[name]))
    network.load_state_dict(weights)
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return int(about["step"])


def set_cosine_rate(
    optimizer: torch.optim.Optimizer, step: int, steps: int, peak_rates: list[float], warm: int = 50
) -> None:
    """The rate of each group at ``step``: up in a straight line, down to 1 % as a cosine."""
    warming = min(1.0, (step + 1) / warm)
    share = warming * (0.01 + 0.99 * (1 + np.cos(np.pi * step / steps)) / 2)
    for group, peak in zip(optimizer.param_groups, peak_rates, strict=True):
        group["lr"] = peak * share
