"""Scores surface reflectance: on simulated pairs, and beside Sen2Cor on real ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from payload.types import SURFACE_BANDS_OF_GRID, Band, Grid
from tools.evaluate import flown
from tools.material import Grids, Patch, native_grids, read_planes
from tools.networks.profiles import FULL
from tools.networks.scores import rounded
from tools.networks.surface_network import BANDS, SurfaceNetwork
from tools.networks.surface_training import SURFACE_BANDS, draw_pair, inner_pixels, invert

Z90 = 1.645
ATMOSPHERE_BANDS = [band for bands in SURFACE_BANDS_OF_GRID.values() for band in bands]
L2A_BANDS = [band for band in Band if band is not Band.B10]
SEN2R_TOP_BANDS = [band for band in Band if band is not Band.B8A]
SEN2R_BOTTOM_BANDS = [band for band in L2A_BANDS if band is not Band.B8A]

KINDS = ("no correction", "ours")


@dataclass(frozen=True, eq=False)
class RealPair:
    """Top of atmosphere and Sen2Cor's surface of one place; bands that are missing are 0."""

    name: str
    top: Grids
    bottom: Grids
    unscored: tuple[Band, ...] = ()


def real_pairs(shared: Path) -> list[RealPair]:
    """38D (dryland), 609U (snow at low sun) and two alpine chips (sen2r)."""
    folder = shared / "data" / "l1c_l2a_pairs"
    pairs = []
    for path in sorted(folder.glob("*_S2L1C.tif")):
        bottom = read_planes(path.with_name(path.name.replace("S2L1C", "S2L2A")), L2A_BANDS)
        pairs.append(RealPair(path.name.split("_")[0], native_grids(read_planes(path)), native_grids(bottom)))
    for path in sorted((folder / "sen2r").glob("*_TOA_10.tif")):
        top = read_planes(path, SEN2R_TOP_BANDS)
        top[Band.B8A] = top[Band.B08]  # the chips lack it; its neighbour stands in, unscored
        name = path.name.replace("S2A1C", "S2A2A").replace("TOA", "BOA")
        bottom = read_planes(path.with_name(name), SEN2R_BOTTOM_BANDS)
        year = path.name.split("_")[1][:4]
        pairs.append(RealPair(f"alps{year}", native_grids(top), native_grids(bottom), (Band.B8A,)))
    return pairs


def band_errors(truth: Grids, found: Grids) -> tuple[list[float], list[float]]:
    """(RMSE, bias) per band in the order of the atmosphere; nan where there is no truth."""
    rmse, bias = [], []
    for grid in Grid:
        for band in range(SURFACE_BANDS[grid]):
            seen = truth[grid][band] != 0
            difference = (found[grid][band] - truth[grid][band])[seen].astype(np.float64)
            rmse.append(float(np.sqrt(np.mean(difference**2))) if seen.any() else float("nan"))
            bias.append(float(np.mean(difference)) if seen.any() else float("nan"))
    return rmse, bias


def file_order(values: list[float]) -> list[float]:
    """From the order of the atmosphere to B01, B02 ... B12 without B10."""
    return [values[ATMOSPHERE_BANDS.index(band)] for band in L2A_BANDS]


def simulated_errors(
    network: SurfaceNetwork, patches: Sequence[Patch], pairs: int, seed: int, profile: str = FULL
) -> dict[str, list[Any]]:
    """RMSE per band (B01 ... B12 without B10) over simulated pairs, with and without correction."""
    rng = np.random.default_rng(seed)
    squares = np.zeros((2, BANDS))
    for number in range(pairs):
        pair = draw_pair(rng, patches[number % len(patches)], 0.5, profile)
        inputs = [torch.from_numpy(pair.codes[grid][None]).float() for grid in Grid]
        with torch.no_grad():
            atmosphere = network(*inputs, torch.from_numpy(pair.geometry).reshape(1, 4, 1, 1))
        top = torch.from_numpy(pair.top[None])
        truth = inner_pixels(torch.from_numpy(pair.surface[None]))
        found = inner_pixels(invert(atmosphere, top)[0])
        seen = (inner_pixels(top) != 0).float()
        for row, guess in enumerate((inner_pixels(top), found)):
            error = ((guess - truth).square() * seen).sum(dim=(0, 2, 3))
            squares[row] += (error / seen.sum(dim=(0, 2, 3)).clamp(min=1)).numpy()
    rmse = np.sqrt(squares / pairs)
    return {
        "bands": [band.value for band in L2A_BANDS],
        "none": [round(v, 4) for v in file_order(list(rmse[0]))],
        "float32": [round(v, 4) for v in file_order(list(rmse[1]))],
    }


def calibrate_sigma(
    network: SurfaceNetwork, patches: Sequence[Patch], pairs: int, seed: int, profile: str = FULL
) -> list[float]:
    """Scale sigma, band by band, so that 90 % of the errors on simulated pairs lie within 1.645 sigma.

    Returns:
        the factors, in the order of the atmosphere; they are in the network's bounds now.
    """
    rng = np.random.default_rng(seed)
    ratios: list[list[NDArray[np.float32]]] = [[] for _ in range(BANDS)]
    for number in range(pairs):
        pair = draw_pair(rng, patches[number % len(patches)], 0.5, profile)
        inputs = [torch.from_numpy(pair.codes[grid][None]).float() for grid in Grid]
        with torch.no_grad():
            atmosphere = network(*inputs, torch.from_numpy(pair.geometry).reshape(1, 4, 1, 1))
            top = torch.from_numpy(pair.top[None])
            found, sigma = (inner_pixels(stack)[0].numpy() for stack in invert(atmosphere, top))
        truth, seen = inner_pixels(pair.surface[None])[0], inner_pixels(pair.top[None])[0] != 0
        for band in range(BANDS):
            error = np.abs(found[band] - truth[band]) / sigma[band]
            ratios[band].append(error[seen[band]])
    factors = [float(np.quantile(np.concatenate(parts), 0.9) / Z90) for parts in ratios]
    with torch.no_grad():
        for band, factor in enumerate(factors):
            channel = 3 * BANDS + band
            network.low[0, channel] *= factor
            network.span[0, channel] *= factor
    return factors


def beside_sen2cor(pairs: Sequence[RealPair], answer: flown.Answer) -> dict[str, Any]:
    """RMSE, bias and sigma per band beside Sen2Cor, through the flight code."""
    rows: dict[str, list[float]] = {}
    for pair in pairs:
        ours = flown.correct(flown.counts_on(pair.top), answer)
        rmse, bias = band_errors(pair.bottom, ours.reflectance)
        rows[f"{pair.name} no correction"] = file_order(band_errors(pair.bottom, pair.top)[0])
        rows[f"{pair.name} ours"] = file_order(rmse)
        rows[f"{pair.name} bias of ours"] = file_order(bias)
        sigma = [float(plane.mean()) for grid in Grid for plane in ours.sigma[grid]]
        rows[f"{pair.name} sigma of ours"] = file_order(sigma)
    for kind in KINDS:
        chosen = [rows[f"{pair.name} {kind}"] for pair in pairs]
        rows[f"mean of pairs, {kind}"] = [float(v) for v in np.nanmean(chosen, axis=0)]
    return {
        "bands": [band.value for band in L2A_BANDS],
        "rmse": {name: rounded(values) for name, values in rows.items()},
        "mean_rmse": {kind: round(float(np.nanmean(rows[f"mean of pairs, {kind}"])), 4) for kind in KINDS},
    }
