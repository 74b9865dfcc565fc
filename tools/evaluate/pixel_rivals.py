"""What the surface network is measured against, on the same samples in the same run.

no correction, and SMAC with one atmosphere for every place, need nothing. linear, pixel
(DTACSNet's kind) and context were trained on the same simulated pairs as our network; their
weights lie beside it (`rivals.npz`, `tools.networks.surface_rivals`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from payload.types import F32, SURFACE_BANDS_OF_GRID, Band
from tools import smac
from tools.evaluate.flown import DARK_REFLECTANCE
from tools.evaluate.folders import FolderError, seen_in
from tools.material import FILE_BANDS, Grids, native_grids

RIVALS_FILE = "rivals.npz"
ORDER = [band for bands in SURFACE_BANDS_OF_GRID.values() for band in bands]
CONTEXT_PX = 102
WINDOW_60M = 6

SMAC_ANGLES = smac.Angles(40.0, 4.0, 90.0)
SMAC_STATE = smac.Atmosphere(0.12, 1.5, 0.32, 1000.0)
"""What nobody who knows neither place nor date can improve on."""

Planes = Mapping[Band, F32]


@dataclass(frozen=True, eq=False)
class PixelRivals:
    """The methods of `names`, each from reflectance at 10 m to surface on the native grids."""

    weights: dict[str, NDArray[np.float32]]
    smac_terms: smac.Terms | None

    @property
    def names(self) -> list[str]:
        found = ["no correction"]
        if self.weights:
            found += ["linear", "pixel network", "context network"]
        return [*found, "SMAC"] if self.smac_terms is not None else found

    def correct(self, name: str, planes: Planes) -> Grids:
        """Surface reflectance on the native grids, bands of SURFACE_BANDS_OF_GRID; 0 where ``planes`` has
        no data, and nowhere else."""
        if name == "no correction":
            found = {band: planes[band] for band in ORDER}
        elif name == "SMAC":
            found = self._smac(planes)
        else:
            stack = np.stack([*(planes[band] for band in ORDER), planes[Band.B10]])
            found = dict(zip(ORDER, self._mapped(name, stack), strict=True))
        seen = seen_in(planes)
        dark = np.float32(DARK_REFLECTANCE)
        kept = {band: np.where(seen, np.where(plane == 0, dark, plane), 0) for band, plane in found.items()}
        grids = native_grids({band: plane.astype(np.float32) for band, plane in kept.items()})
        return {grid: grids[grid][: len(bands)] for grid, bands in SURFACE_BANDS_OF_GRID.items()}

    def _smac(self, planes: Planes) -> dict[Band, F32]:
        assert self.smac_terms is not None
        stack = np.stack([planes[band] for band in FILE_BANDS])
        found = smac.to_surface(stack, self.smac_terms)
        return {band: found[FILE_BANDS.index(band)].astype(np.float32) for band in ORDER}

    def _mapped(self, name: str, stack: F32) -> F32:
        flat = stack.reshape(len(stack), -1)
        if name == "linear":
            ones = np.concatenate([flat, np.ones((1, flat.shape[1]), np.float32)])
            mapped = self.weights["linear"].T @ ones
        elif name == "pixel network":
            mapped = self._residual("pixel", flat)
        else:
            mapped = self._residual("context", np.concatenate([flat, _surroundings(stack)]))
        result: F32 = mapped.reshape(-1, *stack.shape[1:]).astype(np.float32)
        return result

    def _residual(self, name: str, features: F32) -> F32:
        hidden, number = features, 0
        while f"{name}.layers.{number}.weight" in self.weights:
            weight, bias = (self.weights[f"{name}.layers.{number}.{part}"] for part in ("weight", "bias"))
            hidden = np.maximum(weight @ hidden + bias[:, None], 0)
            number += 1
        last, bias = self.weights[f"{name}.last.weight"], self.weights[f"{name}.last.bias"]
        result: F32 = features[: len(last)] - (last @ hidden + bias[:, None])
        return result


def _surroundings(stack: F32) -> F32:
    """Mean and minimum around every pixel, taken on 60 m means as in training: (26, pixel)."""
    rows, cols = stack.shape[1:]
    small = [
        np.pad(plane, ((0, -rows % WINDOW_60M), (0, -cols % WINDOW_60M)), mode="edge")
        .reshape(-(-rows // WINDOW_60M), WINDOW_60M, -(-cols // WINDOW_60M), WINDOW_60M)
        .mean(axis=(1, 3))
        for plane in stack
    ]
    squares = CONTEXT_PX // WINDOW_60M
    wide = [ndimage.uniform_filter(plane, squares, mode="nearest") for plane in small]
    wide += [ndimage.minimum_filter(plane, squares, mode="nearest") for plane in small]
    fine = [np.kron(plane, np.ones((WINDOW_60M, WINDOW_60M), np.float32))[:rows, :cols] for plane in wide]
    return np.stack(fine).reshape(len(fine), -1).astype(np.float32)


def load_rivals(model_folder: Path, smac_file: Path | None) -> tuple[PixelRivals, list[str]]:
    """(the rivals that can run here, why others cannot).

    Raises:
        FolderError: ``smac_file`` is there but does not hold coefficients of 13 bands.
    """
    missing = []
    weights: dict[str, NDArray[np.float32]] = {}
    path = model_folder / RIVALS_FILE
    if path.exists():
        with np.load(path, allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    else:
        missing.append(f"{path} is not there: no linear, pixel and context rows")
    terms = None
    if smac_file is not None and smac_file.exists():
        found = smac.terms(_coefficients(smac_file), SMAC_ANGLES, SMAC_STATE)
        fields = (found.path, found.transmittance, found.albedo, found.rayleigh_path)
        terms = smac.Terms(*(values.reshape(-1, 1, 1) for values in fields))
    else:
        missing.append(f"{smac_file}: no SMAC coefficients there (--smac FILE): no row of it")
    return PixelRivals(weights, terms), missing


def _coefficients(path: Path) -> smac.Coefficients:
    try:
        found = smac.read_coefficients(path)
    except (OSError, ValueError) as error:
        raise FolderError(f"{path}: no SMAC coefficients: {error}") from error
    bands = len(next(iter(found.values.values())))
    if bands != len(FILE_BANDS):
        raise FolderError(f"{path}: SMAC coefficients of {bands} bands; {len(FILE_BANDS)} are needed")
    return found
