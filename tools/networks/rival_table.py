"""The surface network that flies beside its rivals, on the same simulated pairs.

    python -m tools.networks.rival_table --model models/surface_s2_v5

Places of l1c/val, which none was trained on, under skies that none has seen, float32, on the 60 m grid: the
pairs of the model's card. Snow is given by itself: most of the error is there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from torch import Tensor

from payload.types import SURFACE_BANDS_OF_GRID, Band, Grid
from tools import material
from tools.evaluate.tables import markdown
from tools.networks.surface_evaluation import L2A_BANDS, file_order
from tools.networks.surface_network import BANDS
from tools.networks.surface_rivals import (
    CONTEXT_WIDTHS,
    INPUTS,
    PIXEL_WIDTHS,
    Corrector,
    inputs_of,
    surroundings,
)
from tools.networks.surface_training import Pair, draw_pair, inner_pixels, invert

PAIRS, SEED = 120, 1
"""Those of the card (`tools.train surface`)."""

SNOW_B02 = 0.45
"""Pairs whose surface is brighter than this on average are snow: no sand of the material is."""

_B02 = [band for bands in SURFACE_BANDS_OF_GRID.values() for band in bands].index(Band.B02)

Method = Callable[[Pair], Tensor]
"""From a pair to surface reflectance (1, 12, R/6, C/6) of its inner pixels."""


def network_of(folder: Path) -> Method:
    """The float32 network in ``folder`` and its inversion."""
    compiled = openvino.Core().compile_model(
        folder / "fp32.onnx", "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    )

    def correct(pair: Pair) -> Tensor:
        codes = [pair.codes[grid][None].astype(np.float32) for grid in Grid]
        atmosphere = compiled([*codes, pair.geometry.reshape(1, 4, 1, 1).astype(np.float32)])[0]
        return inner_pixels(invert(torch.from_numpy(atmosphere), torch.from_numpy(pair.top[None]))[0])

    return correct


def rivals_of(folder: Path) -> dict[str, Method]:
    """No correction, and what `tools.train rivals` left in ``folder``."""
    with np.load(folder / "rivals.npz", allow_pickle=False) as arrays:
        weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    linear = weights["linear"]

    def no_correction(pair: Pair) -> Tensor:
        return inner_pixels(torch.from_numpy(pair.top[None]))

    def mapped(pair: Pair) -> Tensor:
        planes = torch.from_numpy(inputs_of(pair))
        ones = torch.cat([planes, torch.ones(1, *planes.shape[1:])])
        return inner_pixels(torch.einsum("io,irc->orc", linear, ones)[None])

    def residual(name: str, widths: tuple[int, ...], *, sees_around: bool) -> Method:
        network = Corrector((3 if sees_around else 1) * INPUTS, widths)
        own = {key.removeprefix(f"{name}."): w for key, w in weights.items() if key.startswith(f"{name}.")}
        network.load_state_dict(own)

        def correct(pair: Pair) -> Tensor:
            planes = torch.from_numpy(inputs_of(pair))
            if sees_around:
                planes = torch.cat([planes, surroundings(planes[None])[0]])
            found = network(planes.flatten(1).T).T.reshape(1, BANDS, *planes.shape[1:])
            return inner_pixels(found)

        return correct

    return {
        "no correction": no_correction,
        "linear": mapped,
        "pixel network": residual("pixel", PIXEL_WIDTHS, sees_around=False),
        "context network": residual("context", CONTEXT_WIDTHS, sees_around=True),
    }


def errors(
    methods: Mapping[str, Method], shared: Path, pairs: int = PAIRS
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """(squared errors (pair, 12) of every method, which pairs are snow)."""
    patches, rng = material.clear_patches(shared, "val"), np.random.default_rng(SEED)
    squares = {name: np.zeros((pairs, BANDS)) for name in methods}
    is_snow = np.zeros(pairs, np.bool_)
    for number in range(pairs):
        pair = draw_pair(rng, patches[number % len(patches)], 0.5)
        truth = inner_pixels(torch.from_numpy(pair.surface[None]))
        seen = inner_pixels(torch.from_numpy(pair.top[None])) != 0
        is_snow[number] = bool(truth[0, _B02].mean() > SNOW_B02)
        for name, method in methods.items():
            with torch.no_grad():
                error = ((method(pair) - truth).square() * seen).sum(dim=(0, 2, 3))
            squares[name][number] = (error / seen.sum(dim=(0, 2, 3)).clamp(min=1)).numpy()
    return squares, is_snow


def table(squares: Mapping[str, NDArray[np.float64]], which: NDArray[np.bool_]) -> str:
    """RMSE per band and their mean over the pairs ``which``."""
    rows = []
    for name, found in squares.items():
        rmse = file_order(list(np.sqrt(found[which].mean(axis=0))))
        rows.append([name, *(f"{value:.4f}" for value in [*rmse, float(np.mean(rmse))])])
    return markdown(["RMSE", *(band.value for band in L2A_BANDS), "mean"], rows)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.networks.rival_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="the shared material")
    parser.add_argument(
        "--model", type=Path, default=Path("models/surface_s2_v5"), help="model folder (%(default)s)"
    )
    asked = parser.parse_args()
    torch.set_num_threads(1)
    squares, is_snow = errors({"ours": network_of(asked.model)} | rivals_of(asked.model), asked.shared)
    for title, which in (("all", is_snow | True), ("snow", is_snow), ("without snow", ~is_snow)):
        print(f"{title}, {which.sum()} simulated pairs:\n\n{table(squares, which)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
