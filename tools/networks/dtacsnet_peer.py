"""DTACSNet's scene network, trained on what ours is trained on: the peer without its own data.

The architecture is the published one (`tools.bench.dtacsnet`): a U-Net with a mobilenet_v2 encoder over
13 bands at 10 m, 14 times our multiplications. Samples, folds and losses are ours; its inputs are
reflectances, coarse bands repeated. Nothing is rounded: it does not fly.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.types import BANDS_OF_GRID, F32, U8, Band, Grid
from tools.bench.dtacsnet import build_networks
from tools.material import FILE_BANDS, clear_patches, labelled_patches, simulated_patches
from tools.networks import checkpoint, descent
from tools.networks.folds import fold_folder, fold_of_place, outside
from tools.networks.scene_samples import PRETRAINING, TUNING, Grounds, SampleStream, SceneRecipe
from tools.networks.scene_training import class_loss

NAME = "dtacsnet"
ALL_PLACES = "all_places"
BLOCK_PX = 32
PLACES = [FILE_BANDS.index(band) for bands in BANDS_OF_GRID.values() for band in bands]
SHOWN_EVERY_STEPS = 50

FIRST = replace(PRETRAINING, steps=250, peak_rate=1e-3)
"""Simulated scenes alone. A step costs what nine of ours do: it gets our time, not our steps."""

SECOND = replace(TUNING, steps=300, peak_rate=1e-3)
"""The mixture of our tuning."""


def folder_of(out: Path) -> Path:
    """Where its networks are kept, beside ours."""
    return out / NAME


def stack_of(inputs: list[Tensor]) -> Tensor:
    """Codes per grid to reflectance (N, 13, R, C) in the order of the files, coarse pixels repeated."""
    planes = [
        functional.interpolate((codes / 255).square() * FULL_SCALE_REFLECTANCE, scale_factor=float(grid))
        for grid, codes in zip(Grid, inputs, strict=True)
    ]
    return torch.cat(planes, 1)[:, np.argsort(PLACES)]


def train_peer(grounds: Grounds, recipe: SceneRecipe, note: str, start: nn.Module | None) -> nn.Module:
    """The network after ``recipe.steps`` steps from ``start``, or from random weights."""
    network = build_networks()[0].train().to(memory_format=torch.channels_last)
    if start is not None:
        network.load_state_dict(start.state_dict())
    stream = SampleStream(grounds, recipe)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay)
    weights = torch.tensor(recipe.class_weights)
    shown = 0.0
    for step in range(recipe.steps):
        descent.set_rate(optimizer, descent.rate_at(step, recipe.steps, recipe.peak_rate))
        inputs, label = stream.batch()
        stack = stack_of(inputs).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(stack)
        loss = class_loss(logits, label, weights)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        shown += (loss.item() - shown) * max(0.02, 1 / (step + 1))
        if (step + 1) % SHOWN_EVERY_STEPS == 0:
            print(f"{NAME} {note} step {step + 1}/{recipe.steps} loss {shown:.4f}", file=sys.stderr)
    return network.to(memory_format=torch.contiguous_format).eval()


def _keep(
    grounds: Grounds,
    recipe: SceneRecipe,
    folder: Path,
    note: str,
    start: nn.Module | None,
    told: Mapping[str, object] | None = None,
) -> nn.Module:
    """The network of a recipe, trained unless ``folder`` has it already; ``told`` goes into its record."""
    record = {"recipe": asdict(recipe), **(told or {})}
    if checkpoint.holds(record, folder, NAME):
        return load_peer(folder)
    network = train_peer(grounds, recipe, note, start)
    checkpoint.save(network, record, folder, NAME)
    return network


def pretrain_peer(simulated: Path, recipe: SceneRecipe, out: Path) -> None:
    """The network that saw simulated scenes alone, into ``out``."""
    _keep(Grounds([], [], simulated_patches(simulated)), recipe, folder_of(out), "simulated", None)


def tune_peer(shared: Path, simulated: Path, fold: int | None, recipe: SceneRecipe, out: Path) -> None:
    """The network that has not seen the places of ``fold``, or with None has seen all, into its folder."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    labelled, clear = labelled_patches(shared), clear_patches(shared, "train")
    folds = fold_of_place(labelled)
    own, note = folder_of(out), "all places"
    target = own / ALL_PLACES
    if fold is not None:
        labelled, clear = outside(labelled, folds, fold), outside(clear, folds, fold)
        target, note = fold_folder(own, fold), f"fold {fold}"
    grounds = Grounds(labelled, clear, simulated_patches(simulated))
    _keep(grounds, recipe, target, note, load_peer(own), {"folds": folds})


def folds_of(out: Path) -> dict[str, int]:
    """The fold of every place that it was tuned on."""
    folds: dict[str, int] = checkpoint.load_record(folder_of(out) / ALL_PLACES, NAME)["folds"]
    return folds


def load_tuned(out: Path, fold: int | None) -> nn.Module:
    """The network that left ``fold`` out, or with None the one of all places."""
    own = folder_of(out)
    return load_peer(own / ALL_PLACES if fold is None else fold_folder(own, fold))


def load_peer(folder: Path) -> nn.Module:
    """The network kept in ``folder``."""
    network = build_networks()[0]
    checkpoint.load_weights(network, folder, NAME)
    return network.eval()


def classify(network: nn.Module, planes: Mapping[Band, F32]) -> U8:
    """Classes (row, col) of a whole image at 10 m."""
    stack = torch.from_numpy(np.stack([planes[band] for band in FILE_BANDS])[None])
    rows, cols = stack.shape[2:]
    padded = functional.pad(stack, (0, -cols % BLOCK_PX, 0, -rows % BLOCK_PX))
    with torch.no_grad():
        classes: Tensor = network(padded).argmax(1)[0, :rows, :cols]
    return classes.numpy().astype(np.uint8)
