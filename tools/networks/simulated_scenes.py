"""The simulated scenes that the scene network learns from and is chosen by; made where they are missing."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tools import progress
from tools.simulate.patch_files import write_patches


@dataclass(frozen=True)
class Scenes:
    """Patches 0 .. ``count`` - 1 of a seed."""

    seed: int
    count: int


TRAINING = Scenes(100, 1600)
HELD_OUT = Scenes(901, 120)
"""What no training sees."""


def make_missing(folder: Path, wanted: Scenes, jobs: int) -> None:
    """Write ``wanted`` with ``jobs`` processes, unless ``folder`` holds them all."""
    if len(list(folder.glob(f"simulated_{wanted.seed}_*.npz"))) >= wanted.count:
        return
    for number, name in enumerate(write_patches(folder, wanted.seed, wanted.count, jobs=jobs), 1):
        progress.show(f"{folder}: {number}/{wanted.count} simulated scenes: {name:<60}")
    progress.end()
    print(f"train: {wanted.count} simulated scenes of seed {wanted.seed} in {folder}", file=sys.stderr)
