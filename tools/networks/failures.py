"""Failure cases for a model's card: where the INT8 network is most wrong, as pictures and figures.

All of them are simulated scenes that no network was trained on: real images on which it fails are not ours
to show. For every kind of mistake the scene with the most of it stands; no scene stands twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.types import F32, U8, U16, Band, Grid, SceneClass
from tools.evaluate import flown
from tools.evaluate.clear_run import CLOUD, kinds_of
from tools.material import Patch, simulated_patches, true_colour
from tools.networks.contact_sheet import colour_classes, join, write_png
from tools.simulate.patch_files import at_10m

PICTURE_FILE = "failures.png"
SHRUNK = 2
WORST_SURFACES = 4
LEAST_CLEAR_RATIO = 0.2
ERROR_FULL_SCALE = 0.1

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A simulated scene: as delivered, its label (255 where nobody is sure), its truth."""

    patch: Patch
    counts: Mapping[Grid, U16]
    surface_10m: F32
    truth: Mapping[str, Any]

    @property
    def label(self) -> U8:
        assert self.patch.label is not None
        return self.patch.label


def held_out(folder: Path) -> list[HeldOut]:
    """The scenes that `tools.networks.simulated_scenes` keeps from training."""
    found = []
    for patch in simulated_patches(folder):
        with np.load(folder / f"{patch.name}.npz", allow_pickle=False) as arrays:
            counts = {grid: arrays[f"top_{10 * grid}m"] for grid in Grid}
            surface = arrays["surface_10m"].astype(np.float32)
            found.append(HeldOut(patch, counts, surface, json.loads(str(arrays["truth"]))))
    return found


def _clear_of(scene: HeldOut, kind: str) -> Mask:
    """Clear ground of one kind."""
    planes = dict(zip(Band, at_10m(scene.patch.grids), strict=True))
    return np.asarray(kinds_of(planes)[kind] & (scene.label == SceneClass.CLEAR))


SCENE_MISTAKES: Mapping[str, tuple[Callable[[HeldOut], Mask], Sequence[int]]] = {
    "snow called cloud": (lambda scene: _clear_of(scene, "snow"), CLOUD),
    "other bright ground called cloud": (lambda scene: _clear_of(scene, "bright"), CLOUD),
    "thick cloud called clear": (lambda scene: scene.label == SceneClass.THICK_CLOUD, (SceneClass.CLEAR,)),
    "thin cloud called clear": (lambda scene: scene.label == SceneClass.THIN_CLOUD, (SceneClass.CLEAR,)),
    "shadow called clear": (lambda scene: scene.label == SceneClass.CLOUD_SHADOW, (SceneClass.CLEAR,)),
    "ground called shadow": (lambda scene: scene.label == SceneClass.CLEAR, (SceneClass.CLOUD_SHADOW,)),
}
"""What it is, and what it is called."""


def show_scene(answer: flown.Answer, scenes: Sequence[HeldOut], folder: Path) -> list[dict[str, Any]]:
    """Write the picture; a row for each mistake: ``what``, ``scene``, ``pixels`` of ``of`` in it, and the
    share in ``all_scenes``. Beside each other: true colour, truth, answer."""
    said = [flown.classify(dict(scene.counts), answer) for scene in scenes]
    rows, pictures, shown = [], [], set()
    for what, (which, called) in SCENE_MISTAKES.items():
        masks = [which(scene) for scene in scenes]
        wrong = np.array([(mask & np.isin(k, called)).sum() for mask, k in zip(masks, said, strict=True)])
        order = [number for number in np.argsort(-wrong, kind="stable") if number not in shown]
        worst = int(order[0])
        shown.add(worst)
        of = [int(mask.sum()) for mask in masks]
        rows.append(
            {
                "what": what,
                "scene": scenes[worst].patch.name,
                "pixels": int(wrong[worst]),
                "of": of[worst],
                "all_scenes": round(float(wrong.sum() / max(sum(of), 1)), 4),
            }
        )
        classes = (scenes[worst].label, said[worst])
        pictures.append([true_colour(scenes[worst].patch.grids), *map(colour_classes, classes)])
    write_png(folder / PICTURE_FILE, join([list(map(_shrink, row)) for row in pictures], 2))
    return rows


def show_surface(answer: flown.Answer, scenes: Sequence[HeldOut], folder: Path) -> list[dict[str, Any]]:
    """Write the picture; a row for each of the worst scenes: ``scene``, ``rmse`` of the 10 m bands where it
    is clear, sun and air. Beside each other: as delivered, answer, truth, and how far apart, white at 0.1."""
    errors = []
    for scene in scenes:
        clear = scene.label == SceneClass.CLEAR
        off = flown.correct(dict(scene.counts), answer).reflectance[Grid.R10M] - scene.surface_10m
        rmse = float(np.sqrt(np.mean(off[:, clear] ** 2))) if clear.mean() > LEAST_CLEAR_RATIO else 0.0
        errors.append((rmse, np.where(clear, off, 0)))
    rows, pictures = [], []
    for number in sorted(range(len(scenes)), key=lambda n: -errors[n][0])[:WORST_SURFACES]:
        scene, (rmse, off) = scenes[number], errors[number]
        air = {
            key: round(float(scene.truth[key]), 3) for key in ("sun_zenith_deg", "aerosol_depth", "water_cm")
        }
        rows.append({"scene": scene.patch.name, "rmse": round(rmse, 4), **air})
        grids = [scene.patch.grids, {Grid.R10M: scene.surface_10m + off}, {Grid.R10M: scene.surface_10m}]
        apart = np.clip(np.abs(off).mean(axis=0) / ERROR_FULL_SCALE, 0, 1)
        grey = np.repeat((255 * apart).astype(np.uint8)[..., None], 3, axis=2)
        pictures.append([*(true_colour(dict(one)) for one in grids), grey])
    write_png(folder / PICTURE_FILE, join([list(map(_shrink, row)) for row in pictures], 1))
    return rows


def _shrink(picture: U8) -> U8:
    return picture[::SHRUNK, ::SHRUNK]
