"""The four cases of the PV-CC seed, as ratios of two reflectances of the same places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from payload.types import F32, Band
from tools import bandpass, smac
from tools.material import FILE_BANDS, read_planes
from tools.pvcc.places import BAND_NAMES, BAND_ROWS, BANDS, Instruments, Seen, look
from tools.pvcc.training import SurfaceNet, correct

HELD_PLACES = 100
FLOOR = 0.01
"""Ratios are taken where the reference is above this; below it a ratio says nothing."""
HISTOGRAM_EDGES = np.linspace(0.5, 1.5, 101)
NEAR = 0.1

CASES = {
    "s2_on_s2": "network of Sentinel-2 on Sentinel-2, over the true surface",
    "pv_on_pv": "network of Proba-V on Proba-V, over SMAC of Proba-V",
    "s2_on_pv_smac": "network of Sentinel-2 on Proba-V, over SMAC of Proba-V",
    "s2_on_pv_s2": "network of Sentinel-2 on Proba-V, over the true surface in Sentinel-2's bands",
}


@dataclass(frozen=True, eq=False)
class Place:
    """One held place seen by both instruments, each through a sky of its own."""

    sentinel: Seen
    proba: Seen


def held_places(grounds: Sequence[F32], instruments: Instruments, seed: int) -> list[Place]:
    """100 views of the held grounds, as they are: never mixed nor tinted."""
    places = []
    for number in range(HELD_PLACES):
        rng = np.random.default_rng([seed, 3, number])
        ground = grounds[number % len(grounds)]
        both = (instruments.sentinel, instruments.proba)
        places.append(Place(*(look(rng, ground, one, instruments.coefficients) for one in both)))
    return places


def ratios(found: Sequence[F32], reference: Sequence[F32]) -> list[NDArray[np.float64]]:
    """found / reference per band, over all places, where the reference is above the floor."""
    one, other = (np.stack(list(stack)).astype(np.float64) for stack in (found, reference))
    kept = []
    for band in range(len(BANDS)):
        usable = other[:, band] > FLOOR
        kept.append(one[:, band][usable] / other[:, band][usable])
    return kept


def ratio_scores(values: NDArray[np.float64]) -> dict[str, Any]:
    """Median, quartiles, share within 10 % of one, and the histogram over `HISTOGRAM_EDGES`
    (what lies outside is in its first and last bin)."""
    counts, _ = np.histogram(np.clip(values, 0.5, 1.5), HISTOGRAM_EDGES)
    low, middle, high = (float(v) for v in np.quantile(values, (0.25, 0.5, 0.75)))
    near = float((np.abs(values - 1) <= NEAR).mean())
    return {
        "median": middle,
        "quartiles": [low, high],
        "near_ratio": near,
        "histogram": counts.tolist(),
        "pixels": int(values.size),
    }


def four_cases(places: Sequence[Place], of_sentinel: SurfaceNet, of_proba: SurfaceNet) -> dict[str, Any]:
    """Ratio scores of every case and band."""
    s2_on_pv = [correct(of_sentinel, place.proba.top) for place in places]
    sides = {
        "s2_on_s2": (
            [correct(of_sentinel, place.sentinel.top) for place in places],
            [place.sentinel.surface for place in places],
        ),
        "pv_on_pv": (
            [correct(of_proba, place.proba.top) for place in places],
            [place.proba.by_smac for place in places],
        ),
        "s2_on_pv_smac": (s2_on_pv, [place.proba.by_smac for place in places]),
        "s2_on_pv_s2": (s2_on_pv, [place.sentinel.surface for place in places]),
    }
    assert set(sides) == set(CASES)
    return {
        case: dict(zip(BAND_NAMES, map(ratio_scores, ratios(*pair)), strict=True))
        for case, pair in sides.items()
    }


def errors(places: Sequence[Place], of_sentinel: SurfaceNet, of_proba: SurfaceNet) -> dict[str, list[float]]:
    """RMSE per band against the true surface in the instrument's own bands: each way to correct."""
    rows = {
        "s2: no correction": [(p.sentinel.top, p.sentinel.surface) for p in places],
        "s2: SMAC": [(p.sentinel.by_smac, p.sentinel.surface) for p in places],
        "s2: network of s2": [(correct(of_sentinel, p.sentinel.top), p.sentinel.surface) for p in places],
        "pv: no correction": [(p.proba.top, p.proba.surface) for p in places],
        "pv: SMAC": [(p.proba.by_smac, p.proba.surface) for p in places],
        "pv: network of pv": [(correct(of_proba, p.proba.top), p.proba.surface) for p in places],
        "pv: network of s2": [(correct(of_sentinel, p.proba.top), p.proba.surface) for p in places],
    }
    return {name: rmse(*zip(*pairs, strict=True)) for name, pairs in rows.items()}


def rmse(found: Sequence[F32], reference: Sequence[F32]) -> list[float]:
    """Per band, over all pixels of all places."""
    error = np.concatenate(
        [(a - b).reshape(len(BANDS), -1) for a, b in zip(found, reference, strict=True)], 1
    )
    return [float(v) for v in np.sqrt((error.astype(np.float64) ** 2).mean(axis=1))]


L2A_BANDS = tuple(band for band in FILE_BANDS if band is not Band.B10)
GUESSED_SKY = smac.Atmosphere(0.12, 1.6, 0.32, smac.SEA_LEVEL_HPA)
GUESSED_ANGLES = smac.Angles(40.0, 5.0, 90.0)
"""The real pairs carry neither geometry nor ancillary fields: SMAC gets a middling sky."""


def real_pairs(shared: Path, instruments: Instruments, of_sentinel: SurfaceNet) -> dict[str, Any]:
    """Beside Sen2Cor at 100 m on real pairs: RMSE per band of no correction, SMAC with a guessed
    sky, the network, and the network on a Proba-V-like image made from all bands of the L1C."""
    table = {}
    for path in sorted((shared / "data" / "l1c_l2a_pairs").glob("*_S2L1C.tif")):
        top_planes = read_planes(path)
        bottom_planes = read_planes(path.with_name(path.name.replace("L1C", "L2A")), L2A_BANDS)
        knots = bandpass.knot_stack(top_planes)
        top = _coarse(np.stack([top_planes[band] for band in BANDS]))
        like_proba = _coarse(np.tensordot(instruments.proba.weights, knots, axes=1).astype(np.float32))
        bottom = _coarse(np.stack([bottom_planes[band] for band in BANDS]))
        above = smac.terms(instruments.coefficients, GUESSED_ANGLES, GUESSED_SKY)
        fields = (above.path, above.transmittance, above.albedo, above.rayleigh_path)
        here = smac.Terms(*(values[BAND_ROWS].reshape(-1, 1, 1) for values in fields))
        table[path.name.removesuffix("_S2L1C.tif")] = {
            "no correction": rmse([top], [bottom]),
            "SMAC, guessed sky": rmse([smac.to_surface(top, here).astype(np.float32)], [bottom]),
            "network of s2": rmse([correct(of_sentinel, top)], [bottom]),
            "network of s2, Proba-V-like": rmse([correct(of_sentinel, like_proba)], [bottom]),
        }
    return table


def _coarse(stack: F32) -> F32:
    rows, cols = (size // 10 for size in stack.shape[1:])
    return stack[:, : 10 * rows, : 10 * cols].reshape(len(stack), rows, 10, cols, 10).mean(axis=(2, 4))
