"""Trains the surface network on simulated pairs; the surface it inverts to is what is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from payload.types import F32, U8, Grid
from tools.material import Grids, Patch, encode
from tools.networks import surface_simulation as simulation
from tools.networks.descent import descend
from tools.networks.profiles import FULL, hide
from tools.networks.seven_bits import keep_rounded, round_weights
from tools.networks.surface_network import (
    BANDS,
    CELL_PX,
    MAX_ALBEDO,
    MAX_SIGMA,
    MIN_SIGMA,
    SurfaceNetwork,
)

BANDS_BEFORE = {Grid.R10M: 0, Grid.R20M: 4, Grid.R60M: 10}
SURFACE_BANDS = {Grid.R10M: 4, Grid.R20M: 6, Grid.R60M: 2}
EDGE_CELLS = 2
B09 = 11
"""Place of B09 among the bands of the atmosphere."""

SAMPLE_PX = 6
SKIES_FOR_BOUNDS = 2000
KEPT_PAIRS = 480
FIRST_PAIRS = 48
WINDOW_PX = 144
MILD_SIGMA = 0.01


@dataclass(frozen=True)
class SurfaceRecipe:
    """Everything that decides a training run besides the patches.

    ``fresh`` pairs of a batch are new, the others are seen again. ``snow_low_sun_share`` of what is
    mostly snow is lit by a low sun, as it is in winter and at high latitudes. ``water_weight`` is
    the weight of B09, whose error is that of the water vapour, against the other bands.
    """

    widths: tuple[int, int, int, int, int] = (48, 48, 32, 128, 64)
    steps: int = 3000
    batch: int = 24
    fresh: int = 8
    peak_rate: float = 3e-3
    weight_decay: float = 0.01
    average_decay: float = 0.995
    unknown_geometry_share: float = 0.5
    snow_low_sun_share: float = simulation.LOW_SUN_SHARE
    water_weight: float = 3.0
    profile: str = FULL
    seed: int = 0


SECOND = SurfaceRecipe(steps=5000, peak_rate=2.5e-3, snow_low_sun_share=0.75, water_weight=8.0)
"""What the network goes on with where `SurfaceRecipe()` has ended."""


@dataclass(frozen=True, eq=False)
class Pair:
    """One simulated window: what is seen, what is below, and the atmosphere between.

    ``top`` and ``surface`` are (12, R/6, C/6): of each 60 m square one pixel of every band
    that is judged. Errors of a smooth atmosphere need no more, and training is four times faster.
    """

    codes: dict[Grid, U8]
    top: F32
    surface: F32
    geometry: F32
    terms: F32


def physical_bounds(rng: np.random.Generator) -> tuple[list[float], list[float], list[float]]:
    """(low, high, prior) of the 48 outputs, from many drawn skies with room to spare."""
    drawn = np.stack([simulation.mean_terms(simulation.draw_sky(rng)) for _ in range(SKIES_FOR_BOUNDS)])
    least, most, middle = drawn.min(axis=0), drawn.max(axis=0), np.median(drawn, axis=0)
    low = [*np.zeros(BANDS), *(0.7 * least[BANDS : 2 * BANDS]), *np.zeros(BANDS), *[MIN_SIGMA] * BANDS]
    high = [*(1.2 * most[:BANDS] + 0.002), *np.ones(BANDS), *[MAX_ALBEDO] * BANDS, *[MAX_SIGMA] * BANDS]
    prior = [*middle, *[0.02] * BANDS]
    return [[round(float(v), 5) for v in values] for values in (low, high, prior)]  # type: ignore[return-value]


def draw_pair(
    rng: np.random.Generator,
    patch: Patch,
    unknown_share: float,
    profile: str = FULL,
    snow_low_sun_share: float = simulation.LOW_SUN_SHARE,
) -> Pair:
    """A patch under a new sky, its codes those of ``profile``; now and then with a border of no data."""
    grids = simulation.crop_to_window(rng, patch.grids, WINDOW_PX)
    surface = simulation.vary_surface(rng, simulation.surface_of(rng, grids))
    is_snowy = simulation.is_snowy(surface)
    sky = simulation.draw_sky(
        rng,
        snow_low_sun_share if is_snowy else simulation.LOW_SUN_SHARE,
        simulation.COLD_WATER_CM if is_snowy else simulation.USUAL_WATER_CM,
    )
    top = simulation.look_through(rng, surface, sky)
    codes = {grid: encode(plane) for grid, plane in top.items()}
    hide(codes, profile)
    sampled_top, sampled_surface = _sample(rng, top, surface)
    if rng.random() < 0.25:
        gone = int(rng.integers(1, 13)) * SAMPLE_PX
        is_row = bool(rng.random() < 0.5)
        for stack, pitch in [*((codes[grid], int(grid)) for grid in Grid), (sampled_top, SAMPLE_PX)]:
            cut = slice(0, gone // pitch)
            stack[(slice(None), cut) if is_row else (slice(None), slice(None), cut)] = 0
    quarters, flip = int(rng.integers(0, 4)), bool(rng.random() < 0.5)
    codes = {grid: _turn(plane, quarters, flip=flip) for grid, plane in codes.items()}
    sampled_top, sampled_surface = (
        _turn(stack, quarters, flip=flip) for stack in (sampled_top, sampled_surface)
    )
    unknown = rng.random() < unknown_share
    geometry = np.zeros(4, np.float32) if unknown else sky.geometry()
    return Pair(codes, sampled_top, sampled_surface, geometry, simulation.mean_terms(sky))


def _sample(rng: np.random.Generator, top: Grids, surface: Grids) -> tuple[F32, F32]:
    """The same random pixel of every 60 m square, all judged bands in the order of the output."""
    tops, surfaces = [], []
    for grid in Grid:
        step = SAMPLE_PX // grid
        row, col = (int(v) for v in rng.integers(0, step, 2))
        bands = slice(0, SURFACE_BANDS[grid])
        tops.append(top[grid][bands, row::step, col::step])
        surfaces.append(surface[grid][bands, row::step, col::step])
    return np.concatenate(tops), np.concatenate(surfaces)


def _turn(stack: np.ndarray, quarters: int, *, flip: bool) -> np.ndarray:
    turned = np.rot90(stack, quarters, (1, 2))
    return (turned[:, :, ::-1] if flip else turned).copy()


def _batch(pairs: Sequence[Pair]) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    inputs = [torch.from_numpy(np.stack([p.codes[grid] for p in pairs])).float() for grid in Grid]
    inputs.append(torch.from_numpy(np.stack([p.geometry for p in pairs])).reshape(-1, 4, 1, 1))
    top, surface, terms = (
        torch.from_numpy(np.stack([getattr(p, name) for p in pairs])) for name in ("top", "surface", "terms")
    )
    return inputs, top, surface, terms


def invert(atmosphere: Tensor, top: Tensor) -> tuple[Tensor, Tensor]:
    """Surface reflectance and its sigma at sampled pixels (N, 12, R/6, C/6), the cells
    interpolated bilinearly between their centres."""
    zoom = CELL_PX / SAMPLE_PX
    fine = functional.interpolate(atmosphere, scale_factor=zoom, mode="bilinear", align_corners=False)
    path, transmittance, albedo, sigma = fine.split(BANDS, 1)
    y = (top - path) / transmittance
    return y / (1 + albedo * y), sigma


def inner_pixels(stack: Tensor) -> Tensor:
    """What is far enough from the window's edge for the network to have seen all around it."""
    edge = EDGE_CELLS * CELL_PX // SAMPLE_PX
    return stack[:, :, edge:-edge, edge:-edge]


