"""A whole strip's country and sky: a coast or lakes, fields, woods, towns, heights with snow.

Built of the same parts as the patches' landscapes; what changes over tens of kilometres is here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from payload.types import F32, Window
from tools.simulate import cloud_fields, landscape
from tools.simulate.cloud_fields import Cloud
from tools.simulate.landscape import Cover, Landscape
from tools.simulate.noise import Canvas, Noise, smooth_step, threshold_of_cover

WIDE_PX = 10980
GENTLE_M, STEEP_M = 30.0, 230.0
HIGH_M = 100.0
"""Standard deviation of heights from which the highest are rock and snow."""
TRAIL_SHARE = 0.4


def draw_country(canvas: Canvas) -> Landscape:
    """Land of that size: every cover has its share of it, heights bear wood, then rock, then snow."""
    side = max(canvas.rows, canvas.columns)
    wide = float(np.clip(np.log(side / 500.0) / np.log(WIDE_PX / 500.0), 0.0, 1.0))
    height_m = GENTLE_M * (STEEP_M / GENTLE_M) ** wide
    hills = canvas.noise(1.75)
    farms = landscape.plots(canvas, {"crop": 0.52, "soil": 0.26, "dry": 0.16, "forest": 0.06})
    other = landscape.plots(canvas, {"crop": 0.35, "soil": 0.3, "dry": 0.3, "bright": 0.05})
    wild = landscape.patches(canvas, {"dry": 0.4, "soil": 0.3, "forest": 0.2, "burnt": 0.1})
    covers = [
        farms,
        replace(other, share=_region(canvas, 0.4, side / 3)),
        replace(wild, share=_region(canvas, 0.15, side / 3)),
        landscape.stands(canvas, "forest", 0.16),
        landscape.stands(canvas, "water", 0.02),
        landscape.town(canvas, 0.10),
        landscape.roads(canvas),
        landscape.river(canvas),
        *landscape.sea(canvas, 0.16),
        _above(canvas, hills, "forest", 0.7, 0.25),
    ]
    if height_m >= HIGH_M:
        covers += [_above(canvas, hills, "rock", 1.45, 0.3), _above(canvas, hills, "snow", 1.75, 0.15)]
    return Landscape("country", tuple(covers), (canvas.noise(1.0), 0.07), (hills, height_m))


def _region(canvas: Canvas, cover_ratio: float, size_px: float) -> Callable[[Window, int], F32]:
    field = canvas.noise(1.8, size_px)
    edge = threshold_of_cover(cover_ratio)
    return lambda window, step: smooth_step(field.at(window, step), edge, 0.1)


def _above(canvas: Canvas, hills: Noise, kind: str, height: float, width: float) -> Cover:
    """What covers the ground from a height on (in standard deviations), with a ragged edge."""
    ragged = canvas.noise(1.1, 120.0)

    def share(window: Window, step: int) -> F32:
        field = hills.at(window, step) + np.float32(0.12) * ragged.at(window, step)
        return smooth_step(field, height, width)

    return Cover(landscape.pick(canvas, kind), None, share)


def draw_sky(canvas: Canvas) -> tuple[Cloud, ...]:
    """Fair-weather heaps, a deck, flocks, a veil and sometimes a trail, each in its own part of the strip."""
    side = max(canvas.rows, canvas.columns)
    parts = [
        (cloud_fields.cumulus(canvas, canvas.uniform(0.2, 0.35)), 0.55),
        (cloud_fields.stratocumulus(canvas), 0.10),
        (cloud_fields.altocumulus(canvas), 0.10),
        (cloud_fields.cirrus(canvas), 0.30),
    ]
    if canvas.rng.random() < TRAIL_SHARE:
        parts.append((cloud_fields.contrail(canvas), 1.0))
    clouds = []
    for cloud, cover_ratio in parts:
        there = _region(canvas, cover_ratio, side / 2) if cover_ratio < 1 else None
        clouds.append(replace(cloud, shape=_within(cloud, there)))
    return tuple(sorted(clouds, key=lambda cloud: cloud.foot_km))


def _within(cloud: Cloud, there: Callable[[Window, int], F32] | None) -> cloud_fields.Shape:
    if there is None:
        return cloud.shape
    return lambda window, step: cloud.shape(window, step) * there(window, step)
