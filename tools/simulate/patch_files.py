"""Patches as files, made by several processes."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from payload.drivers.picture import write_png
from payload.types import BANDS_OF_GRID, COUNTS_OFFSET, NO_DATA_COUNTS, U8, Band, Grid
from tools import material
from tools.simulate.backgrounds import RealGround, real_backgrounds
from tools.simulate.patches import SIZE_PX, SimulatedPatch, make_patch
from tools.simulate.sensors import SENSORS
from tools.whole import whole

CLASS_COLOURS = np.zeros((256, 3), np.uint8)
CLASS_COLOURS[:4] = ((110, 170, 110), (255, 255, 255), (150, 220, 255), (200, 60, 60))
"""Clear, thick cloud, thin cloud, cloud shadow; all else black."""


def save_patch(patch: SimulatedPatch, path: Path) -> None:
    """Everything of ``patch`` in one .npz.

    ``top_10m`` .. ``top_60m``: counts, uint16, reflectance = (counts - 1000) / 10000, 0 no data;
    ``surface_10m`` ..: reflectance, float16; ``label`` and ``doubtful`` on the 10 m grid, and as
    float16 ``cloud_depth``, ``cloud_height_km``, ``shade``; ``path``, ``transmittance``, ``sphere``
    (13,); ``sensor_<band>``: reflectance as another instrument sees it, if asked for;
    ``truth``: geometry and state of the air as a JSON text. The file is whole or not there.
    """
    arrays: dict[str, np.ndarray] = {"label": patch.label, "doubtful": patch.doubtful}
    for grid in Grid:
        arrays[f"top_{10 * grid}m"] = patch.counts[grid]
        arrays[f"surface_{10 * grid}m"] = patch.surface[grid].astype(np.float16)
    for name in ("cloud_depth", "cloud_height_km", "shade"):
        arrays[name] = getattr(patch, name).astype(np.float16)
    for name in ("path", "transmittance", "sphere"):
        arrays[name] = getattr(patch, name)
    arrays |= {f"sensor_{name}": plane for name, plane in patch.sensor_bands.items()}
    truth = {"name": patch.name, **asdict(patch.geometry), **asdict(patch.state)}
    with whole(path) as part, part.open("wb") as file:
        np.savez(file, truth=np.array(json.dumps(truth)), **arrays)


def save_tif(patch: SimulatedPatch, folder: Path, stem: str) -> None:
    """``<stem>_l1c.tif`` (13 bands at 10 m, DN = 10000 reflectance, no offset) and
    ``<stem>_label.tif``, as labelled material comes; 255 where nobody would be sure. 0 is no data alone."""
    counts = at_10m(patch.counts)
    dn = np.maximum(counts, COUNTS_OFFSET + 1) - COUNTS_OFFSET
    stack = np.where(counts == NO_DATA_COUNTS, 0, dn).astype(np.uint16)
    tifffile.imwrite(folder / f"{stem}_l1c.tif", stack, compression="zlib", photometric="minisblack")
    label = np.where(patch.doubtful, material.IGNORED_LABEL, patch.label).astype(np.uint8)
    tifffile.imwrite(folder / f"{stem}_label.tif", label, compression="zlib")


def at_10m(grids: Mapping[Grid, NDArray[Any]]) -> NDArray[Any]:
    """The 13 bands (band, row, col) in the order of `Band`, coarse pixels repeated."""
    order = list(Band)
    rows, cols = grids[Grid.R10M].shape[1:]
    stack = np.empty((len(order), rows, cols), grids[Grid.R10M].dtype)
    for grid, bands in BANDS_OF_GRID.items():
        for plane, band in zip(grids[grid], bands, strict=True):
            stack[order.index(band)] = plane.repeat(grid, 0).repeat(grid, 1)
    return stack


def picture_of(patch: SimulatedPatch) -> U8:
    """True colour, and beside it the classes (row, 2 col, 3)."""
    classes = CLASS_COLOURS[patch.label].copy()
    classes[patch.doubtful] //= 2
    return np.concatenate([material.true_colour(dict(patch.grids)), classes], axis=1)


@cache
def _grounds(shared: Path | None) -> tuple[RealGround, ...]:
    return tuple(real_backgrounds(shared)) if shared else ()


def _one(job: tuple[int, int, int, Path | None, Path, str, str | None, str | None]) -> str:
    seed, number, size_px, shared, folder, kind, biome, sensor = job
    chosen = SENSORS[sensor] if sensor else None
    patch = make_patch((seed, number), size_px, _grounds(shared), biome=biome, sensor=chosen)
    stem = f"simulated_{seed}_{number:05d}"
    if kind == "tif":
        save_tif(patch, folder, stem)
    else:
        save_patch(patch, folder / f"{stem}.npz")
    write_png(folder / f"{stem}.png", picture_of(patch))
    return patch.name


def write_patches(
    folder: Path,
    seed: int,
    count: int,
    *,
    shared: Path | None = None,
    size_px: int = SIZE_PX,
    kind: str = "npz",
    biome: str | None = None,
    sensor: str | None = None,
    jobs: int = 1,
) -> Iterator[str]:
    """Write patches 0 .. ``count`` - 1 of ``seed`` into ``folder`` and yield their names, in order.

    Patch ``number`` is `make_patch((seed, number), size_px, backgrounds)`, whatever ``count`` and
    ``jobs`` are. ``kind`` is 'npz' (everything) or 'tif' (13 bands and label); ``biome`` is a key of
    `landscape.BIOMES` for the made-up grounds instead of one drawn by chance; ``sensor`` is a key
    of `sensors.SENSORS` whose view of the scene an npz holds too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = [(seed, number, size_px, shared, folder, kind, biome, sensor) for number in range(count)]
    if jobs == 1:
        yield from map(_one, work)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_one, work, chunksize=4)
