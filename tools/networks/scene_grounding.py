"""Teaches a network that flies grounds it takes for cloud, and to answer elsewhere as before.

Half of a batch is clear ground as snow, bare soil and rock, or with roofs (`clear_grounds`), under
synthetic clouds or none, with its own truth. The other half is what the network was trained on;
there the truth is what the network that flies says of it (learning without forgetting: Li and
Hoiem 2016), so that no line between cloud and clear moves but those the new grounds need.

It begins with the float32 weights in a model folder, so the same command ends with the same
weights wherever that folder is.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from tools.material import IGNORED_LABEL
from tools.networks import resuming
from tools.networks.averaging import RunningAverage
from tools.networks.scene_network import CODES_PER_UNIT, SceneNetwork
from tools.networks.scene_samples import CLOSING, Grounds, SampleStream, SceneRecipe
from tools.networks.seven_bits import keep_rounded, round_weights

STEMS = ("stem10", "stem20", "stem60")
SHOWN_EVERY_STEPS = 50

NEW = SceneRecipe(
    batch=3,
    fresh=2,
    clear_share=1.0,
    simulated_share=0.0,
    ground_share=0.10,
    snow_share=0.40,
    bare_share=0.20,
    cloudy_share=0.5,
    roof_share=0.15,
    glint_share=0.05,
    class_weights=(1.0, 1.2, 1.5, 1.5),
    seed=101,
)
"""What it has to learn. Its truth is known: it was made."""

KNOWN = SceneRecipe(
    batch=6,
    fresh=2,
    clear_share=CLOSING.clear_share,
    simulated_share=0.1,
    ground_share=0.0,
    snow_share=0.0,
    bare_share=0.0,
    roof_share=0.0,
    glint_share=0.02,
    seed=102,
)
"""What it must not forget: the mixture of its closing stage, and some simulated scenes."""


@dataclass(frozen=True)
class Grounding:
    """Everything that decides a run besides the patches and the network it begins with."""

    new: SceneRecipe = NEW
    known: SceneRecipe = KNOWN
    steps: int = 500
    known_weight: float = 3.0
    peak_rate: float = 4e-4
    weight_decay: float = 0.02
    average_decay: float = 0.98


def network_of_onnx(path: Path) -> SceneNetwork:
    """The network whose float32 weights are in ``path``; reads codes as training does."""
    state = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(str(path)).graph.initializer
    }
    widths = [len(state[f"{name}.bias"]) for name in ("encode4", "encode8", "bottom16a")]
    for stem in STEMS:
        state[f"{stem}.weight"] *= CODES_PER_UNIT
    network = SceneNetwork(widths)
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network


def ground(before: SceneNetwork, grounds: Grounds, recipe: Grounding, note: str = "") -> SceneNetwork:
    """The network after ``recipe.steps`` steps from ``before``, which is left as it is.

    ``grounds.labelled`` are looked at, but not their labels: where ``before`` knows its way,
    it is the truth.
    """
    new = SampleStream(Grounds([], grounds.clear), recipe.new)
    known = SampleStream(grounds, recipe.known)
    network = SceneNetwork(before.widths)
    network.load_state_dict(before.state_dict())
    network = network.to(memory_format=torch.channels_last)
    round_weights(network)
    average = RunningAverage(network, recipe.average_decay)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay)
    weights = torch.tensor(recipe.new.class_weights)
    shown = np.zeros(2)
    for step in range(recipe.steps):
        resuming.set_rate(optimizer, resuming.rate_at(step, recipe.steps, recipe.peak_rate))
        taught = _taught(network, *new.batch(), weights)
        kept = _kept(network, before, *known.batch())
        optimizer.zero_grad()
        (taught + recipe.known_weight * kept).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(step)
        shown += (np.array([taught.item(), kept.item()]) - shown) * max(0.05, 1 / (step + 1))
        if (step + 1) % SHOWN_EVERY_STEPS == 0:
            print(f"ground {note} step {step + 1}/{recipe.steps} new {shown[0]:.4f} known {shown[1]:.4f}",
                  file=sys.stderr)  # fmt: skip
    average.write_back()
    keep_rounded(network)
    return network.to(memory_format=torch.contiguous_format).eval()


def _logits(network: SceneNetwork, inputs: list[Tensor]) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        said: Tensor = network(*(x.contiguous(memory_format=torch.channels_last) for x in inputs))
    return said.float()


def _taught(network: SceneNetwork, inputs: list[Tensor], label: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy with the truth."""
    return functional.cross_entropy(_logits(network, inputs), label, weights, ignore_index=IGNORED_LABEL)


def _kept(network: SceneNetwork, before: SceneNetwork, inputs: list[Tensor], _: Tensor) -> Tensor:
    """Cross entropy with what ``before`` says, less its own entropy: 0 where nothing has changed."""
    with torch.no_grad():
        wanted = _logits(before, inputs).softmax(dim=1)
    said = _logits(network, inputs).log_softmax(dim=1)
    return (wanted * (wanted.clamp_min(1e-8).log() - said)).sum(dim=1).mean()