def _loss(
    atmosphere: Tensor, top: Tensor, surface: Tensor, terms: Tensor, water_weight: float
) -> tuple[Tensor, Tensor]:
    """(loss, mean absolute error): beta-NLL (Seitzer et al. 2022, beta 0.5) of the inverted
    surface, a relative error, and the atmosphere itself as an auxiliary."""
    found, sigma = (inner_pixels(stack) for stack in invert(atmosphere, top))
    truth, seen = inner_pixels(surface), (inner_pixels(top) != 0).float()
    error = (found - truth).clamp(-1, 1)
    likelihood = (error.square() / (2 * sigma.square()) + sigma.log()) * sigma.detach()
    relative = error.abs() / (truth + 0.1)
    weight = seen * torch.ones(BANDS, 1, 1).index_fill(0, torch.tensor([B09]), water_weight)
    fit = ((3 * likelihood + 0.5 * relative) * weight).sum() / seen.sum().clamp(min=1)
    cells = atmosphere[:, : 3 * BANDS, EDGE_CELLS:-EDGE_CELLS, EDGE_CELLS:-EDGE_CELLS]
    apart = (cells - terms[:, :, None, None]).abs().mean(dim=(0, 2, 3))
    auxiliary = 2 * apart[:BANDS].mean() + 0.3 * apart[BANDS:].mean()
    return fit + auxiliary, ((error.abs() * seen).sum() / seen.sum().clamp(min=1)).detach()


