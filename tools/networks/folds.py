"""Splits by place: patches of one place are never on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tools.material import Patch

FOLDS = 5


def fold_of_place(patches: Sequence[Patch], folds: int = FOLDS) -> dict[str, int]:
    """The fold of every place: the largest places first, each into the emptiest fold."""
    counts = Counter(patch.group for patch in patches)
    filled = [0] * folds
    chosen = {}
    for place, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        fold = min(range(folds), key=lambda index: (filled[index], index))
        chosen[place] = fold
        filled[fold] += count
    return chosen


def fold_folder(folder: Path, fold: int) -> Path:
    """Where the network that has not seen ``fold`` is kept."""
    return folder / "folds" / str(fold)


def outside(patches: Sequence[Patch], folds: dict[str, int], fold: int) -> list[Patch]:
    """Patches whose place is not in ``fold``; places that have no fold are always outside."""
    return [patch for patch in patches if folds.get(patch.group) != fold]


def inside(patches: Sequence[Patch], folds: dict[str, int], fold: int) -> list[Patch]:
    return [patch for patch in patches if folds.get(patch.group) == fold]
