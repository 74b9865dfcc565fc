"""Draws what the scene network learns from: augmented crops of real, varied and simulated scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from payload.types import U8, Grid
from tools.material import IGNORED_LABEL, Grids, Patch, encode
from tools.networks import clear_grounds
from tools.networks.profiles import FULL, hide
from tools.networks.synthetic_clouds import CloudMaker, fractal_fields

CROP_PX = 192
OFFSET_DEVIATION = {
    Grid.R10M: np.float32([0.006, 0.004, 0.004, 0.004]),
    Grid.R20M: np.float32([0.004, 0.004, 0.004, 0.004, 0.003, 0.003]),
    Grid.R60M: np.float32([0.008, 0.005, 0.0005]),
}


KEPT_SAMPLES = 320
FIRST_SAMPLES = 48
BLANK_SHARE = 0.2
MISSING_BANDS_SHARE = 0.15
MAX_MISSING_BANDS = 3

Sample = tuple[dict[Grid, U8], U8]
"""Codes per grid, and the label."""


@dataclass(frozen=True)
class SceneRecipe:
    """Everything that decides a training run besides the patches.

    ``fresh`` samples of a batch are new, the others are seen again. ``clear_share`` of the samples
    are clear patches and ``simulated_share`` are simulated scenes; the others are labelled
    patches. ``ground_share`` of the clear ones become another ground, ``snow_share`` snow and
    ``bare_share`` bare ground; ``roof_share`` get roofs,
    ``glint_share`` glint and ``cloudy_share`` synthetic clouds; so do ``labelled_cloudy_share`` of the
    labelled patches. ``profile``: whose bands there are.
    """

    widths: tuple[int, int, int] = (32, 64, 128)
    steps: int = 1200
    batch: int = 8
    fresh: int = 4
    peak_rate: float = 1.5e-3
    weight_decay: float = 0.02
    average_decay: float = 0.995
    clear_share: float = 0.3
    simulated_share: float = 0.15
    ground_share: float = 0.05
    snow_share: float = 0.15
    bare_share: float = 0.07
    cloudy_share: float = 0.7
    labelled_cloudy_share: float = 0.25
    roof_share: float = 0.06
    glint_share: float = 0.03
    class_weights: tuple[float, float, float, float] = (1.0, 1.2, 2.2, 1.6)
    profile: str = FULL
    seed: int = 0


PRETRAINING = SceneRecipe(
    steps=3000,
    peak_rate=2e-3,
    clear_share=0.0,
    simulated_share=1.0,
    class_weights=(1.0, 1.2, 2.2, 2.2),
)
"""What every network begins with: simulated scenes alone, which show nobody's place."""

TUNING = SceneRecipe(steps=4000)
"""What follows: labelled patches, clear ground under synthetic clouds, and still some simulated scenes:
without them cirrus is forgotten, with many the outlines of labels are."""


def crop(rng: np.random.Generator, patch: Patch) -> tuple[Grids, U8]:
    """A square of CROP_PX of a patch and its label; what lies past its edge is no data, not sure."""
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


def _lose_bands(rng: np.random.Generator, codes: dict[Grid, U8]) -> None:
    """Take whole bands away, in place, as a dead detector or another instrument would."""
    places = [(grid, band) for grid in Grid for band in range(len(codes[grid]))]
    for number in rng.choice(len(places), int(rng.integers(1, MAX_MISSING_BANDS + 1)), replace=False):
        grid, band = places[int(number)]
        codes[grid][band] = 0


def augment(rng: np.random.Generator, grids: Grids, label: U8, profile: str = FULL) -> Sample:
    """One crop as codes of ``profile``: jittered, turned, now and then with a border or bands missing."""
    grids = _jitter(rng, grids)
    quarters, flip = int(rng.integers(0, 4)), bool(rng.random() < 0.5)
    codes = {grid: _turn(encode(plane), quarters, flip=flip).copy() for grid, plane in grids.items()}
    label = _turn(label, quarters, flip=flip).copy()
    if rng.random() < BLANK_SHARE:
        _blank(rng, codes, label)
    if rng.random() < MISSING_BANDS_SHARE:
        _lose_bands(rng, codes)
    hide(codes, profile)
    return codes, label


@dataclass(frozen=True, eq=False)
class Grounds:
    """What samples are drawn from. ``simulated`` patches have the labels of their own truth."""

    labelled: Sequence[Patch]
    clear: Sequence[Patch]
    simulated: Sequence[Patch] = ()


