"""All models on the same pairs: what each makes of the held windows, at 10 m and at 2 m."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from payload.types import F32
from tools.harmonise import linear, scores
from tools.harmonise.networks import (
    CONV_REACH_PX,
    MODELS,
    BCNet,
    PointSpread,
    pixelwise,
    spread_found_m,
)
from tools.harmonise.pair import BAND_NAMES, BANDS, RATIO, WINDOW_PX, Pair, PairError
from tools.harmonise.training import EPSILON, Recipe, known_at_coarse, train

EDGE_FINE_PX = RATIO * CONV_REACH_PX
Table = dict[str, Any]


def make(pair: Pair, model: str, recipe: Recipe, keep: Path | None = None) -> nn.Module:
    """Fit or train any model by its name."""
    if model in linear.LINEAR_MODELS:
        return linear.fit(pair, model)
    return train(pair, model, recipe, keep)


@torch.no_grad()
def harmonise(network: nn.Module, fine: F32) -> tuple[F32, F32 | None]:
    """The fine image (4, row, col) harmonised at its own resolution, and the scale of its
    relative error where the network says one. No data stays no data."""
    output = pixelwise(network)(torch.from_numpy(np.ascontiguousarray(fine))[None])[0].numpy()
    seen = (fine > 0).all(axis=0)
    harmonised = np.where(seen, output[:BANDS], 0).astype(np.float32)
    return harmonised, output[BANDS:] if len(output) > BANDS else None


@torch.no_grad()
def at_coarse(network: nn.Module, fine: F32) -> F32:
    """The same at 10 m, as training compares it: through the learned or the nominal point spread."""
    stack = torch.from_numpy(np.ascontiguousarray(fine))[None]
    spread = network.spread if isinstance(network, BCNet) else PointSpread()
    return pixelwise(network)(spread(stack))[0, :BANDS].numpy()


def evaluate(network: nn.Module, pair: Pair) -> Table:
    """Scores over the pair's held windows, where both images have data; what needs the truth only where
    there is one.

    Raises:
        PairError: no held window has a place with data in both.
    """
    coarse_scores, fine_scores, kept, moved = [], [], [], []
    for number in pair.held:
        fine, coarse = pair.fine_window(number), pair.coarse_window(number)
        inner = np.zeros((WINDOW_PX, WINDOW_PX), bool)
        inner[CONV_REACH_PX:-CONV_REACH_PX, CONV_REACH_PX:-CONV_REACH_PX] = True
        clear = ~_cloud(pair, number)
        both = known_at_coarse(*(torch.from_numpy(np.array(part))[None] for part in (fine, coarse)))
        known = inner & both[0, 0].numpy() & clear[RATIO // 2 :: RATIO, RATIO // 2 :: RATIO]
        if not known.any():
            continue
        coarse_scores.append(scores.radiometry(at_coarse(network, fine), coarse, known))
        if pair.truth is None:
            continue
        truth = pair.fine_window(number, pair.truth)
        found, _ = harmonise(network, fine)
        inside = np.kron(inner, np.ones((RATIO, RATIO), bool))
        has_data = (fine > 0).all(axis=0) & (truth > 0).all(axis=0)
        fine_scores.append(scores.radiometry(found, truth, inside & clear & has_data))
        if pair.cloud is None and has_data.all():
            cut = (slice(None), slice(EDGE_FINE_PX, -EDGE_FINE_PX), slice(EDGE_FINE_PX, -EDGE_FINE_PX))
            kept.append(scores.detail_kept(found[cut], truth[cut]))
            moved.append(scores.moved_m(found[cut], truth[cut]))
    if not coarse_scores:
        raise PairError("no held window has data in both images: nothing to score on")
    table: Table = {"at_10_m": scores.mean_scores(coarse_scores)}
    if fine_scores:
        table["at_2_m"] = scores.mean_scores(fine_scores)
    if kept:
        table["detail_kept"] = {name: float(np.mean([one[name] for one in kept])) for name in kept[0]}
        table["moved_m"] = [float(v) for v in np.mean(moved, axis=0)]
    if isinstance(network, BCNet):
        centre, sigma = spread_found_m(network)
        table["point_spread"] = {"centre_m": centre, "sigma_m": sigma}
    return table


def _cloud(pair: Pair, number: int) -> np.ndarray:
    if pair.cloud is None:
        return np.zeros((RATIO * WINDOW_PX, RATIO * WINDOW_PX), bool)
    return pair.fine_window(number, pair.cloud)


def confidence_scores(network: nn.Module, pair: Pair) -> Table:
    """What the confidence is worth on held windows with unmasked clouds.

    cloud_area: area under the ROC curve of the scale as a sign of cloud. within_median: share
    of clear samples whose relative error is below b ln 2, one half for a calibrated Laplace law.
    """
    scales, clouds, within = [], [], []
    for number in pair.held:
        found, scale = harmonise(network, pair.fine_window(number))
        assert scale is not None
        assert pair.truth is not None
        cloud = _cloud(pair, number)
        truth = pair.fine_window(number, pair.truth)
        error = np.abs(found - truth) / (EPSILON + truth)
        within.append((error < scale * np.log(2))[:, ~cloud].ravel())
        scales.append(scale.mean(axis=0))
        clouds.append(cloud)
    return {
        "cloud_area": scores.ranking_area(np.stack(scales), np.stack(clouds)),
        "within_median": float(np.concatenate(within).mean()),
    }


def compare(
    pair: Pair, models: tuple[str, ...], recipe: Recipe, keep: Path
) -> tuple[Table, dict[str, nn.Module]]:
    """Train every model on the pair; their tables and the networks by name."""
    tables: Table = {}
    networks = {}
    for model in models:
        networks[model] = make(pair, model, recipe, keep / f"{model}.training.npz")
        tables[model] = evaluate(networks[model], pair)
        if model == "bcnet_confidence" and pair.cloud is not None:
            tables[model]["confidence"] = confidence_scores(networks[model], pair)
    return tables, networks


ALL_MODELS = (*linear.LINEAR_MODELS, *MODELS[:3])
CLOUDY_MODELS = MODELS[2:]


def mean_of(tables: list[Table]) -> Table:
    """The mean over pairs of the tables of one model."""
    merged: Table = {}
    for key in ("at_10_m", "at_2_m"):
        if key in tables[0]:
            merged[key] = scores.mean_scores([table[key] for table in tables])
    if "detail_kept" in tables[0]:
        names = tables[0]["detail_kept"]
        merged["detail_kept"] = {
            name: float(np.mean([table["detail_kept"][name] for table in tables])) for name in names
        }
        lengths = [np.hypot(*table["moved_m"]) for table in tables]
        merged["moved_m"] = float(np.mean(lengths))
    if "confidence" in tables[0]:
        names = tables[0]["confidence"]
        merged["confidence"] = {
            name: float(np.mean([table["confidence"][name] for table in tables])) for name in names
        }
    return merged


def as_text(tables: dict[str, Table]) -> str:
    """A table to read: RMSE x 10000 per band at 10 m and 2 m, relative error, detail kept."""
    head = f"{'':17}" + f"{'10 m, RMSE x 1e4':>24}" + f"{'2 m, RMSE x 1e4':>26}{'rel.':>7}"
    lines = [head + f"{'kept of detail':>18}{'moved':>7}"]
    bands = "".join(f"{name:>6}" for name in BAND_NAMES)
    lines.append(f"{'':17}{bands}  {bands}{'err. %':>9}{'8-20 m':>9}{'4-8 m':>8}{'m':>7}")
    for model, table in tables.items():
        cells = [f"{model:17}", _rmse(table["at_10_m"])]
        if "at_2_m" in table:
            relative = np.mean([table["at_2_m"][name]["relative_error_ratio"] for name in BAND_NAMES])
            cells.append(f"  {_rmse(table['at_2_m'])}{100 * relative:9.2f}")
        if "detail_kept" in table:
            kept = table["detail_kept"]
            cells.append(f"{kept['8_to_20_m']:9.3f}{kept['4_to_8_m']:8.3f}{_length(table['moved_m']):7.2f}")
        lines.append("".join(cells))
    for model, table in tables.items():
        if "confidence" in table:
            found = table["confidence"]
            lines.append(
                f"{model}: its confidence finds cloud with area {found['cloud_area']:.3f} (chance 0.5); "
                f"{100 * found['within_median']:.0f} % of clear errors below its median (should be 50)"
            )
    return "\n".join(lines)


def _rmse(bands: Table) -> str:
    return "".join(f"{1e4 * bands[name]['rmse']:6.0f}" for name in BAND_NAMES)


def _length(moved: float | list[float]) -> float:
    return float(np.hypot(*moved)) if isinstance(moved, list) else moved
