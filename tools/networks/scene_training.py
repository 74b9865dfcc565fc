"""Trains the scene network: batches of augmented crops, a fixed number of steps, no selection."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from payload.types import U8, Grid
from tools.material import IGNORED_LABEL, Patch, window_codes
from tools.networks.descent import descend
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork, build_scene_network
from tools.networks.scene_samples import Grounds, SampleStream, SceneRecipe
from tools.networks.seven_bits import keep_rounded, round_weights

PHASE_PX = 48
SMOOTHING = 0.03


def class_loss(logits: Tensor, label: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy of (N, 4, R, C) with (N, R, C), weighted by class; what nobody is sure of is left out."""
    return functional.cross_entropy(
        logits.float(), label, weights, ignore_index=IGNORED_LABEL, label_smoothing=SMOOTHING
    )


def _loss(network: SceneNetwork, inputs: list[Tensor], label: Tensor, weights: Tensor) -> Tensor:
    inputs = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(*inputs)
    return class_loss(logits, label, weights)


def train_scene(
    grounds: Grounds,
    recipe: SceneRecipe,
    note: str = "",
    progress: Path | None = None,
    start: SceneNetwork | None = None,
) -> SceneNetwork:
    """The average of the network's weights at the end of ``recipe.steps`` steps.

    Args:
        grounds: what samples are drawn from.
        recipe: everything else that decides the result.
        note: stands before each line of progress on stderr.
        progress: a file to keep the state in, and to go on from if it is there.
        start: weights to begin with (fine-tuning) instead of random ones.
    """
    stream = SampleStream(grounds, recipe)
    network = build_scene_network(recipe.widths, recipe.seed).to(memory_format=torch.channels_last)
    if start is not None:
        network.load_state_dict(start.state_dict())
    round_weights(network)
    weights = torch.tensor(recipe.class_weights)

    def loss() -> tuple[Tensor, Tensor]:
        value = _loss(network, *stream.batch(), weights)
        return value, value

    descend(network, stream, loss, recipe, clip=1.0, name=f"scene {note} loss", progress=progress)
    keep_rounded(network)
    return network.to(memory_format=torch.contiguous_format).eval()


def classify(network: SceneNetwork, patch: Patch) -> U8:
    """Classes (row, col) of a patch, cut as flight cuts a strip of one tile."""
    codes = window_codes(patch.grids, RECEPTIVE_PX, PHASE_PX)
    inputs = [torch.from_numpy(codes[grid][None]).float() for grid in Grid]
    with torch.no_grad():
        classes = network(*inputs).argmax(1)[0].numpy().astype(np.uint8)
    rows, cols = patch.grids[Grid.R10M].shape[1:]
    return classes[RECEPTIVE_PX : RECEPTIVE_PX + rows, RECEPTIVE_PX : RECEPTIVE_PX + cols]
