"""The rule that the scene network must beat: thresholds per pixel, tuned on the training folds.

Cloud: bright in the blue, not snow (NDSI), white enough, or seen by the cirrus band B10.
Thick where bright, else thin. Shadow: dark in NIR and SWIR, and neither water (NDWI) nor
cloud. This is the family of rules of Sen2Cor's and Fmask's first steps; its thresholds are
found by a seeded random search, followed by one that narrows around the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from payload.types import F32, U8, Grid
from tools.material import Patch
from tools.networks import scores

RANGES = {
    "cloud_b02": (0.10, 0.30),
    "cloud_b11": (0.05, 0.25),
    "snow_ndsi": (0.2, 0.8),
    "cloud_whiteness": (0.1, 1.0),
    "cirrus_b10": (0.002, 0.03),
    "thick_b02": (0.18, 0.45),
    "shadow_b08": (0.05, 0.25),
    "shadow_b11": (0.03, 0.20),
    "shadow_b02": (0.07, 0.16),
    "water_ndwi": (-0.3, 0.6),
}
WIDE_DRAWS = 300
NARROW_DRAWS = 300
PIXEL_STRIDE = 5

FEATURE_NAMES = ("b02", "b08", "b10", "b11", "ndsi", "ndwi", "whiteness")

Thresholds = dict[str, float]


@dataclass(frozen=True, eq=False)
class Features:
    """What the rule looks at, each (row, col) or flat at 10 m."""

    b02: F32
    b08: F32
    b10: F32
    b11: F32
    ndsi: F32
    ndwi: F32
    whiteness: F32

    def every(self, stride: int) -> Features:
        """Every ``stride``-th pixel, flat."""
        return Features(*(getattr(self, name).ravel()[::stride] for name in FEATURE_NAMES))


def features_of(patch: Patch) -> Features:
    """The features of a patch, coarse bands repeated to 10 m."""
    b02, b03, b04, b08 = patch.grids[Grid.R10M]
    b11 = np.kron(patch.grids[Grid.R20M][4], np.ones((2, 2), np.float32))
    b10 = np.kron(patch.grids[Grid.R60M][2], np.ones((6, 6), np.float32))
    mean = (b02 + b03 + b04) / 3 + 1e-6
    whiteness = (abs(b02 - mean) + abs(b03 - mean) + abs(b04 - mean)) / mean
    ndsi = (b03 - b11) / (b03 + b11 + 1e-6)
    ndwi = (b03 - b08) / (b03 + b08 + 1e-6)
    return Features(b02, b08, b10, b11, ndsi, ndwi, whiteness)


def apply_rule(f: Features, t: Thresholds) -> U8:
    """Classes by the rule."""
    bright = (f.b02 > t["cloud_b02"]) & (f.b11 > t["cloud_b11"]) & (f.ndsi < t["snow_ndsi"])
    cloud = (bright & (f.whiteness < t["cloud_whiteness"])) | (f.b10 > t["cirrus_b10"])
    thick = cloud & (f.b02 > t["thick_b02"])
    dark = (f.b08 < t["shadow_b08"]) & (f.b11 < t["shadow_b11"]) & (f.b02 < t["shadow_b02"])
    shadow = ~cloud & dark & (f.ndwi < t["water_ndwi"])
    classes = np.zeros(f.b02.shape, np.uint8)
    classes[shadow] = 3
    classes[cloud] = 2
    classes[thick] = 1
    return classes


def _worth(features: Features, truth: U8, thresholds: Thresholds) -> float:
    rows = scores.class_scores(scores.confusion(truth, apply_rule(features, thresholds)))
    macro = np.mean([rows[name]["f1"] for name in scores.CLASS_NAMES])
    return float(macro + rows["cloud"]["f2"])


def tune(patches: Sequence[Patch], seed: int) -> Thresholds:
    """The thresholds with the best mean F1 of the classes plus F2 of cloud on ``patches``."""
    rng = np.random.default_rng(seed)
    parts = [features_of(patch).every(PIXEL_STRIDE) for patch in patches]
    names = FEATURE_NAMES
    features = Features(*(np.concatenate([getattr(part, n) for part in parts]) for n in names))
    truth = np.concatenate([p.label.ravel()[::PIXEL_STRIDE] for p in patches if p.label is not None])
    best = {name: sum(ends) / 2 for name, ends in RANGES.items()}
    best_worth = _worth(features, truth, best)
    for draw in range(WIDE_DRAWS + NARROW_DRAWS):
        if draw < WIDE_DRAWS:
            tried = {name: float(rng.uniform(*ends)) for name, ends in RANGES.items()}
        else:
            step = 0.15 * 0.99 ** (draw - WIDE_DRAWS)
            moved = rng.random(len(RANGES)) < 0.4
            tried = {
                name: best[name] + float(move * step * rng.normal() * (ends[1] - ends[0]))
                for (name, ends), move in zip(RANGES.items(), moved, strict=True)
            }
        worth = _worth(features, truth, tried)
        if worth > best_worth:
            best, best_worth = tried, worth
    return best
