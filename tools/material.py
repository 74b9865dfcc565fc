"""Reads the shared Sentinel-2 material into reflectance on the native grids.

The shared files hold 13 (or fewer) bands resampled to 10 m by their sources, as DN =
reflectance x 10000 without offset, 0 where nothing was seen. Native grids are made again by
averaging 2 x 2 and 6 x 6 pixels, zeros left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from payload.core.radiometry import FULL_SCALE_REFLECTANCE
from payload.types import (
    BANDS_OF_GRID,
    COUNTS_OFFSET,
    COUNTS_PER_REFLECTANCE,
    F32,
    U8,
    Band,
    Grid,
)

FILE_BANDS = tuple(Band)
"""Band order of the 13-band files: B01 to B08, B8A, B09 to B12."""

DN_PER_REFLECTANCE = 10000.0
IGNORED_LABEL = 255
PAD_PX = 6

Grids = dict[Grid, F32]
"""Reflectance per native grid, float32 (band, row, col); 0 where there is no data."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A piece of ground: reflectance on its native grids, sizes a multiple of 6 px.

    ``group`` names the place: patches of one group show the same ground or its
    neighbourhood and never stand on both sides of a split. ``label`` is uint8 (row, col),
    255 where nobody is sure; None where the patch has no label.
    """

    name: str
    group: str
    grids: Grids
    label: U8 | None


def encode(reflectance: F32) -> U8:
    """Codes of a reflectance: 0 where it is exactly 0 (no data), else 1..255 by the square root law."""
    root = np.sqrt(np.maximum(reflectance, 0.0) * np.float32(1.0 / FULL_SCALE_REFLECTANCE))
    codes = np.clip(np.rint(255.0 * root), 1, 255).astype(np.uint8)
    codes[reflectance == 0] = 0
    return codes


def average_blocks(plane: F32, pitch: int) -> F32:
    """Means over ``pitch`` x ``pitch`` blocks of (band, row, col); zeros are left out of the mean."""
    bands, rows, cols = plane.shape
    blocks = plane.reshape(bands, rows // pitch, pitch, cols // pitch, pitch)
    seen = (blocks != 0).sum(axis=(2, 4))
    total = blocks.sum(axis=(2, 4), dtype=np.float64)
    return (total / np.maximum(seen, 1)).astype(np.float32)


def native_grids(planes: Mapping[Band, F32]) -> Grids:
    """The native grids of bands given at 10 m; bands that are missing become 0.

    The planes are padded with 0 to a multiple of 6 px.
    """
    rows, cols = next(iter(planes.values())).shape
    pad = ((0, -rows % PAD_PX), (0, -cols % PAD_PX))
    empty = np.zeros((rows, cols), np.float32)
    grids: Grids = {}
    for grid, bands in BANDS_OF_GRID.items():
        stack = np.stack([np.pad(planes.get(band, empty), pad) for band in bands])
        grids[grid] = average_blocks(stack, int(grid)) if grid > 1 else stack
    return grids


def read_planes(path: Path, bands: Iterable[Band] = FILE_BANDS) -> dict[Band, F32]:
    """Reflectance per band of a multi-band file, whichever axis its bands are on."""
    stack = tifffile.imread(path)
    names = tuple(bands)
    if stack.shape[0] != len(names):
        stack = np.moveaxis(stack, -1, 0)
    if stack.shape[0] != len(names):
        raise ValueError(f"{path}: expected {len(names)} bands, found shape {stack.shape}")
    reflectance = stack.astype(np.float32) / np.float32(DN_PER_REFLECTANCE)
    return dict(zip(names, reflectance, strict=True))


def pad_label(label: U8) -> U8:
    """The label padded to a multiple of 6 px with 'not sure'."""
    rows, cols = label.shape
    return np.pad(label, ((0, -rows % PAD_PX), (0, -cols % PAD_PX)), constant_values=IGNORED_LABEL)


PLACES = {
    "EMSR249_15LAHINCH_DEL_v1_observed_event_a": "LAHINCH",
    "4287": "S4_42xx_44xx",
    "4294": "S4_42xx_44xx",
    "4433": "S4_42xx_44xx",
    "4438": "S4_42xx_44xx",
    "5254": "S4_52xx_53xx",
    "5278": "S4_52xx_53xx",
    "5349": "S4_52xx_53xx",
}
"""Groups that look like the same place (ponds; savanna with equal shadow shift) are joined,
so that a split by group cannot leak through neighbours."""


def place_of(group: str) -> str:
    """The name of the place of a group, the same for the labels and for the l1c folder."""
    bare = group.removeprefix("S4_")
    return PLACES.get(bare, bare)


def labelled_patches(shared: Path) -> list[Patch]:
    """All patches of labels/dev, in the order of labels.jsonl."""
    folder = shared / "data" / "labels" / "dev"
    patches = []
    for line in (folder / "labels.jsonl").read_text().splitlines():
        entry = json.loads(line)
        stem = entry["stem"]
        label = tifffile.imread(folder / f"{stem}_label.tif").astype(np.uint8)
        planes = read_planes(folder / f"{stem}_l1c.tif")
        patches.append(Patch(stem, place_of(entry["group"]), native_grids(planes), pad_label(label)))
    return patches


MAX_CLEAR_B10_REFLECTANCE = 0.006
MAX_CLEAR_BRIGHT_RATIO = 0.1


def _is_clear(entry: Mapping[str, str]) -> bool:
    return (
        entry["kind"] == "clear"
        and float(entry["b10_mean"]) < MAX_CLEAR_B10_REFLECTANCE
        and float(entry["bright_b2_ratio"]) < MAX_CLEAR_BRIGHT_RATIO
    )


def clear_patches(shared: Path, split: str) -> list[Patch]:
    """Patches of l1c/``split`` ('train' or 'val') that are clear by the rule of DATA.md."""
    root = shared / "data"
    index = json.loads((root / "l1c" / "index.json").read_text())
    chosen = sorted((e for e in index if e["split"] == split and _is_clear(e)), key=lambda e: e["file"])
    return [_unlabelled(root, entry) for entry in chosen]


def all_patches(shared: Path, split: str) -> list[Patch]:
    """Every patch of l1c/``split``, clear or not."""
    root = shared / "data"
    index = json.loads((root / "l1c" / "index.json").read_text())
    chosen = sorted((e for e in index if e["split"] == split), key=lambda e: e["file"])
    return [_unlabelled(root, entry) for entry in chosen]


def _unlabelled(root: Path, entry: Mapping[str, str]) -> Patch:
    grids = native_grids(read_planes(root / entry["file"]))
    return Patch(Path(entry["file"]).stem, place_of(entry["group"]), grids, None)


def simulated_patches(folder: Path) -> list[Patch]:
    """Patches that `python -m tools.simulate patches` wrote, in the order of their names; what is
    doubtful in their truth is labelled 'not sure'."""
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            grids = {}
            for grid in Grid:
                counts = arrays[f"top_{10 * grid}m"]
                reflectance = (counts.astype(np.float32) - COUNTS_OFFSET) / np.float32(COUNTS_PER_REFLECTANCE)
                # What noise took below 0 is dark, not missing.
                grids[grid] = np.where(counts != 0, np.maximum(reflectance, 1e-5), 0).astype(np.float32)
            label = np.where(arrays["doubtful"], IGNORED_LABEL, arrays["label"]).astype(np.uint8)
        found.append(Patch(path.stem, path.stem, grids, label))
    return found


def window_codes(grids: Mapping[Grid, F32], margin_px: int, multiple_px: int) -> dict[Grid, U8]:
    """Codes of one window around a whole patch, as flight cuts it: ``margin_px`` of code 0
    before it, and code 0 after it up to a multiple of ``multiple_px``."""
    rows, cols = grids[Grid.R10M].shape[1:]
    codes: dict[Grid, U8] = {}
    for grid, plane in grids.items():
        pitch = int(grid)
        after = [(margin_px + (-(size + 2 * margin_px) % multiple_px)) // pitch for size in (rows, cols)]
        before = margin_px // pitch
        codes[grid] = np.pad(encode(plane), ((0, 0), (before, after[0]), (before, after[1])))
    return codes


def true_colour(grids: Mapping[Grid, F32], full_scale_reflectance: float = 0.35) -> NDArray[np.uint8]:
    """A picture (row, col, 3): B04, B03, B02 with a square root stretch."""
    red_green_blue = grids[Grid.R10M][[2, 1, 0]].transpose(1, 2, 0)
    stretched = np.sqrt(np.clip(red_green_blue / full_scale_reflectance, 0.0, 1.0))
    return (255.0 * stretched).astype(np.uint8)
