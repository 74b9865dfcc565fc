"""Strips as files: raw lines or SAFE, the truth beside them, a picture."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from payload.drivers.picture import write_png
from payload.types import COUNTS_OFFSET, COUNTS_PER_REFLECTANCE, SURFACE_BANDS_OF_GRID, U8, Grid, RowBlock
from tools.simulate.patch_files import CLASS_COLOURS
from tools.simulate.patches import SHADOW_SHARE, THICK_DEPTH, THIN_DEPTH, mean_terms
from tools.simulate.scene import Scene, Truth
from tools.write_raw import write_raw

Say = Callable[[int], None]

PICTURE_PX = 1500
PICTURE_FULL_SCALE_REFLECTANCE = 0.35
METRES_PER_KM = 1000.0
_TRUE_COLOUR = (2, 1, 0)  # B04 B03 B02 among the 10 m bands


class TruthFolder:
    """Writes the truth of a strip row block by row block, as .npy files that can be memory-mapped.

    ``classes`` (uint8 SceneClass), ``cloud_depth`` (float16), ``cloud_height_m`` (uint16), ``shade_percent``
    (uint8) on the 10 m grid; with ``surface`` also one file a band, uint16, reflectance x 10000
    + 1000, on its native grid. ``truth.json`` holds geometry, air and the class rule.
    """

    def __init__(self, folder: Path, scene: Scene, *, surface: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._surface = surface
        self._files: dict[str, BinaryIO] = {}
        rows, columns = scene.info.rows, scene.info.columns
        for name, kind in (
            ("classes", "u1"),
            ("cloud_depth", "f2"),
            ("cloud_height_m", "u2"),
            ("shade_percent", "u1"),
        ):
            self._open(folder, name, (rows, columns), kind)
        if surface:
            for grid, bands in SURFACE_BANDS_OF_GRID.items():
                for band in bands:
                    self._open(folder, f"surface_{band.value}", (-(-rows // grid), -(-columns // grid)), "u2")
        (folder / "truth.json").write_text(json.dumps(_facts(scene), indent=1) + "\n")

    def _open(self, folder: Path, name: str, shape: tuple[int, int], kind: str) -> None:
        file = (folder / f"{name}.npy").open("wb")
        header = {"descr": f"<{kind}" if kind != "u1" else "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        self._files[name] = file

    def add(self, truth: Truth) -> None:
        """The next rows."""
        self._files["classes"].write(truth.classes.tobytes())
        self._files["cloud_depth"].write(truth.cloud_depth.astype("<f2").tobytes())
        height_m = np.rint(truth.cloud_height_km * np.float32(METRES_PER_KM))
        self._files["cloud_height_m"].write(height_m.astype("<u2").tobytes())
        self._files["shade_percent"].write(np.rint(truth.shade * 100).astype(np.uint8).tobytes())
        if self._surface:
            for grid, bands in SURFACE_BANDS_OF_GRID.items():
                for plane, band in zip(truth.surface[grid], bands, strict=False):
                    counts = np.clip(np.rint(plane * COUNTS_PER_REFLECTANCE) + COUNTS_OFFSET, 1, 65535)
                    self._files[f"surface_{band.value}"].write(counts.astype("<u2").tobytes())

    def close(self) -> None:
        """All files are complete."""
        for file in self._files.values():
            file.close()


def _facts(scene: Scene) -> dict[str, object]:
    path, transmittance, sphere = (values.tolist() for values in mean_terms(scene.world))
    rule = {"thick_depth": THICK_DEPTH, "thin_depth": THIN_DEPTH, "shadow_share": SHADOW_SHARE}
    return {
        "seed": scene.seed,
        "strip_id": scene.info.strip_id,
        "geometry": asdict(scene.world.geometry),
        "air": asdict(scene.world.state),
        "mean_air": {"path": path, "transmittance": transmittance, "spherical_albedo": sphere},
        "class_rule": rule,
        "clouds": [
            {"name": cloud.name, "optics": cloud.optics, "foot_km": cloud.foot_km, "top_km": cloud.top_km}
            for cloud in scene.world.clouds
        ],
        "instrument_gain": scene.instrument.gain.tolist(),
    }


class Picture:
    """A true-colour picture, and the class map beside it, at most PICTURE_PX wide each."""

    def __init__(self, columns: int) -> None:
        self._step = -(-columns // PICTURE_PX)
        self._parts: list[U8] = []

    def add(self, block: RowBlock, truth: Truth) -> None:
        """The next rows."""
        step = self._step
        first = -block.row % step
        planes = block.dn[Grid.R10M][list(_TRUE_COLOUR), first::step, ::step].astype(np.float32)
        reflectance = (planes - COUNTS_OFFSET) / COUNTS_PER_REFLECTANCE
        shown = np.sqrt(np.clip(reflectance / PICTURE_FULL_SCALE_REFLECTANCE, 0, 1))
        colours = np.moveaxis(np.rint(255 * shown).astype(np.uint8), 0, -1)
        self._parts.append(
            np.concatenate([colours, CLASS_COLOURS[truth.classes[first::step, ::step]]], axis=1)
        )

    def write(self, path: Path) -> None:
        """The picture as a PNG."""
        write_png(path, np.ascontiguousarray(np.concatenate(self._parts)))


def told_blocks(
    scene: Scene, say: Say, *, truth: TruthFolder | None = None, picture: Picture | None = None
) -> Iterator[RowBlock]:
    """The blocks of a scene; what goes by is also kept in ``truth`` and ``picture``, and said."""
    for block, true in scene.blocks_with_truth():
        if truth is not None:
            truth.add(true)
        if picture is not None:
            picture.add(block, true)
        yield block
        say(block.row + block.rows)


def write_strip(
    header: Path, scene: Scene, say: Say, *, truth: TruthFolder | None = None, picture: Picture | None = None
) -> None:
    """The strip as a raw line stream: ``header``, its frames beside it."""
    write_raw(header, scene.info, told_blocks(scene, say, truth=truth, picture=picture))