class PairStream:
    """Batches of simulated pairs of which one part is drawn afresh and the rest is seen again."""

    def __init__(self, patches: Sequence[Patch], recipe: SurfaceRecipe) -> None:
        self._patches = patches
        self._recipe = recipe
        self.restart(np.random.default_rng(recipe.seed))

    def restart(self, rng: np.random.Generator) -> None:
        """Forget what was drawn and draw from ``rng`` from now on."""
        self._rng = rng
        self._kept: list[Pair] = []

    def batch(self) -> list[Pair]:
        rng, recipe = self._rng, self._recipe
        wanted = recipe.fresh if self._kept else max(FIRST_PAIRS, recipe.fresh)
        chosen = rng.integers(0, len(self._patches), wanted)
        hidden, profile, low = recipe.unknown_geometry_share, recipe.profile, recipe.snow_low_sun_share
        fresh = [draw_pair(rng, self._patches[i], hidden, profile, low) for i in chosen]
        self._kept = [*self._kept, *fresh][-KEPT_PAIRS:]
        again = rng.integers(0, len(self._kept), recipe.batch - recipe.fresh)
        return [*fresh[: recipe.fresh], *(self._kept[i] for i in again)]


def _step_loss(
    network: SurfaceNetwork, pairs: Sequence[Pair], recipe: SurfaceRecipe
) -> tuple[Tensor, Tensor]:
    inputs, top, surface, terms = _batch(pairs)
    *codes, geometry = (x.contiguous(memory_format=torch.channels_last) for x in inputs)
    atmosphere = network.atmosphere(*network.features(*codes), geometry)
    return _loss(atmosphere, top, surface, terms, recipe.water_weight)


def build_surface_network(recipe: SurfaceRecipe) -> tuple[SurfaceNetwork, dict[str, list[float]]]:
    """A network with seeded weights, and the bounds of its outputs."""
    torch.manual_seed(recipe.seed)
    low, high, prior = physical_bounds(np.random.default_rng(recipe.seed))
    return SurfaceNetwork(low, high, prior, recipe.widths), {"low": low, "high": high, "prior": prior}


def train_surface(
    network: SurfaceNetwork, patches: Sequence[Patch], recipe: SurfaceRecipe, progress: Path | None = None
) -> SurfaceNetwork:
    """``network``, its weights the average after ``recipe.steps`` more steps.

    ``progress`` is a file to keep the state in, and to go on from if it is there.
    """
    network = network.train().to(memory_format=torch.channels_last)
    flown_in_int8 = [network.stem10, network.stem20, network.stem60, network.pixel1, network.pixel2]
    for layer in flown_in_int8:
        round_weights(layer)
    stream = PairStream(patches, recipe)

    def loss() -> tuple[Tensor, Tensor]:
        return _step_loss(network, stream.batch(), recipe)

    descend(network, stream, loss, recipe, clip=0.5, name="surface mean error", progress=progress)
    for layer in flown_in_int8:
        keep_rounded(layer)
    return network.to(memory_format=torch.contiguous_format).eval()