class SampleStream:
    """Batches of which one part is drawn afresh and the rest is seen again, turned.

    Drawing costs a quarter of learning; a sample is worth more than one look.
    """

    def __init__(self, grounds: Grounds, recipe: SceneRecipe) -> None:
        self._grounds = grounds
        self._recipe = recipe
        self._clouds = CloudMaker(fractal_fields(np.random.default_rng(recipe.seed)))
        self._kept: list[Sample] = []
        self.restart(np.random.default_rng(recipe.seed))

    def restart(self, rng: np.random.Generator) -> None:
        """Forget what was drawn and draw from ``rng`` from now on."""
        self._rng = rng
        self._kept = []

    def _fresh(self) -> Sample:
        return augment(self._rng, *self._drawn(), self._recipe.profile)

    def _drawn(self) -> tuple[Grids, U8]:
        """A simulated, clear or labelled crop, by the recipe's shares."""
        rng, recipe, grounds = self._rng, self._recipe, self._grounds
        chance = rng.random()
        if grounds.simulated and chance < recipe.simulated_share:
            return crop(rng, _any(rng, grounds.simulated))
        if grounds.clear and chance < recipe.simulated_share + recipe.clear_share:
            return self._clear(_any(rng, grounds.clear))
        if not grounds.labelled:
            return crop(rng, _any(rng, grounds.simulated or grounds.clear))
        grids, label = crop(rng, _any(rng, grounds.labelled))
        if rng.random() < recipe.labelled_cloudy_share:
            grids, added = self._clouds.add(rng, grids, retint=False)
            label = _merge_labels(label, added)
        return grids, label

    def _clear(self, patch: Patch) -> tuple[Grids, U8]:
        """A clear patch, perhaps as another ground, with roofs or glint, perhaps under clouds."""
        rng, recipe = self._rng, self._recipe
        grids, label = crop(rng, patch)
        grids, is_other = self._another(grids)
        chance = rng.random()
        if chance < recipe.roof_share:
            grids = clear_grounds.add_roofs(rng, grids)
        elif chance < recipe.roof_share + recipe.glint_share:
            grids = clear_grounds.add_glint(rng, grids, _any(rng, self._clouds.fields))
        if rng.random() < recipe.cloudy_share:
            grids, label = self._clouds.add(rng, grids, retint=not is_other)
        return grids, label

    def _another(self, grids: Grids) -> tuple[Grids, bool]:
        """The same or another ground, and whether it is another; where data are missing it stays."""
        rng, recipe = self._rng, self._recipe
        chance = rng.random()
        if not grids[Grid.R10M].all():
            return grids, False
        if chance < recipe.ground_share:
            return clear_grounds.other_ground(rng, grids), True
        for share, kinds in (
            (recipe.snow_share, clear_grounds.SNOW),
            (recipe.bare_share, clear_grounds.BARE),
        ):
            chance -= share
            if chance < recipe.ground_share:
                return clear_grounds.covered_ground(rng, grids, self._clouds.fields, kinds), True
        return grids, False

    def _again(self) -> Sample:
        codes, label = _any(self._rng, self._kept)
        quarters, flip = int(self._rng.integers(0, 4)), bool(self._rng.random() < 0.5)
        turned = {grid: _turn(plane, quarters, flip=flip) for grid, plane in codes.items()}
        return turned, _turn(label, quarters, flip=flip)

    def batch(self) -> tuple[list[Tensor], Tensor]:
        """Codes per grid as float (batch, band, row, col), and labels (batch, row, col)."""
        wanted = self._recipe.fresh if self._kept else max(FIRST_SAMPLES, self._recipe.fresh)
        fresh = [self._fresh() for _ in range(wanted)]
        self._kept = [*self._kept, *fresh][-KEPT_SAMPLES:]
        fresh = fresh[: self._recipe.fresh]
        again = [self._again() for _ in range(self._recipe.batch - self._recipe.fresh)]
        samples = [*fresh, *again]
        inputs = [torch.from_numpy(np.stack([codes[grid] for codes, _ in samples])).float() for grid in Grid]
        return inputs, torch.from_numpy(np.stack([label for _, label in samples]).astype(np.int64))


Drawn = TypeVar("Drawn")


def _any(rng: np.random.Generator, things: Sequence[Drawn]) -> Drawn:
    return things[int(rng.integers(0, len(things)))]
