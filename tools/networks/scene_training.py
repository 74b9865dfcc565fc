"""Trains the scene network: batches of augmented crops, a fixed number of steps, no selection."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from payload.types import U8, Grid
from tools.material import IGNORED_LABEL, Patch, window_codes
from tools.networks import resuming
from tools.networks.averaging import RunningAverage
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork, build_scene_network
from tools.networks.scene_samples import Grounds, SampleStream, SceneRecipe
from tools.networks.seven_bits import keep_rounded, round_weights

PHASE_PX = 48
SMOOTHING = 0.03
SHOWN_EVERY_STEPS = 200


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
    average = RunningAverage(network, recipe.average_decay)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay)
    weights = torch.tensor(recipe.class_weights)
    first = 0
    if progress is not None:
        first = resuming.load_progress(progress, network, optimizer, average)
    shown = 0.0
    for step in range(first, recipe.steps):
        if step % resuming.STRETCH_STEPS == 0:
            if progress is not None and step > first:
                resuming.save_progress(progress, step, network, optimizer, average)
            stream.restart(resuming.stretch_rng(recipe.seed, step))
        resuming.set_rate(optimizer, resuming.rate_at(step, recipe.steps, recipe.peak_rate))
        loss = _loss(network, *stream.batch(), weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.update(step)
        shown += (loss.item() - shown) * (0.02 if step > first + 50 else 1 / (step - first + 1))
        if (step + 1) % SHOWN_EVERY_STEPS == 0:
            print(f"scene {note} step {step + 1}/{recipe.steps} loss {shown:.4f}", file=sys.stderr)
    average.write_back()
    keep_rounded(network)
    if progress is not None:
        progress.unlink(missing_ok=True)
    return network.to(memory_format=torch.contiguous_format).eval()


def classify(network: SceneNetwork, patch: Patch) -> U8:
    """Classes (row, col) of a patch, cut as flight cuts a strip of one tile."""
    codes = window_codes(patch.grids, RECEPTIVE_PX, PHASE_PX)
    inputs = [torch.from_numpy(codes[grid][None]).float() for grid in Grid]
    with torch.no_grad():
        classes = network(*inputs).argmax(1)[0].numpy().astype(np.uint8)
    rows, cols = patch.grids[Grid.R10M].shape[1:]
    return classes[RECEPTIVE_PX : RECEPTIVE_PX + rows, RECEPTIVE_PX : RECEPTIVE_PX + cols]
