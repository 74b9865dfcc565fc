"""Trains the scene network: batches of augmented crops, a fixed number of steps, no selection."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from payload.types import U8, Grid
from tools.material import IGNORED_LABEL, Grids, Patch, encode, window_codes
from tools.networks.averaging import RunningAverage
from tools.networks.scene_network import RECEPTIVE_PX, SceneNetwork, build_scene_network
from tools.networks.seven_bits import keep_rounded, round_weights
from tools.networks.synthetic_clouds import CloudMaker, fractal_fields

CROP_PX = 192
PHASE_PX = 48
OFFSET_DEVIATION = {
    Grid.R10M: np.float32([0.006, 0.004, 0.004, 0.004]),
    Grid.R20M: np.float32([0.004, 0.004, 0.004, 0.004, 0.003, 0.003]),
    Grid.R60M: np.float32([0.008, 0.005, 0.0005]),
}


KEPT_SAMPLES = 256

Sample = tuple[dict[Grid, U8], U8]
"""Codes per grid, and the label."""


@dataclass(frozen=True)
class SceneRecipe:
    """Everything that decides a training run besides the patches.

    ``fresh`` samples of a batch are new, the others are seen again. ``clear_share`` of the
    samples are clear patches, ``cloudy_share`` of those get synthetic clouds; so do
    ``labelled_cloudy_share`` of the labelled patches.
    """

    widths: tuple[int, int, int] = (32, 64, 96)
    steps: int = 2800
    batch: int = 8
    fresh: int = 4
    peak_rate: float = 2e-3
    weight_decay: float = 0.02
    average_decay: float = 0.995
    clear_share: float = 0.4
    cloudy_share: float = 0.7
    labelled_cloudy_share: float = 0.25
    class_weights: tuple[float, float, float, float] = (1.0, 1.2, 2.5, 2.2)
    seed: int = 0


def _crop(rng: np.random.Generator, patch: Patch) -> tuple[Grids, U8]:
    rows, cols = patch.grids[Grid.R10M].shape[1:]
    row, col = (6 * int(rng.integers(0, max(size - CROP_PX, 0) // 6 + 1)) for size in (rows, cols))
    grids = {}
    for grid, plane in patch.grids.items():
        size = CROP_PX // grid
        piece = plane[:, row // grid : row // grid + size, col // grid : col // grid + size]
        short = [size - piece.shape[1], size - piece.shape[2]]
        grids[grid] = np.pad(piece, ((0, 0), (0, short[0]), (0, short[1])))
    label = np.zeros((rows, cols), np.uint8) if patch.label is None else patch.label
    label = label[row : row + CROP_PX, col : col + CROP_PX]
    short = [CROP_PX - size for size in label.shape]
    return grids, np.pad(label, ((0, short[0]), (0, short[1])), constant_values=IGNORED_LABEL)


def _jitter(rng: np.random.Generator, grids: Grids) -> Grids:
    """Gain and offset errors, other suns, and noise; no data stays no data."""
    gain = np.exp(rng.normal(0, 0.12))
    noise = rng.uniform(0, 0.003)
    changed = {}
    for grid, plane in grids.items():
        band_gain = np.float32(gain * np.exp(rng.normal(0, 0.025, len(plane))))
        offset = np.float32(rng.normal(0, 1, len(plane)) * OFFSET_DEVIATION[grid])
        moved = plane * band_gain[:, None, None] + offset[:, None, None]
        grain = np.float32(noise * (0.1 if grid is Grid.R60M else 1.0))
        moved = moved + grain * rng.standard_normal(plane.shape, np.float32)
        changed[grid] = np.where(plane != 0, np.maximum(moved, np.float32(1e-5)), np.float32(0))
    return changed


def _turn(array: np.ndarray, quarters: int, *, flip: bool) -> np.ndarray:
    turned = np.rot90(array, quarters, (-2, -1))
    return turned[..., ::-1] if flip else turned


def _blank(rng: np.random.Generator, codes: dict[Grid, U8], label: U8) -> None:
    """Take away a border or a slanted wedge, in place, as at the edge of a swath."""
    coarse = np.indices((CROP_PX // 6, CROP_PX // 6)).astype(np.float32) * 6
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.integers(0, 4) * np.pi / 2
    distance = (coarse[0] - CROP_PX / 2) * np.cos(angle) + (coarse[1] - CROP_PX / 2) * np.sin(angle)
    gone = distance > rng.uniform(0.05, 0.48) * CROP_PX
    for grid, plane in codes.items():
        plane[:, np.kron(gone, np.ones((6 // grid, 6 // grid), bool))] = 0
    label[np.kron(gone, np.ones((6, 6), bool))] = IGNORED_LABEL


def _merge_labels(below: U8, added: U8) -> U8:
    """The label of a labelled scene under added clouds; what was cloud stays at least that."""
    was_cloud = (below == 1) | (below == 2)
    merged = np.where(added == 0, below, added)
    merged = np.where(was_cloud & (added != 1), below, merged)
    return np.where(below == IGNORED_LABEL, IGNORED_LABEL, merged).astype(np.uint8)


def draw_sample(rng: np.random.Generator, patch: Patch, clouds: CloudMaker, *, add_cloud: bool) -> Sample:
    """One augmented crop: codes per grid, and the label."""
    grids, label = _crop(rng, patch)
    if add_cloud:
        grids, added = clouds.add(rng, grids, retint=patch.label is None)
        label = _merge_labels(label, added)
    grids = _jitter(rng, grids)
    quarters, flip = int(rng.integers(0, 4)), bool(rng.random() < 0.5)
    codes = {grid: _turn(encode(plane), quarters, flip=flip).copy() for grid, plane in grids.items()}
    label = _turn(label, quarters, flip=flip).copy()
    if rng.random() < 0.25:
        _blank(rng, codes, label)
    return codes, label


class SampleStream:
    """Batches of which one part is drawn afresh and the rest is seen again, turned.

    Drawing costs as much as learning; a sample is worth more than one look.
    """

    def __init__(self, labelled: Sequence[Patch], clear: Sequence[Patch], recipe: SceneRecipe) -> None:
        self._labelled = labelled
        self._clear = clear
        self._recipe = recipe
        self._rng = np.random.default_rng(recipe.seed)
        self._clouds = CloudMaker(fractal_fields(self._rng))
        self._kept: list[Sample] = []

    def _fresh(self) -> Sample:
        rng, recipe = self._rng, self._recipe
        use_clear = bool(self._clear) and rng.random() < recipe.clear_share
        pool = self._clear if use_clear else self._labelled
        patch = pool[int(rng.integers(0, len(pool)))]
        add_cloud = rng.random() < (recipe.cloudy_share if use_clear else recipe.labelled_cloudy_share)
        return draw_sample(rng, patch, self._clouds, add_cloud=add_cloud)

    def _again(self) -> Sample:
        codes, label = self._kept[int(self._rng.integers(0, len(self._kept)))]
        quarters, flip = int(self._rng.integers(0, 4)), bool(self._rng.random() < 0.5)
        turned = {grid: _turn(plane, quarters, flip=flip) for grid, plane in codes.items()}
        return turned, _turn(label, quarters, flip=flip)

    def batch(self) -> tuple[list[Tensor], Tensor]:
        """Codes per grid as float (batch, band, row, col), and labels (batch, row, col)."""
        fresh = [self._fresh() for _ in range(self._recipe.fresh)]
        self._kept = [*self._kept, *fresh][-KEPT_SAMPLES:]
        again = [self._again() for _ in range(self._recipe.batch - self._recipe.fresh)]
        samples = [*fresh, *again]
        inputs = [torch.from_numpy(np.stack([codes[grid] for codes, _ in samples])).float() for grid in Grid]
        return inputs, torch.from_numpy(np.stack([label for _, label in samples]).astype(np.int64))


def train_scene(
    labelled: Sequence[Patch], clear: Sequence[Patch], recipe: SceneRecipe, note: str = ""
) -> SceneNetwork:
    """The average of the network's weights at the end of ``recipe.steps`` steps."""
    stream = SampleStream(labelled, clear, recipe)
    network = build_scene_network(recipe.widths, recipe.seed).to(memory_format=torch.channels_last)
    round_weights(network)
    average = RunningAverage(network, recipe.average_decay)
    optimizer = torch.optim.AdamW(network.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_rate, total_steps=recipe.steps, pct_start=0.15
    )
    weights = torch.tensor(recipe.class_weights)
    smooth_loss = 0.0
    for step in range(recipe.steps):
        inputs, label = stream.batch()
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in inputs]
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(*inputs)
        loss = functional.cross_entropy(
            logits.float(), label, weights, ignore_index=IGNORED_LABEL, label_smoothing=0.03
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.update(step)
        smooth_loss += (loss.item() - smooth_loss) * (0.02 if step > 50 else 1 / (step + 1))
        if (step + 1) % 200 == 0:
            print(f"scene {note} step {step + 1}/{recipe.steps} loss {smooth_loss:.4f}", file=sys.stderr)
    average.write_back()
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
